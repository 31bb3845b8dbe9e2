"""What is served: a store, how its items match, and all that is computed of them."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cached_property
from itertools import count
from pathlib import Path
from threading import Lock

from embed.devices import choose_device
from embed.errors import DecisionsError, SettingsError
from embed.store import Store
from retrieval.decisions.journal import Journal, decisions_path
from retrieval.search.sides import Sides
from retrieval.service.background import Background, Works
from retrieval.service.encoders import EncoderPool
from retrieval.service.images import Thumbnails
from retrieval.service.marks import marks_of
from retrieval.service.opened import OpenedStore
from retrieval.service.pairs import all_pairs, finding_of, open_rule, within_file
from retrieval.service.settings import ServiceSettings
from retrieval.thresholds.candidates import Candidates
from retrieval.thresholds.files import fit_to_store, parse_threshold
from retrieval.thresholds.match_rules import MatchRule
from retrieval.thresholds.tuning import ThresholdResult

_NUMBERS = count()
PAIRS = ("pairs",)
NOT_SERVED = (
    "that threshold can't be accepted any more, as something else is served or the service \
has started again: re-tune once more"
)


class Snapshot:
    """A store as it was when it was opened, and everything that is known of it.

    Nothing in it changes but what is computed on demand; where the store is replaced, the service
    takes a new one; where only the threshold changes, that shares with the one `before` it what
    does not depend on it.

    Raises:
        StoreError: the file is no store, or has no such space or column.
        ThresholdError, FingerprintError: the threshold can't be read, or is of other vectors.
        SettingsError: a score for several spaces, or a device that there is not.
        NeighboursError: the file of neighbours can't be read, or is of other vectors.
        HeadError: a head can't be read.
    """

    def __init__(
        self, settings: ServiceSettings, pool: EncoderPool, before: "Snapshot | None" = None
    ) -> None:
        self.settings = settings
        self.number = next(_NUMBERS)
        self.marks = marks_of(settings)
        with ExitStack() as on_failure:
            self.opened: OpenedStore = (
                OpenedStore(settings, pool) if before is None else before.opened.shared()
            )
            on_failure.callback(self.opened.close)
            self.catalogue, self.images = self.opened.catalogue, self.opened.images
            self.searcher, self.encoders = self.opened.searcher, self.opened.encoders
            self.attributes = self.opened.attributes
            self._read_rule()
            self._refuse_unknown()
            self.journal: Journal = _journal_of(settings) if before is None else before.journal
            self.works = Works()
            if before is not None:
                self._inherit(before)
            on_failure.pop_all()

    def _read_rule(self) -> None:
        """The threshold file, or the rule of a score."""
        given, space = self.settings.threshold, self.settings.space
        parsed = None if given is None else parse_threshold(given)
        self.threshold = parsed if isinstance(parsed, ThresholdResult) else None
        self.rule: MatchRule | None = None
        """How items match; None where nothing says it."""
        if isinstance(parsed, float):
            if len(self.spaces) > 1:
                raise SettingsError(
                    f"--threshold {given} is a score: name one --space for it, of "
                    f"{', '.join(self.spaces)}, or give a threshold file"
                )
            space = self.spaces[0]
        if parsed is not None:
            self.rule = fit_to_store(self.store, parsed, space, None)

    def _refuse_unknown(self) -> None:
        """Mistakes are told at the start, not by the first page that meets them."""
        for space in self.spaces:
            self.store.space(space)
        if self.label is not None:
            self.store.column(self.label)
        if self.settings.device not in ("auto", "cpu"):  # there always: torch need not look
            choose_device(self.settings.device)
        if self.spaces:
            self.pairs_rule.found_by(finding_of(self.settings))

    def _inherit(self, before: "Snapshot") -> None:
        """Take what stays as it was where nothing but the threshold changes."""
        kept = before.marks.keys() & self.marks.keys() - {Path(self.settings.threshold or "")}
        self.marks = {**self.marks, **{path: before.marks[path] for path in kept}}
        found = before.works.known(PAIRS)
        if found is not None and found.is_ready and _find_alike(before.pairs_rule, self.pairs_rule):
            self.works = Works({PAIRS: found})

    @property
    def store(self) -> Store:
        """The store."""
        return self.catalogue.store

    @property
    def spaces(self) -> tuple[str, ...]:
        """The spaces that are searched, unless a query names others."""
        if self.threshold is not None:
            return tuple(self.threshold.rule.spaces)
        return (self.settings.space,) if self.settings.space else tuple(self.store.spaces)

    def needed_rule(self, instead: str = "") -> MatchRule:
        """How items match, for what can't do without it.

        Args:
            instead: what else would do, as in "give threshold=SCORE, or ".

        Raises:
            SettingsError: nothing says it.
        """
        if self.rule is None:
            raise SettingsError(
                f"nothing says when two items match: {instead}start the service with --threshold "
                f"FILE_OR_SCORE"
            )
        return self.rule

    @property
    def label(self) -> str | None:
        """The column that says which items truly match, where there is one."""
        return self.settings.label or (self.threshold.label if self.threshold else None)

    @property
    def sides(self) -> Sides:
        """All items, among one another."""
        return self.opened.sides

    @cached_property
    def pairs_rule(self) -> MatchRule:
        """How `pairs` are found: by the rule or, where there is none, by all that is searched.

        Raises:
            NeighboursError: the file of neighbours can't be read.
        """
        if self.threshold is not None:
            return self.threshold.rule
        return within_file(self.rule or open_rule(self.spaces), finding_of(self.settings))

    @property
    def pairs(self) -> Background[Candidates]:
        """The candidates of all items among one another, by `pairs_rule`."""
        return self.works.once(
            PAIRS,
            lambda report: all_pairs(
                self.sides, self.pairs_rule, finding_of(self.settings), report
            ),
        )

    @property
    def threshold_name(self) -> str | None:
        """The name of the threshold's file."""
        given = self.settings.threshold
        return None if given is None or self.threshold is None else Path(given).name

    @property
    def warnings(self) -> tuple[str, ...]:
        """What to know of what is served."""
        return tuple(filter(None, [self.images.warning]))

    def close(self) -> None:
        """Give up all work, and close the store unless another snapshot has it too."""
        self.works.close()
        self.opened.close()


def _journal_of(settings: ServiceSettings) -> Journal:
    return Journal(settings.decisions or decisions_path(settings.store))


def _find_alike(rule: MatchRule, other: MatchRule) -> bool:
    """Whether two rules look at the same candidates with the same scores."""
    one, two = (
        (list(each.spaces.items()), each.combine, each.k, each.refinements)
        for each in (rule, other)
    )
    return one == two


class Service:
    """The snapshot that is served now, and what outlives it."""

    def __init__(self, settings: ServiceSettings) -> None:
        self.settings = settings
        self.thumbnails = Thumbnails(settings.thumbnail_bytes, settings.limits.max_pixels)
        self.warnings: tuple[str, ...] = ()
        self._lock, self._building = Lock(), Lock()
        self.encoders = EncoderPool(settings.device)
        self._snapshot = Snapshot(settings, self.encoders)
        self._num_holders: dict[Snapshot, int] = {}

    @property
    def snapshot(self) -> Snapshot:
        """The store as it is now; routes take `CurrentSnapshot`, which stays open."""
        return self._snapshot

    @contextmanager
    def held(self) -> Iterator[Snapshot]:
        """The store as it is now, open for as long as the block lasts."""
        with self._lock:
            snapshot = self._snapshot
            self._num_holders[snapshot] = self._num_holders.get(snapshot, 0) + 1
        try:
            yield snapshot
        finally:
            with self._lock:
                self._num_holders[snapshot] -= 1
                is_last = not self._num_holders[snapshot]
                if is_last:
                    del self._num_holders[snapshot]
                is_over = is_last and snapshot is not self._snapshot
            if is_over:
                snapshot.close()

    def replace(self, snapshot: Snapshot) -> None:
        """Serve another snapshot; the one before is closed when its last request ends."""
        with self._lock:
            before, self._snapshot = self._snapshot, snapshot
            is_idle = before not in self._num_holders
        if is_idle:
            before.close()

    def reload(self, prepare: Callable[[Snapshot], None]) -> None:
        """Serve the files of the settings as they are now, once `prepare` is done with them.

        Nothing happens where they are served already, as after `use_threshold`.

        Raises:
            What `Snapshot` and `prepare` raise; all is as it was then.
        """
        with self._building, ExitStack() as on_failure:
            if marks_of(self.settings) == self._snapshot.marks:
                return
            snapshot = Snapshot(self.settings, self.encoders)
            on_failure.callback(snapshot.close)
            prepare(snapshot)
            on_failure.pop_all()
            self.replace(snapshot)

    def use_threshold(self, served: Snapshot, write: Callable[[], Path]) -> Path:
        """Serve the same store, as it is open, with the threshold that `write` writes to a file.

        Nothing is written unless `served` is what is served: a store may have come meanwhile that
        the threshold was not tuned on.

        Raises:
            DecisionsError: something else is served.
            ThresholdError, FingerprintError: the threshold can't be read, or is of other vectors.
            What `write` raises.
        """
        with self._building:
            if self._snapshot is not served:
                raise DecisionsError(NOT_SERVED)
            path = write()
            settings = replace(self.settings, threshold=str(path))
            snapshot = Snapshot(settings, self.encoders, before=served)
            self.settings = settings
            self.replace(snapshot)
            return path

    def close(self) -> None:
        """End everything; no request is to come."""
        self._snapshot.close()
        self.encoders.close()
