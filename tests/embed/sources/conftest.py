from collections.abc import Callable

import pytest

from embed.sources import Catalogue, SourceSettings, read_source

ReadSource = Callable[..., Catalogue]


@pytest.fixture
def read(tmp_path_factory: pytest.TempPathFactory) -> ReadSource:
    """Reads a source, its spool in a folder of its own."""

    def read_into_spool(source: object, **settings: str | None) -> Catalogue:
        spool = tmp_path_factory.mktemp("spool") / "source.spool"
        return read_source(str(source), SourceSettings(**settings), spool)  # type: ignore[arg-type]

    return read_into_spool
