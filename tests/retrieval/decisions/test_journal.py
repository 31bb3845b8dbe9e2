import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from embed.errors import DecisionsError, OutputError
from retrieval.decisions.journal import Journal, decisions_path, read_decisions
from retrieval.decisions.records import Decision, from_line, to_line
from tests.retrieval.decisions.decision_files import decision, write_decisions


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing waits for the disk: for hundreds of files that are looked at only while it runs."""
    monkeypatch.setattr(os, "fsync", lambda file: None)


IDS = ("a", "größe 2", '"quoted"\n', "\u2028")


def standing(path: Path) -> dict[tuple[str, str], str]:
    made = Journal(path).read().standing
    return {pair: decided.decision for pair, decided in made.items()}


def test_the_file_lies_beside_the_store_and_has_one_line_a_decision(tmp_path: Path) -> None:
    path = decisions_path(tmp_path / "store.h5")
    assert path == tmp_path / "store.decisions.jsonl"
    made = decision("a", "größe 2", "different")
    Journal(path).append(made)
    (line,) = path.read_text(encoding="utf-8").splitlines()
    assert json.loads(line) == {
        "format": "retrieval-decision",
        "version": 1,
        "id": made.id,
        "at": made.at,
        "by": "ada",
        "first": "a",
        "second": "größe 2",
        "decision": "different",
        "score": 0.5,
        "scores": {"image": 0.5},
        "fingerprints": {"image": "dense-1"},
        "threshold": 0.6,
    }
    assert "größe" in line
    assert made.at.endswith("+00:00")


@pytest.mark.parametrize("other", IDS[1:])
def test_any_id_comes_back_as_it_was(other: str) -> None:
    made = decision("a", other)
    line = to_line(made)
    assert line.count(b"\n") == 1
    assert from_line(line) == made


def test_the_last_decision_of_a_pair_counts_whichever_way_round(tmp_path: Path) -> None:
    path = write_decisions(
        tmp_path / "d.jsonl", ("a", "b", "same"), ("c", "b", "unsure"), ("b", "a", "different")
    )
    assert standing(path) == {("a", "b"): "different", ("b", "c"): "unsure"}


def test_undo_takes_back_the_last_of_one_person_and_what_was_before_counts(
    tmp_path: Path,
) -> None:
    journal = Journal(tmp_path / "d.jsonl")
    journal.append(decision("a", "b", "same", "ada"))
    journal.append(decision("a", "b", "different", "ada"))
    journal.append(decision("a", "c", "same", "bob"))
    undone, now = journal.undo("ada")
    assert undone.decision == "different"
    assert {pair: made.decision for pair, made in now.standing.items()} == {
        ("a", "b"): "same",
        ("a", "c"): "same",
    }
    journal.undo("ada")
    assert standing(journal.path) == {("a", "c"): "same"}
    with pytest.raises(DecisionsError, match="'ada' has decided nothing"):
        journal.undo("ada")
    assert len(journal.path.read_text().splitlines()) == 5  # nothing is ever taken out of the file


def test_a_file_cut_short_at_any_byte_keeps_all_that_was_whole_before_it(
    tmp_path: Path, quick: None
) -> None:
    path = write_decisions(tmp_path / "d.jsonl", ("a", "b", "same"), ("ä", "c", "different"))
    data = path.read_bytes()
    first = data.index(b"\n") + 1
    for length in range(len(data) + 1):
        path.write_bytes(data[:length])
        whole = (length >= first - 1) + (length >= len(data) - 1)
        found = Journal(path).read()
        assert len(found) == whole, length
        is_torn = length not in (0, first - 1, first, len(data) - 1, len(data))
        assert (found.num_torn, len(found.warnings)) == (is_torn, is_torn), length
        now = Journal(path).append(decision("x", "y"))
        assert len(now) == whole + 1, length
        assert path.read_bytes().startswith(data[:length])
        assert standing(path).get(("x", "y")) == "same"
        assert Journal(path).read().num_torn == 0


def test_a_repair_that_is_itself_cut_short_is_repaired(tmp_path: Path, quick: None) -> None:
    path = write_decisions(tmp_path / "d.jsonl", ("a", "b", "same"))
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:100])
    Journal(path).append(decision("c", "d"))
    repaired = path.read_bytes()
    for length in range(len(whole) + 100, len(repaired)):
        path.write_bytes(repaired[:length])
        assert ("a", "b") in standing(path)
        Journal(path).append(decision("e", "f"))
        assert {("a", "b"), ("e", "f")} <= standing(path).keys(), length


def test_a_crash_that_left_zeros_at_the_end_is_passed_over(tmp_path: Path) -> None:
    path = write_decisions(tmp_path / "d.jsonl", ("a", "b", "same"))
    path.write_bytes(path.read_bytes() + bytes(64))
    Journal(path).append(decision("c", "d"))
    assert standing(path) == {("a", "b"): "same", ("c", "d"): "same"}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda lines: [lines[0][:50] + b"\n", lines[1]], "line 1 of .* is damaged: it is no JSON"),
        (lambda lines: [lines[0], b"notes\n", lines[1]], "line 2 of .* is damaged"),
        (lambda lines: [lines[0], b"notes"], "line 2 of .* is damaged"),
        (
            lambda lines: [lines[0], lines[1].replace(b'"same"', b'"maybe"')],
            "line 2 .* decision should be same, different, unsure: found 'maybe'",
        ),
        (
            lambda lines: [lines[0].replace(b'"version": 1', b'"version": 2'), lines[1]],
            "line 1 .* should have format retrieval-decision version 1",
        ),
        (
            lambda lines: [lines[0], to_undo(lines[1])],
            "line 2 .* takes back the decision '.*', which does not stand",
        ),
        (lambda lines: [lines[0].replace(b'"b"', b'"a"'), lines[1]], "both are 'a'"),
    ],
)
def test_a_line_that_is_damaged_otherwise_is_an_error(
    tmp_path: Path, damage: Callable[[list[bytes]], list[bytes]], message: str
) -> None:
    path = write_decisions(tmp_path / "d.jsonl", ("a", "b", "same"), ("c", "d", "same"))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(damage(lines)))
    with pytest.raises(DecisionsError, match=message):
        Journal(path).read()
    with pytest.raises(DecisionsError, match=message):
        Journal(path).append(decision("e", "f"))


def to_undo(line: bytes) -> bytes:
    made = from_line(line)
    assert isinstance(made, Decision)
    values = {"format": "retrieval-decision", "version": 1, "at": made.at, "by": "ada"}
    return json.dumps(values | {"undoes": made.id}).encode() + b"\n"


def test_a_reader_sees_what_another_process_appends_and_a_file_that_was_replaced(
    tmp_path: Path,
) -> None:
    path = tmp_path / "d.jsonl"
    reader = Journal(path)
    assert len(reader.read()) == 0
    write_decisions(path, ("a", "b", "same"))
    assert len(reader.read()) == 1
    path.write_bytes(path.read_bytes()[:-1])  # as if its end were not there yet
    write_decisions(path, ("a", "c", "same"))
    assert len(reader.read()) == 2
    other = write_decisions(tmp_path / "other.jsonl", ("x", "y", "different"))
    other.replace(path)
    assert reader.read().standing.keys() == {("x", "y")}
    path.unlink()
    assert len(reader.read()) == 0


def test_two_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    program = (
        "import sys; from pathlib import Path\n"
        "from tests.retrieval.decisions.decision_files import decision\n"
        "from retrieval.decisions.journal import Journal\n"
        "journal = Journal(Path(sys.argv[1]))\n"
        "for number in range(60):\n"
        "    journal.append(decision(f'{sys.argv[2]}{number}', 'other' * 200, by=sys.argv[2]))\n"
        "    if number % 3 == 0: journal.undo(sys.argv[2])\n"
    )
    commands = [[sys.executable, "-c", program, str(path), name] for name in ("p", "q")]
    running = [subprocess.Popen(command, cwd=Path.cwd(), env=environment()) for command in commands]
    assert [process.wait(60) for process in running] == [0, 0]
    found = read_decisions(path).standing.values()
    expected = {f"{name}{number}" for name in "pq" for number in range(60) if number % 3}
    assert {made.first for made in found} == expected


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[3])}


def test_a_disk_that_is_full_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = write_decisions(tmp_path / "d.jsonl", ("a", "b", "same"))
    before = path.read_bytes()
    program = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from tests.retrieval.decisions.decision_files import decision\n"
        "from retrieval.decisions.journal import Journal\n"
        "from embed.errors import OutputError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({len(before) + 40}, -1))\n"
        "try: Journal(Path(sys.argv[1])).append(decision('c', 'd'))\n"
        "except OutputError as error: print(error)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, str(path)],
        capture_output=True,
        text=True,
        check=True,
        env=environment(),
    )
    assert result.stdout.startswith(f"can't write {path}: there is no room left")
    assert path.read_bytes() == before


def test_a_place_that_can_not_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"can't write .*: No such file or directory"):
        Journal(tmp_path / "nowhere" / "d.jsonl").append(decision("a", "b"))
    with pytest.raises(DecisionsError, match="no decisions at"):
        read_decisions(tmp_path / "d.jsonl")
