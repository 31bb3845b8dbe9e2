"""The lines of a file of decisions, as far as they were read: what stands, and what is damaged."""

from pathlib import Path

from embed.errors import DecisionsError
from retrieval.decisions.records import (
    BEGINNING,
    CutShortError,
    Decision,
    Record,
    Repair,
    Undo,
    from_line,
)


class Lines:
    """What the lines of a file say that was read from its start on.

    Attributes:
        made: the decisions that were not taken back, by their ids, in their order.
        offset: how many bytes are taken in.
        torn: of each line at the end that was cut short, what to say should something follow it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.made: dict[str, Decision] = {}
        self.offset = self._num_lines = 0
        self.torn: list[str] = []
        self._lacks_end = False

    def take(self, data: bytes) -> None:
        """Take in what follows; lines that were cut short stay until something comes after them.

        Raises:
            DecisionsError: a line is damaged; what was read is then of no use.
        """
        # A line that lacked nothing but its end was taken in before.
        start = int(self._lacks_end and data.startswith(b"\n"))
        taken, number, torn = start, self._num_lines, list[str]()
        while start < len(data):
            end = data.find(b"\n", start)
            end = len(data) if end < 0 else end + 1
            line, number = data[start:end].strip(b"\n\0"), number + 1
            try:
                record = from_line(line) if line else None
            except ValueError as error:
                torn.append(self._torn_line(line, number, error))
            else:
                self._add(record, torn, number)
                torn, taken, self._num_lines = [], end, number
                self._lacks_end = data[end - 1 : end] != b"\n"
            start = end
        self.offset += taken
        self.torn = torn

    def _torn_line(self, line: bytes, number: int, error: ValueError) -> str:
        """What to say of a damaged line where something follows it.

        Raises:
            DecisionsError: it is not the beginning of a line.
        """
        message = (
            f"line {number} of {self._path} is damaged: {error}; mend or delete that line, or take "
            f"the file from a copy"
        )
        is_beginning = line.startswith(BEGINNING) or BEGINNING.startswith(line)
        if not (is_beginning and isinstance(error, CutShortError)):
            raise DecisionsError(message) from error
        return message

    def _add(self, record: Record | None, torn: list[str], number: int) -> None:
        if isinstance(record, Repair) and record.num_torn == len(torn):
            return
        if torn:
            raise DecisionsError(torn[0])
        if isinstance(record, Decision):
            self.made[record.id] = record
        elif isinstance(record, Undo) and self.made.pop(record.undoes, None) is None:
            raise DecisionsError(
                f"line {number} of {self._path} takes back the decision '{record.undoes}', which "
                f"does not stand before it: mend or delete that line"
            )
