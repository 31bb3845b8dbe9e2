"""Files that are replaced while they are served, by others and by the service itself."""

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from retrieval.service.reloading import Watch
from retrieval.service.service import Service
from retrieval.service.settings import ServiceSettings
from tests.retrieval.service.conftest import Demo

SECONDS = 20.0


@pytest.fixture
def store(demo: Demo, tmp_path: Path) -> Path:
    return Path(shutil.copy(demo.store, tmp_path / "store.h5"))


@pytest.fixture
def watched(demo: Demo, store: Path, tmp_path: Path) -> Iterator[Service]:
    """A service with a threshold and a head, whose files may be replaced."""
    threshold = shutil.copy(demo.threshold, tmp_path / "threshold.json")
    head = Path(shutil.copy(demo.head, tmp_path / "head.safetensors"))
    service = Service(ServiceSettings(store, str(threshold), heads=(head,)))
    watch = Watch(service)
    yield service
    watch.stop()
    service.close()


def test_a_replaced_store_is_taken_up_and_a_broken_one_is_not(
    demo: Demo, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store.h5"
    shutil.copy(demo.store, store)
    service = Service(ServiceSettings(store, space="phash"))
    watch = Watch(service)
    with service.held() as before:
        shutil.copy(demo.store, tmp_path / "new.h5")
        (tmp_path / "new.h5").replace(store)
        _wait_until(lambda: service.snapshot is not before)
        assert before.store.ids[0] == "p00000-00"  # still open
    with pytest.raises(KeyError, match="invalid identifier"):
        before.store.column("label")
    served = service.snapshot
    (tmp_path / "new.h5").write_bytes(b"broken")
    (tmp_path / "new.h5").replace(store)
    _wait_until(lambda: service.warnings)
    assert service.snapshot is served and "can't be served" in service.warnings[0]
    assert "can't be served" in capfd.readouterr().err
    watch.stop()
    service.close()


def test_a_store_that_is_written_in_place_is_not_opened_again(
    watched: Service, store: Path, demo: Demo, tmp_path: Path
) -> None:
    served = watched.snapshot
    with store.open("r+b") as file:  # the same bytes: what is mapped stays what it was
        file.write(demo.store.read_bytes())
    _wait_until(lambda: watched.warnings)
    assert "written in place" in watched.warnings[0] and "mv" in watched.warnings[0]
    assert watched.snapshot is served
    watched.use_threshold(tmp_path / "threshold.json")
    assert "written in place" in watched.warnings[0]
    served = watched.snapshot
    shutil.copy(demo.store, tmp_path / "new.h5")
    (tmp_path / "new.h5").replace(store)
    _wait_until(lambda: watched.snapshot is not served)
    _wait_until(lambda: not watched.warnings)


def test_heads_are_watched_and_one_that_is_broken_does_not_end_the_watch(
    watched: Service, demo: Demo, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    served, head = watched.snapshot, tmp_path / "head.safetensors"
    (tmp_path / "new").write_bytes(b"broken")
    (tmp_path / "new").replace(head)
    _wait_until(lambda: watched.warnings)
    assert watched.snapshot is served
    shutil.copy(demo.head, tmp_path / "new")
    (tmp_path / "new").replace(head)
    _wait_until(lambda: watched.snapshot is not served)
    _wait_until(lambda: not watched.warnings)
    assert "can't be served" in capfd.readouterr().err


def test_whatever_a_store_fails_by_leaves_the_watch_going(
    watched: Service, store: Path, demo: Demo, tmp_path: Path
) -> None:
    import h5py

    served, new = watched.snapshot, tmp_path / "new.h5"
    shutil.copy(demo.store, new)
    with h5py.File(new, "r+") as file:
        del file["items/id"]  # h5py raises a KeyError of its own
    new.replace(store)
    _wait_until(lambda: watched.warnings)
    shutil.copy(demo.store, new)
    new.replace(store)
    _wait_until(lambda: watched.snapshot is not served)


def test_another_threshold_shares_what_was_computed(
    watched: Service, demo: Demo, tmp_path: Path
) -> None:
    before = watched.snapshot
    found = before.pairs.result(SECONDS)
    vectors = before.searcher.vectors("hog")
    path = tmp_path / "threshold.json"
    path.with_suffix(".new").write_bytes(demo.threshold.read_bytes())
    path.with_suffix(".new").replace(path)
    watched.use_threshold(path)
    after = watched.snapshot
    assert after is not before and after.number != before.number
    assert after.pairs.result(0.0) is found
    assert after.searcher.vectors("hog") is vectors
    assert str(after.store.column("label")[0])  # still open, though the one before is closed
    time.sleep(1.5)
    assert watched.snapshot is after  # nothing is done twice
    mark = after.marks[path]
    assert mark is not None and mark.inode == path.stat().st_ino


def _wait_until(happens: Callable[[], object]) -> None:
    for _ in range(2000):
        if happens():
            return
        time.sleep(0.01)
    raise AssertionError("it did not happen")
