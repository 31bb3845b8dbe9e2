"""Files that are replaced while they are served, by others and by the service itself."""

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Event

import h5py
import pytest

from embed.errors import DecisionsError, WorkbenchError
from retrieval.service import reloading
from retrieval.service.reloading import Watch
from retrieval.service.service import Service, Snapshot
from retrieval.service.settings import ServiceSettings
from tests.retrieval.service.conftest import Demo

SECONDS = 20.0


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reloading, "SECONDS_BETWEEN", 0.05)


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
    watched.use_threshold(served, lambda: tmp_path / "threshold.json")
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

    def write() -> Path:
        path.with_suffix(".new").write_bytes(demo.threshold.read_bytes())
        path.with_suffix(".new").replace(path)
        time.sleep(3 * reloading.SECONDS_BETWEEN)  # the watch sees it before it is served
        return path

    assert watched.use_threshold(before, write) == path
    after = watched.snapshot
    assert after is not before and after.number != before.number
    assert after.pairs.result(0.0) is found
    assert after.searcher.vectors("hog") is vectors
    assert str(after.store.column("label")[0])  # still open, though the one before is closed
    time.sleep(4 * reloading.SECONDS_BETWEEN)
    assert watched.snapshot is after  # nothing is done twice
    mark = after.marks[path]
    assert mark is not None and mark.inode == path.stat().st_ino


@pytest.mark.parametrize("name", ["threshold.json", "head.safetensors", "store.h5"])
def test_a_file_that_goes_and_comes_back_leaves_all_as_it_was(
    watched: Service, tmp_path: Path, name: str
) -> None:
    served = watched.snapshot
    (tmp_path / name).rename(tmp_path / "away")
    _wait_until(lambda: watched.warnings)
    assert "can't be served" in watched.warnings[0]
    assert watched.snapshot is served and str(served.store.column("label")[0])
    (tmp_path / "away").rename(tmp_path / name)
    _wait_until(lambda: not watched.warnings)
    time.sleep(4 * reloading.SECONDS_BETWEEN)
    assert watched.snapshot is served


def test_a_threshold_of_a_store_that_is_being_replaced_is_not_written(
    demo: Demo, store: Path
) -> None:
    service = Service(ServiceSettings(store, space="phash"))
    begun, may_end = Event(), Event()

    def prepare(snapshot: Snapshot) -> None:
        begun.set()
        assert may_end.wait(SECONDS)

    served, written = service.snapshot, list[Path]()

    def write() -> Path:
        written.append(store)
        return store

    shutil.copy(demo.store, store.with_suffix(".new"))
    store.with_suffix(".new").replace(store)
    with ThreadPoolExecutor(2) as pool:
        reload = pool.submit(service.reload, prepare)
        assert begun.wait(SECONDS)
        accept = pool.submit(service.use_threshold, served, write)
        may_end.set()
        reload.result(SECONDS)
        with pytest.raises(DecisionsError, match="something else is served"):
            accept.result(SECONDS)
    assert written == [] and service.snapshot is not served
    service.close()


def test_a_store_that_fails_to_be_made_ready_is_closed(demo: Demo, store: Path) -> None:
    service = Service(ServiceSettings(store, space="phash"))
    served, opened = service.snapshot, list[Snapshot]()
    shutil.copy(demo.store, store.with_suffix(".new"))
    store.with_suffix(".new").replace(store)

    def prepare(snapshot: Snapshot) -> None:
        opened.append(snapshot)
        raise RuntimeError("of a library")

    with pytest.raises(RuntimeError, match="of a library"):
        service.reload(prepare)
    assert service.snapshot is served
    with pytest.raises(KeyError):
        opened[0].store.column("label")
    service.close()


def test_a_store_whose_heads_do_not_fit_is_closed(demo: Demo, store: Path) -> None:
    with h5py.File(store, "r+") as file:
        file["spaces/hog"].attrs["fingerprint"] = "another"
    threads = threading.active_count()
    with pytest.raises(WorkbenchError):
        Service(ServiceSettings(store, heads=(demo.head, demo.attribute_head)))
    assert store.resolve() not in {each.resolve() for each in Path("/proc/self/fd").iterdir()}
    _wait_until(lambda: threading.active_count() <= threads)


class _LockThen:
    """A lock that does something right after it was first let go."""

    def __init__(self, action: Callable[[], None]) -> None:
        self._lock, self._action = threading.Lock(), action

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()
        action, self._action = self._action, lambda: None
        action()


def test_what_is_replaced_as_its_last_request_ends_is_closed_once(
    demo: Demo, tmp_path: Path
) -> None:
    settings = replace(demo.settings, heads=(), decisions=tmp_path / "d.jsonl")
    service = Service(settings)
    other = Snapshot(settings, service.encoders, before=service.snapshot)
    with service.held():
        service._lock = _LockThen(lambda: service.replace(other))  # type: ignore[assignment]
    assert service.snapshot is other
    assert str(other.store.column("label")[0])  # which both have
    service.close()
    with pytest.raises(KeyError):
        other.store.column("label")


def _wait_until(happens: Callable[[], object]) -> None:
    for _ in range(2000):
        if happens():
            return
        time.sleep(0.01)
    raise AssertionError("it did not happen")
