"""Tables of results, written block by block: a CSV or a Parquet file, by its suffix."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from embed.errors import SettingsError
from embed.files import replacing

SUFFIXES = (".csv", ".parquet")


def refuse_suffix(output: Path) -> None:
    """Raise SettingsError where a file's name does not say which kind of table it is."""
    if output.suffix not in SUFFIXES:
        raise SettingsError(f"a table is a {' or '.join(SUFFIXES)} file: found {output}")


@contextmanager
def writing_table(output: Path) -> Iterator[Callable[[pl.DataFrame], None]]:
    """Yield what takes the table block by block; `output` is there once all of them are.

    Raises:
        SettingsError: the suffix is neither .csv nor .parquet.
        OutputError: nothing can be written there.
    """
    refuse_suffix(output)
    writing = _writing_csv if output.suffix == ".csv" else _writing_parquet
    with replacing(output, pl.exceptions.PolarsError) as temporary, writing(temporary) as write:
        yield write


@contextmanager
def _writing_csv(path: Path) -> Iterator[Callable[[pl.DataFrame], None]]:
    with path.open("wb") as file:
        yield lambda block: block.write_csv(file, include_header=file.tell() == 0)


@contextmanager
def _writing_parquet(path: Path) -> Iterator[Callable[[pl.DataFrame], None]]:
    """Each block a file, which polars joins as it reads them: it can't add to a file."""
    with TemporaryDirectory(dir=path.parent, prefix=f"{path.stem}.") as folder:
        parts: list[Path] = []

        def write(block: pl.DataFrame) -> None:
            parts.append(Path(folder) / f"{len(parts)}.parquet")
            block.write_parquet(parts[-1])

        yield write
        pl.scan_parquet(parts).sink_parquet(path)
