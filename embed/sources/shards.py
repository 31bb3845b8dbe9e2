"""Tar shards as WebDataset writes them: members of one key are an item.

The format: https://github.com/webdataset/webdataset#the-webdataset-format. Nothing is unpacked:
images stay where they are, and the spool says where that is.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from embed.errors import SourceError
from embed.images import SUFFIXES as IMAGE_SUFFIXES
from embed.sources.blocks import Blocks
from embed.sources.manifests import check_names
from embed.sources.records import NumberColumns, as_row, as_text
from embed.sources.settings import SourceSettings
from embed.sources.table import ID, OFFSET, SHARD, SIZE, Table
from embed.sources.tars import Member, Tar

MAX_TEXT_BYTES = 16 * 2**20
CAPTION = "caption"


def read_shards(
    paths: Sequence[Path], source: str, settings: SourceSettings, scratch: Path
) -> Table:
    """The items of all shards, in order: image, title and whatever else is written with them.

    The title is the `.txt` member, else the title column of the `.json` member, else its caption.
    The id is the `.json` member's, else the key. Other fields of it are columns, and so is `cls`.

    Raises:
        SourceError: a shard can't be read, or holds text that can't.
    """
    reader = _ShardReader(settings, source)
    blocks = Blocks(
        scratch / "blocks", source, (ID, SHARD, OFFSET, SIZE), integers=(SHARD, OFFSET, SIZE)
    )
    for number, path in enumerate(paths):
        for row in reader.rows(path):
            blocks.add({SHARD: number, **row})
    frame = blocks.scan()
    names = frame.collect_schema().names()
    check_names([name for name in names if name not in (ID, SHARD, OFFSET, SIZE)], source)
    return Table(
        source,
        frame,
        settings.image_column if settings.image_column in names else None,
        settings.title_column if settings.title_column in names else None,
        "",
        tuple(str(path.absolute()) for path in paths),
        tuple(reader.passed_over.warnings()),
        reader.numbers.names,
    )


@dataclass
class _PassedOver:
    """Members that make no part of an item, and an example of each sort."""

    counts: dict[str, int] = field(default_factory=dict)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, sort: str, example: str) -> None:
        self.counts[sort] = self.counts.get(sort, 0) + 1
        self.examples.setdefault(sort, example)

    def warnings(self) -> Iterator[str]:
        for sort, count in self.counts.items():
            yield f"{count} {sort}: {self.examples[sort]}, …"


@dataclass
class _Sample:
    """The members of one key."""

    key: str
    image: Member | None = None
    texts: dict[str, Any] = field(default_factory=dict)


class _ShardReader:
    def __init__(self, settings: SourceSettings, source: str) -> None:
        self._settings, self._source = settings, source
        self.numbers = NumberColumns()
        self.passed_over = _PassedOver()

    def rows(self, path: Path) -> Iterator[dict[str, str | int | None]]:
        """The items of one shard."""
        try:
            file = path.open("rb")
        except OSError as error:
            raise SourceError(f"{path} can't be read: {error.strerror}") from error
        with file:
            tar = Tar(path, file)
            for sample in self._samples(tar):
                yield self._row(sample, path)
            if not tar.has_end:
                self.passed_over.add("shards lack the mark that ends a tar (whole?)", str(path))

    def _samples(self, tar: Tar) -> Iterator[_Sample]:
        """Neighbouring members of one key, together."""
        sample: _Sample | None = None
        for member in tar.members():
            key, suffix = split_name(member.name)
            if not member.is_file:
                self._pass_over("members that are links, devices or sparse", tar, member)
            elif not key or (suffix not in IMAGE_SUFFIXES and suffix not in _TEXTS):
                self._pass_over("members of other kinds", tar, member)
            else:
                if sample is None or sample.key != key:
                    if sample is not None:
                        yield sample
                    sample = _Sample(key)
                self._add(sample, suffix, tar, member)
        if sample is not None:
            yield sample

    def _add(self, sample: _Sample, suffix: str, tar: Tar, member: Member) -> None:
        if suffix in _TEXTS:
            sample.texts[suffix] = _parsed(tar, member, suffix)
        elif sample.image is None:
            sample.image = member
        else:
            self._pass_over("second images of a key", tar, member)

    def _row(self, sample: _Sample, path: Path) -> dict[str, str | int | None]:
        settings = self._settings
        fields = dict(sample.texts.get(".json", {}))
        item_id = fields.pop(settings.id_column, None)
        if fields.pop(settings.image_column, None) is not None:
            sort = f"fields '{settings.image_column}' of JSON members (the image is the member's)"
            self.passed_over.add(f"{sort} were passed over", f"{path}: {sample.key}")
        title = _title(sample.texts.get(".txt"), fields, settings.title_column)
        row: dict[str, str | int | None] = {ID: sample.key if item_id is None else as_text(item_id)}
        if sample.image is not None:
            row |= {OFFSET: sample.image.offset, SIZE: sample.image.size}
            row[settings.image_column] = f"{path.name}/{sample.image.name}"
        if title is not None:
            row[settings.title_column] = title
        if ".cls" in sample.texts:
            row["cls"] = sample.texts[".cls"]
        return row | as_row(fields, self.numbers)

    def _pass_over(self, what: str, tar: Tar, member: Member) -> None:
        self.passed_over.add(f"{what} were passed over", f"{tar.path}: {member.name}")


def split_name(name: str) -> tuple[str, str]:
    """Key and suffix of a member: the folder and the name up to its first dot, and the rest."""
    folder, slash, base = name.removeprefix("./").rpartition("/")
    stem, dot, suffix = base.partition(".")
    return (folder + slash + stem if stem else ""), dot + suffix.lower()


def _title(text: str | None, fields: dict[str, Any], column: str) -> str | None:
    """The title of an item; the field that it is may be taken out of `fields`."""
    own = fields.pop(column, None)
    found = next((v for v in (text, own, fields.get(CAPTION)) if v is not None), None)
    return None if found is None else as_text(found)


def _parsed(tar: Tar, member: Member, suffix: str) -> Any:
    data = tar.read(member, MAX_TEXT_BYTES)
    try:
        return _TEXTS[suffix](data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{tar.path}: {member.name} can't be read: {error}") from error


def _json_fields(text: str) -> dict[str, Any]:
    value = json.loads(text)
    return value if isinstance(value, dict) else {"json": value}


_TEXTS: dict[str, Callable[[str], Any]] = {
    ".txt": str.strip,
    ".cls": str.strip,
    ".json": _json_fields,
}
