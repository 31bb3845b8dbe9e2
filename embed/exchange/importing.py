"""`embed import`: vectors that somebody has already become spaces of a store.

What an imported vector was made of is not known. Its space says `imported:FILE` where others name
an encoder, its fingerprint is a hash of the vectors as they are stored, and its items' hashes say
what the items are now: of the title, where there is one; of the image's bytes, where --image-root
says where the images are; otherwise zeros, for 'not known'. So `embed run` can add encoders to such
a store as long as the items stay as they were; where they changed, or where an image can't be
compared, it refuses to hand the space on. A store that vectors are added to keeps its own hashes; a
space that `embed export` wrote joins it only where the hashes that were exported with it agree.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from embed.errors import OutputExistsError, SettingsError, SourceError
from embed.exchange.foreign_items import ForeignItems, ForeignSpace, read_folder, read_table
from embed.exchange.foreign_vectors import open_vectors
from embed.exchange.item_hashes import image_hashes, text_hashes, unknown_hashes
from embed.exchange.matching import match_rows, require_same_content
from embed.exchange.plans import SpacePlan, plan_space
from embed.exchange.record import RECORD
from embed.files import refuse_existing
from embed.parts import PartsFolder
from embed.sources import FetchSettings, SourceSettings
from embed.store import Modality, SpaceInfo, Store, StoreWriter, check_space_name


@dataclass(frozen=True)
class ImportSettings:
    """Everything that `embed import` can be told.

    `output` is a store to make, or with `into` one to add spaces to. `vectors` are `[NAME=]FILE`,
    and `modalities` go by the name of the space: image where nothing is said. Columns are called
    id, image and title where they are None.
    """

    items: Path
    output: Path
    vectors: Sequence[str] = ()
    into: bool = False
    id_column: str | None = None
    image_column: str | None = None
    title_column: str | None = None
    image_root: Path | None = None
    allow_outside_root: bool = False
    modalities: Mapping[str, Modality] = field(default_factory=dict)
    force: bool = False
    command: str = "embed.exchange.importing.import_vectors"

    @property
    def columns(self) -> SourceSettings:
        """Which columns of the items hold what."""
        return SourceSettings(
            self.id_column or "id", self.image_column or "image", self.title_column or "title"
        )


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
    its fingerprint as long as its vectors have the hash that was written down with them. It joins
    another store only where that one's items are, by their hashes, what the space was encoded from.

    Raises:
        SourceError: items or vectors can't be read, do not fit together, or are not finite.
        IdError: an id is empty or repeated, or the store has one that is not in `items`.
        StoreError: another run is writing the store; or its items are not what an exported space
            was encoded from.
        OutputExistsError: a store or space would be replaced, and not `force`.
        SettingsError: settings that do not go together, or that would do nothing.
    """
    _refuse_useless(settings)
    with PartsFolder(settings.output).locked():
        if not settings.into:
            refuse_existing(settings.output, force=settings.force, is_store=True)
        items, spaces = _read(settings)
        _check_lengths(items, spaces)
        return _add(settings, items, spaces) if settings.into else _create(settings, items, spaces)


def _refuse_useless(settings: ImportSettings) -> None:
    """Raise SettingsError at an option that would do nothing."""
    columns = {"--image-column": settings.image_column, "--title-column": settings.title_column}
    given = {"--image-root": settings.image_root} | columns
    if (settings.items / RECORD).is_file():
        given["--id-column"] = settings.id_column
        reason = f"{settings.items} is an exported folder, which says all that of itself"
    elif settings.into:
        reason = f"with --into, {settings.output} keeps its own items"
    elif settings.image_root is None:
        given = {"--image-column": settings.image_column}
        reason = "images are only looked at with --image-root"
    else:
        return
    if settings.image_root is None and settings.allow_outside_root:
        given["--allow-outside-root"] = "given"
    useless = [option for option, value in given.items() if value is not None]
    if useless:
        raise SettingsError(f"{useless[0]} does nothing here: {reason}; leave it out")


def _create(
    settings: ImportSettings, items: ForeignItems, spaces: Mapping[str, ForeignSpace]
) -> Imported:
    """A new store with the rows in the order of the items."""
    order = np.arange(len(items.ids))
    hashes = items.hashes or _hashes(settings, items, spaces)
    plans = {name: plan_space(name, space, items, order) for name, space in spaces.items()}
    with StoreWriter(settings.output, settings.command, items.versions) as writer:
        writer.write_items(np.array(items.ids, object), items.columns, hashes)
        writer.write_failures(items.failures)
        writer.write_images(_image_origin(settings))
        for plan in plans.values():
            plan.write(writer)
    return _summary(settings, len(order), plans, ())


def _add(
    settings: ImportSettings, items: ForeignItems, spaces: Mapping[str, ForeignSpace]
) -> Imported:
    """The store with these spaces besides its own; its items stay as they are."""
    with Store(settings.output) as store:
        order, warnings = match_rows(store, items, settings.items)
        taken = [name for name in spaces if name in store.spaces]
        if taken and not settings.force:
            raise OutputExistsError(
                f"{store.path} has a space '{taken[0]}' already: name yours otherwise "
                f"(--vectors NAME=FILE), or --force to replace it"
            )
        plans = {name: plan_space(name, space, items, order) for name, space in spaces.items()}
        recorded = {name: plan.info for name, plan in plans.items() if plan.is_as_recorded}
        require_same_content(store, items, order, recorded, settings.items)
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
    return read_table(settings.items, settings.columns), spaces


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


def _hashes(
    settings: ImportSettings, items: ForeignItems, spaces: Mapping[str, ForeignSpace]
) -> dict[str, UInt8[np.ndarray, "n 16"]]:
    """What the items are now, for each modality that was encoded; zeros where it is not known."""
    used = {space.modality for space in spaces.values()}
    hashes = {}
    if used & {"image", "fused"}:
        hashes["image"] = _image_hashes(settings, items)
    if used & {"text", "fused"}:
        titles = items.columns.get(settings.columns.title_column)
        unknown = unknown_hashes(len(items.ids))
        hashes["text"] = unknown if titles is None else text_hashes(titles)
    return hashes


def _image_origin(settings: ImportSettings) -> dict[str, str] | None:
    """What the store keeps of where its images are, where that was said."""
    if settings.image_root is None:
        return None
    root = str(settings.image_root.absolute())
    return {"root": root, "column": settings.columns.image_column}


def _image_hashes(settings: ImportSettings, items: ForeignItems) -> UInt8[np.ndarray, "n 16"]:
    if settings.image_root is None:
        return unknown_hashes(len(items.ids))
    root, column = settings.image_root.absolute(), settings.columns.image_column
    if column not in items.columns:
        raise SourceError(
            f"{settings.items} has no column '{column}' with the images below {root}: its columns "
            f"are {', '.join(items.columns) or 'none'}; name the right one with --image-column"
        )
    fetch = FetchSettings(allow_outside_root=settings.allow_outside_root)
    return image_hashes(items.ids, items.columns[column], str(root), fetch)


def _summary(
    settings: ImportSettings,
    num_items: int,
    plans: Mapping[str, SpacePlan],
    warnings: Sequence[str],
) -> Imported:
    own = [warning for plan in plans.values() for warning in plan.warnings]
    infos = {name: plan.info for name, plan in plans.items()}
    return Imported(settings.output, num_items, infos, (*warnings, *own))
