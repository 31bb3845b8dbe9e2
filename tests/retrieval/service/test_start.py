"""What a service is told wrongly is refused at its start; what is told goes before the store."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embed.errors import WorkbenchError
from embed.store import Store
from retrieval.service.catalogue import Catalogue
from retrieval.service.images import ItemImages
from retrieval.service.settings import ServiceSettings
from tests.conftest import Invoke
from tests.retrieval.retrieval_stores import dense_info, exact_vectors, write_store
from tests.retrieval.service.conftest import Demo
from tests.retrieval.service.snapshots import opened_snapshot

BEYOND_FLOATS = 2**53


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Eight items with two spaces and a column each of integers and of floats."""
    spaces = {name: (dense_info(16), exact_vectors(8, seed=1)) for name in ("one", "two")}
    columns = {
        "number": BEYOND_FLOATS + np.arange(8),
        "share": np.array([0.5, 2, np.nan, 1e-7, 0, 0, 0, 0]),
    }
    return write_store(tmp_path / "store.h5", spaces, columns)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"threshold": "0.8"}, "name one --space for it, of one, two"),
        ({"threshold": "0.8", "space": "nosuch"}, "nosuch"),
        ({"space": "nosuch"}, "nosuch"),
        ({"label": "nosuch"}, "has no column 'nosuch'"),
        ({"neighbours": Path("missing.parquet")}, "no neighbours at missing.parquet"),
        ({"device": "nonsense"}, "--device is auto, cpu, cuda or cuda:N"),
        ({"threshold": "0.8", "space": "one", "device": "gpu"}, "--device is auto"),
    ],
)
def test_a_mistake_is_told_at_the_start(path: Path, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(WorkbenchError, match=message):
        opened_snapshot(ServiceSettings(path, **wrong))


def test_a_store_is_no_file_of_neighbours(path: Path) -> None:
    settings = ServiceSettings(path, neighbours=path)
    for wrong in (settings, replace(settings, threshold="0.8", space="one")):
        with pytest.raises(WorkbenchError, match="neighbours"):
            opened_snapshot(wrong)


def test_a_threshold_of_another_space_is_told_at_the_start(demo: Demo) -> None:
    with pytest.raises(WorkbenchError, match="tuned on space 'head', not on 'hog'"):
        opened_snapshot(replace(demo.settings, space="hog"))
    opened_snapshot(replace(demo.settings, space="head")).close()


def test_a_store_that_is_refused_is_closed(path: Path) -> None:
    with pytest.raises(WorkbenchError):
        opened_snapshot(ServiceSettings(path, space="nosuch"))
    opened = {entry.resolve() for entry in Path("/proc/self/fd").iterdir()}
    assert path.resolve() not in opened


def test_no_pixels_are_no_limit(path: Path, retrieval_cli: Invoke) -> None:
    for number in ("0", "-5"):
        refused = retrieval_cli("serve", path, "--max-pixels", number, exit_code=2)
        assert "--max-pixels" in refused.output


def test_integers_are_compared_as_integers(path: Path) -> None:
    with Store(path) as store:
        catalogue = Catalogue(store, "title")
        for row in range(8):
            found = catalogue.mask("number", str(BEYOND_FLOATS + row))
            assert np.flatnonzero(found).tolist() == [row]
        for value, rows in (("0.50", [0]), ("2", [1]), ("2.0", [1]), ("", [2]), ("1e-7", [3])):
            assert np.flatnonzero(catalogue.mask("share", value)).tolist() == rows
        for odd in ("many", "1e999", "9" * 5000, "nan"):
            assert not catalogue.mask("number", odd).any()


def test_the_column_that_is_named_goes_before_the_stores(demo: Demo) -> None:
    root = demo.folder / "catalogue"
    with Store(demo.store) as store:
        catalogue = Catalogue(store, "title")
        for column, expected in ((None, "image"), ("title", "title")):
            for image_root in (None, root):
                own = replace(demo.settings, image_column=column, image_root=image_root)
                assert ItemImages(catalogue, own).column == expected
