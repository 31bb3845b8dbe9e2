"""What a search tells while it runs."""

import io
import sys
from pathlib import Path

import numpy as np
import pytest

from embed.store import Store
from retrieval import finding
from retrieval.finding import Finding, found_neighbours
from retrieval.search import dense
from retrieval.search.sides import self_join
from tests.conftest import Invoke, json_of
from tests.retrieval.retrieval_stores import clustered, dense_info, write_store


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def store_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(dense, "WHOLE_BLOCK_ROWS", 16)
    vectors, labels = clustered(12, 4, spread=0.5)
    return write_store(
        tmp_path / "store.h5", {"near": (dense_info(16), vectors)}, {"label": labels}
    )


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finding, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(finding, "LINE_SECONDS", 0.0)


@pytest.mark.usefixtures("impatient")
def test_lines_tell_how_far_a_search_is(
    store_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Store(store_path) as store:
        sides = self_join(store, np.arange(48))
        quiet = found_neighbours(sides, {"near": 1.0}, 5)
        assert capsys.readouterr().err == ""
        told = found_neighbours(sides, {"near": 1.0}, 5, Finding(shows_progress=True))
    lines = capsys.readouterr().err.splitlines()
    counts = [line.split(" items")[0] for line in lines]
    assert counts == [f"search in near: {done} of 48" for done in (16, 32, 48)]
    np.testing.assert_array_equal(told.rows, quiet.rows)


def test_a_quick_search_is_not_worth_a_line(
    store_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store(store_path) as store:
        sides = self_join(store, np.arange(48))
        found_neighbours(sides, {"near": 1.0}, 5, Finding(shows_progress=True))
        assert capsys.readouterr().err == ""
        terminal = Terminal()
        monkeypatch.setattr(sys, "stderr", terminal)
        found_neighbours(sides, {"near": 1.0}, 5, Finding(shows_progress=True))
        assert terminal.getvalue() == ""
        monkeypatch.setattr(finding, "PATIENCE_SECONDS", 0.0)
        found_neighbours(sides, {"near": 1.0}, 5, Finding(shows_progress=True))
        assert "search in near" in terminal.getvalue()


@pytest.mark.usefixtures("impatient")
def test_commands_tell_how_far_they_are_but_not_beside_json(
    store_path: Path, tmp_path: Path, retrieval_cli: Invoke
) -> None:
    near, label, to = ("--space", "near"), ("--label", "label"), ("-o", tmp_path / "out.csv")
    commands: list[tuple[object, ...]] = [
        ("tune-threshold", store_path, *near, *label),
        ("evaluate", store_path, *near, *label),
        ("compare", store_path, *near, *label),
        ("match", store_path, *near, "--threshold", "0.5", *to, "--force"),
        ("neighbours", store_path, *near, *to, "--force"),
        ("vote", store_path, *near, "--column", "label", *to, "--force"),
        ("duplicates", store_path, "--min-score", "near=0.9"),
    ]
    for command in commands:
        assert "search in near: " in retrieval_cli(*command).stderr, command[0]
        beside = retrieval_cli(*command, "--json")
        assert "search in near: " not in beside.stderr, command[0]
        assert json_of(beside)
