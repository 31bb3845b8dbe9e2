"""Every error that the workbench raises on purpose.

A message is one line that says what was expected, what was found and where, and what to do.
The command lines print it and exit with 2 where an option is wrong, otherwise with 1; anything else
that escapes is a bug.

    WorkbenchError
    ├── SourceError             a catalogue that can't be read: manifest, folder, columns, ids
    ├── ImageError              one image that can't be decoded (recorded, never fatal by itself)
    ├── EncoderError            an encoder that can't be built or used
    │   ├── SpecError           an encoder spec that can't be understood
    │   └── WeightsNotFoundError    weights that can't be had
    ├── StoreError              a store that can't be read or written
    │   ├── IdError             ids that are missing, repeated or unknown
    │   └── FingerprintError    vectors that are not the ones a head or a threshold was made for
    ├── WorkerError             a process that encodes has died
    ├── TooManyFailuresError    more items failed than the user allows
    ├── SelectionError          rows, columns or splits that leave nothing to work on
    ├── HeadError               a head file that can't be read, or does not fit
    ├── ThresholdError          a threshold file that can't be read, or does not fit
    ├── DecisionsError          a file of decisions that can't be read, or allows no such thing
    ├── NeighboursError         an index or a file of neighbours that can't be read, or does not fit
    ├── SettingsError           a setting out of its range
    ├── BusyError               a service that has too much to do already
    └── OutputError             a file that can't be written
        └── OutputExistsError   a file that would be overwritten
"""


class WorkbenchError(Exception):
    """Base of every error that a user can mend; `exit_code` is what a command line ends with."""

    exit_code = 1


class SourceError(WorkbenchError):
    """A catalogue that can't be read: manifest, folder, columns, ids."""


class ImageError(WorkbenchError):
    """One image that can't be decoded; recorded as a failure, never fatal by itself."""


class EncoderError(WorkbenchError):
    """An encoder that can't be built or used."""


class SpecError(EncoderError):
    """An encoder spec that can't be understood."""

    exit_code = 2


class WeightsNotFoundError(EncoderError):
    """Weights that are neither on this machine nor to be had from where they are published."""


class StoreError(WorkbenchError):
    """A store that can't be read or written."""


class IdError(StoreError):
    """Ids that are missing, repeated or unknown."""


class FingerprintError(StoreError):
    """Vectors that are not the ones that a head or a threshold was made for."""


class WorkerError(WorkbenchError):
    """A process that encodes has died; the finished rows are kept."""


class TooManyFailuresError(WorkbenchError):
    """More items failed than the user allows; the finished rows are kept."""


class SelectionError(WorkbenchError):
    """Rows, columns or splits that leave nothing to work on."""


class HeadError(WorkbenchError):
    """A head file that can't be read, or does not fit."""


class ThresholdError(WorkbenchError):
    """A threshold file that can't be read, or does not fit."""


class DecisionsError(WorkbenchError):
    """A file of decisions on pairs that can't be read, or that does not allow what is asked."""


class NeighboursError(WorkbenchError):
    """An index or a file of neighbours that can't be read, or does not fit."""


class SettingsError(WorkbenchError):
    """A setting out of its range."""

    exit_code = 2


class BusyError(WorkbenchError):
    """A service that has too much to do already; a while later it may do it."""


class OutputError(WorkbenchError):
    """A file that can't be written."""


class OutputExistsError(OutputError):
    """A file that would be overwritten."""
