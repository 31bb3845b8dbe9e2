"""`embed import`: vectors that somebody has already become spaces of a store.

What an imported vector was made of is not known. Its space says `imported:FILE` where others name
an encoder, its fingerprint is a hash of the vectors as they are stored, and its items' hashes say
what the items are now: of the title, where there is one; of the image's bytes, where --image-root
says where the images are; otherwise zeros, for 'not known'. So `embed run` can add encoders to such
a store as long as the items stay as they were; where they changed, or where an image can't be
compared, it refuses to hand the space on. A store that vectors are added to keeps its own hashes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8

from embed.errors import IdError, OutputExistsError, SettingsError, SourceError
from embed.exchange.foreign_items import ForeignItems, ForeignSpace, read_folder, read_table
from embed.exchange.foreign_vectors import ForeignVectors, Layout, open_vectors
from embed.exchange.item_hashes import file_hashes, text_hashes, unknown_hashes
from embed.exchange.record import SpaceRecord
from embed.files import refuse_existing
from embed.parts import PartsFolder
from embed.store import Modality, SpaceInfo, Store, StoreWriter, check_space_name


@dataclass(frozen=True)
class ImportSettings:
    """Everything that `embed import` can be told.

    `output` is a store to make, or with `into` one to add spaces to. `vectors` are `[NAME=]FILE`,
    and `modalities` go by the name of the space: image where nothing is said.
    """

    items: Path
    output: Path
    vectors: Sequence[str] = ()
    into: bool = False
    id_column: str | None = None
    image_column: str = "image"
    title_column: str = "title"
    image_root: Path | None = None
    modalities: Mapping[str, Modality] = field(default_factory=dict)
    force: bool = False
    command: str = "embed.exchange.importing.import_vectors"


@dataclass(frozen=True)
class Imported:
    """What was imported, and what a user should know of it."""

    output: Path
    num_items: int
    spaces: Mapping[str, SpaceInfo]
    warnings: tuple[str, ...]


def import_vectors(settings: ImportSettings) -> Imported:
    """Write a store with the vectors of files, or add them to one, joined by id.

    Vectors of another length than 1 are scaled to it, with a warning; zero vectors stay, with a
    warning; float64 becomes float32. What `embed export` wrote comes back as it was: a space keeps
    its fingerprint as long as its vectors have the hash that was written down with them.

    Raises:
        SourceError: items or vectors can't be read, do not fit together, or are not finite.
        IdError: an id is empty or repeated, or the store has one that is not in `items`.
        OutputExistsError: a store or space would be replaced, and not `force`.
        SettingsError: settings that do not go together.
    """
    if not settings.into:
        refuse_existing(settings.output, force=settings.force)
    items, spaces = _read(settings)
    _check_lengths(items, spaces)
    return _add(settings, items, spaces) if settings.into else _create(settings, items, spaces)


def _create(
    settings: ImportSettings, items: ForeignItems, spaces: Mapping[str, ForeignSpace]
) -> Imported:
    """A new store with the rows in the order of the items."""
    order = np.arange(len(items.ids))
    hashes = items.hashes or _hashes(settings, items, spaces)
    plans = {name: _plan(name, space, items, order) for name, space in spaces.items()}
    with StoreWriter(settings.output, settings.command, items.versions) as writer:
        writer.write_items(np.array(items.ids, object), items.columns, hashes)
        writer.write_failures(items.failures)
        for plan in plans.values():
            plan.write(writer)
    return _summary(settings, len(order), plans, ())


def _add(
    settings: ImportSettings, items: ForeignItems, spaces: Mapping[str, ForeignSpace]
) -> Imported:
    """The store with these spaces besides its own; its items stay as they are."""
    with PartsFolder(settings.output).locked(), Store(settings.output) as store:
        order, warnings = _joined(store, items, settings.items)
        taken = [name for name in spaces if name in store.spaces]
        if taken and not settings.force:
            raise OutputExistsError(
                f"{store.path} has a space '{taken[0]}' already: name yours otherwise "
                f"(--vectors NAME=FILE), or --force to replace it"
            )
        plans = {name: _plan(name, space, items, order) for name, space in spaces.items()}
        with StoreWriter(settings.output, settings.command, store.versions) as writer:
            writer.copy_items(store)
            for name in store.spaces:
                if name not in plans:
                    writer.copy_space(store, name)
            for plan in plans.values():
                plan.write(writer)
        return _summary(settings, len(store), plans, warnings)


def _read(settings: ImportSettings) -> tuple[ForeignItems, dict[str, ForeignSpace]]:
    if settings.items.is_dir():
        if settings.vectors or settings.modalities:
            raise SettingsError(
                f"{settings.items} is a folder and brings its own vectors: leave --vectors and "
                f"--modality out"
            )
        return read_folder(settings.items, settings.id_column)
    if not settings.vectors:
        raise SettingsError(f"--vectors [NAME=]FILE says where the vectors of {settings.items} are")
    files = _named(settings.vectors)
    unknown = [name for name in settings.modalities if name not in files]
    if unknown:
        raise SettingsError(
            f"--modality {unknown[0]}: no --vectors has this name: they are {', '.join(files)}"
        )
    spaces = {
        name: ForeignSpace(open_vectors(path), settings.modalities.get(name, "image"))
        for name, path in files.items()
    }
    return read_table(settings.items, settings.id_column or "id"), spaces


def _named(vectors: Sequence[str]) -> dict[str, Path]:
    """The files by the name of their space: the file's own where none is given."""
    files: dict[str, Path] = {}
    for given in vectors:
        name, equals, path = given.partition("=")
        if not equals:
            name, path = Path(given).stem, given
        check_space_name(name)
        if name in files:
            raise SettingsError(
                f"two files are named '{name}': name them apart, as in --vectors other={path}"
            )
        files[name] = Path(path)
    return files


def _check_lengths(items: ForeignItems, spaces: Mapping[str, ForeignSpace]) -> None:
    for space in spaces.values():
        if len(space.vectors) != len(items.ids):
            raise SourceError(
                f"{space.vectors.path} has {len(space.vectors)} rows for {len(items.ids)} items: "
                f"row i of the vectors belongs to item i, so there must be as many"
            )


def _joined(
    store: Store, items: ForeignItems, path: Path
) -> tuple[Int[np.ndarray, " n"], tuple[str, ...]]:
    """For each row of the store, the row of the items with its id."""
    row_of = {item_id: row for row, item_id in enumerate(items.ids)}
    missing = [item_id for item_id in store.ids if item_id not in row_of]
    if missing:
        raise IdError(
            f"{path} has no item '{missing[0]}' ({len(missing)} of the {len(store)} items of "
            f"{store.path} are missing): a space has a vector for every item of its store"
        )
    order = np.array([row_of[item_id] for item_id in store.ids], np.int64)
    known = set(store.ids)
    others = [item_id for item_id in items.ids if item_id not in known]
    if not others:
        return order, ()
    return order, (
        f"{len(others)} items of {path} are not in {store.path} and were left out: "
        f"{', '.join(others[:3])}{', …' if len(others) > 3 else ''}",
    )


@dataclass(frozen=True)
class _Plan:
    """How a space will be written: its rows in the order of the store, and what it says."""

    name: str
    space: ForeignSpace
    info: SpaceInfo
    layout: Layout
    warnings: tuple[str, ...] = ()

    def write(self, writer: StoreWriter) -> None:
        fitted = self.space.fitted
        self.space.vectors.write(writer, self.name, self.info, self.layout, fitted)
        if self.space.seen is not None:
            writer.write_seen(self.name, self.space.seen[self.layout.order])


def _plan(
    name: str, space: ForeignSpace, items: ForeignItems, order: Int[np.ndarray, " n"]
) -> _Plan:
    """Look at every vector, and decide what the space says of itself."""
    vectors, recorded = space.vectors, space.record
    if recorded is not None and _is_as_recorded(vectors, recorded):
        vectors.survey(items.ids)
        return _Plan(name, space, recorded.info, Layout(order))
    vectors.tidy()
    survey = vectors.survey(items.ids)
    warnings = []
    if recorded is not None:
        warnings.append(f"space '{name}' is not what was exported: it is taken as imported")
    if not survey.is_unit:
        warnings.append(f"vectors of space '{name}' were scaled to length 1")
    if len(survey.zero_rows):
        first = items.ids[survey.zero_rows[0]]
        warnings.append(
            f"{len(survey.zero_rows)} vectors of space '{name}' are zero, that of '{first}' the "
            f"first: their score to anything is 0"
        )
    layout = Layout(order, scaled=not survey.is_unit)
    info = SpaceInfo(
        kind=vectors.kind,
        modality=space.modality,
        spec=f"imported:{vectors.path.name}",
        fingerprint=vectors.hash(layout),
        precision=vectors.precision,
        normalized=vectors.kind != "binary",
        dim=vectors.dim,
        training=recorded.info.training if recorded is not None else "[]",
    )
    return _Plan(name, replace(space, fitted={}), info, layout, tuple(warnings))


def _is_as_recorded(vectors: ForeignVectors, record: SpaceRecord) -> bool:
    """Whether these are the vectors that were exported."""
    bits = -(-record.info.dim // 8) * 8 if record.info.kind == "binary" else record.info.dim
    if (vectors.kind, vectors.dim) != (record.info.kind, bits):
        return False
    return vectors.hash(Layout(np.arange(len(vectors)))) == record.vectors


def _hashes(
    settings: ImportSettings, items: ForeignItems, spaces: Mapping[str, ForeignSpace]
) -> dict[str, UInt8[np.ndarray, "n 16"]]:
    """What the items are now, for each modality that was encoded; zeros where it is not known."""
    used = {space.modality for space in spaces.values()}
    hashes = {}
    if used & {"image", "fused"}:
        hashes["image"] = unknown_hashes(len(items.ids))
        if settings.image_root is not None:
            paths = _image_paths(settings, items, settings.image_root)
            hashes["image"] = file_hashes(items.ids, paths)
    if used & {"text", "fused"}:
        titles = items.columns.get(settings.title_column)
        if titles is None:
            hashes["text"] = unknown_hashes(len(items.ids))
        else:
            hashes["text"] = text_hashes(titles.tolist())
    return hashes


def _image_paths(settings: ImportSettings, items: ForeignItems, root: Path) -> list[Path]:
    column = settings.image_column
    if column not in items.columns:
        raise SourceError(
            f"{settings.items} has no column '{column}' with the images below {root}: its columns "
            f"are {', '.join(items.columns) or 'none'}; name the right one with --image-column"
        )
    return [root / str(name) for name in items.columns[column]]


def _summary(
    settings: ImportSettings, num_items: int, plans: Mapping[str, _Plan], warnings: Sequence[str]
) -> Imported:
    own = [warning for plan in plans.values() for warning in plan.warnings]
    infos = {name: plan.info for name, plan in plans.items()}
    return Imported(settings.output, num_items, infos, (*warnings, *own))
