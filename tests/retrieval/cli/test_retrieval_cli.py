import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from retrieval.cli import main
from tests.retrieval.retrieval_stores import clustered, dense_info, write_store


@pytest.fixture
def store_path(tmp_path: Path) -> Path:
    near, labels = clustered(12, 5, spread=0.4)
    far, _ = clustered(12, 5, spread=1.2)
    spaces = {"image": (dense_info(16), near), "far": (dense_info(16, "far-1"), far)}
    columns = {
        "label": labels,
        "alone": np.arange(60),
        "kind": np.array(["x", "y"] * 30, object),
        "half": np.array(["first"] * 25 + ["second"] * 35, object),
    }
    return write_store(tmp_path / "store.h5", spaces, columns)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def run_json(*arguments: object) -> dict[str, object]:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    values = json.loads(result.stdout)
    assert isinstance(values, dict)
    return values


def test_from_a_store_to_matches(store_path: Path, tmp_path: Path) -> None:
    threshold, matches = tmp_path / "threshold.json", tmp_path / "matches.csv"
    about = (store_path, "--space", "image", "--label", "label")
    tuned = run_json("tune-threshold", *about, "--k", 10, "-o", threshold)
    expected = "score_threshold distance_threshold row_f1 precision recall num_rows k protocol"
    assert set(expected.split()) | {"interval"} <= set(tuned)
    assert (tuned["protocol"], tuned["num_rows"], tuned["k"]) == ("cross-fit", 60, 10)
    assert json.loads(threshold.read_text()) == tuned
    assert threshold.with_suffix(".png").read_bytes()[:4] == b"\x89PNG"

    evaluated = run_json("evaluate", *about, "--threshold", threshold)
    assert evaluated["score_threshold"] == tuned["score_threshold"]
    assert evaluated["recall@1"] == pytest.approx(1, abs=0.1)

    summary = run_json("match", store_path, "--threshold", threshold, "-o", matches)
    lines = matches.read_text().splitlines()
    assert lines[0] == "id,matches"
    assert summary["num_rows"] == len(lines) - 1 == 60
    assert sum(len(line.split(",")[1].split()) - 1 for line in lines[1:]) == summary["num_matches"]


def test_tables_for_people_and_warnings_beside_them(store_path: Path) -> None:
    about = (store_path, "--space", "image", "--label", "label")
    result = run("tune-threshold", *about, "--protocol", "same-rows")
    assert result.exit_code == 0
    assert "60 rows, k = 50, threshold: same-rows" in result.stdout
    columns = "space row F1 precision recall score ≥ distance ≤"
    assert first_row(result) == (columns.split(), "image")
    assert result.stderr.startswith("warning: same-rows: tuned and reported on the same rows")
    optimistic = run_json("tune-threshold", *about, "--protocol", "same-rows")
    assert "interval" not in optimistic
    assert optimistic["warnings"] != []
    evaluated = run("evaluate", *about, "--threshold", "0.5")
    assert (
        "60 rows, k = 50, threshold: given: score ≥ 0.5000, distance ≤ 0.5000" in evaluated.stdout
    )
    assert "95 % interval" in evaluated.stdout
    assert "recall@10" in evaluated.stdout


def first_row(result: Result) -> tuple[list[str], str]:
    """The words of the first table's header, and the first word of its first row."""
    header = next(line for line in result.stdout.splitlines() if "row F1" in line)
    row = next(line for line in result.stdout.splitlines() if "0." in line)
    return header.split(), row.split()[0]


def test_match_says_on_one_line_what_it_wrote_and_warns_beside_it(
    store_path: Path, tmp_path: Path
) -> None:
    threshold, output = tmp_path / "threshold.json", tmp_path / "matches.csv"
    about = ("--space", "image", "--label", "label", "--where", "half=first", "-o", threshold)
    tuned = run_json("tune-threshold", store_path, *about)
    result = run("match", store_path, "--threshold", threshold, "-o", output)
    assert result.stdout.startswith("60 items with ")
    assert result.stdout.count("\n") == 1
    assert f"{output} (image, score ≥ {tuned['score_threshold']:.4f})" in result.stdout
    assert result.stderr.startswith(
        "warning: the threshold was tuned among 25 items and 60 are matched"
    )


def test_compare_shows_each_space_on_a_line(store_path: Path) -> None:
    about = (store_path, "--space", "image", "--space", "far", "--label", "label")
    result = run("compare", *about)
    assert result.exit_code == 0
    assert "60 rows, k = 50, threshold: cross-fit" in result.stdout
    assert [line.split()[0] for line in result.stdout.splitlines()[4:6]] == ["image", "far"]
    spaces = run_json("compare", *about)["spaces"]
    assert isinstance(spaces, dict)
    assert list(spaces) == ["image", "far"]
    assert spaces["image"]["row_f1"] > spaces["far"]["row_f1"]


def test_options_reach_the_library(store_path: Path, tmp_path: Path) -> None:
    about = (store_path, "--space", "image", "--label", "label", "--where", "kind=x")
    assert run_json("tune-threshold", *about, "--seed", 3)["seed"] == 3
    assert run_json("evaluate", *about)["num_rows"] == 30
    options = (
        "--space",
        "far",
        "--threshold",
        "0.9",
        "--id-name",
        "posting_id",
        "--separator",
        ";",
    )
    run_json("match", store_path, *options, "-o", tmp_path / "a.csv", "--where", "kind=y")
    assert (tmp_path / "a.csv").read_text().startswith("posting_id,matches\nr1,r1")
    config = tmp_path / "tune.yaml"
    config.write_text("space: far\nlabel: label\nk: 7\n")
    assert run_json("tune-threshold", store_path, "--config", config)["k"] == 7


def test_an_existing_output_is_refused_before_anything_else(tmp_path: Path) -> None:
    store_path = write_store(  # tuning on this store would fail: no two rows share a label
        tmp_path / "a.h5", {"image": (dense_info(1), np.ones((2, 1)))}, {"label": np.arange(2)}
    )
    about = (store_path, "--space", "image", "--label", "label", "-o", tmp_path / "t.json")
    (tmp_path / "t.png").write_text("mine")
    result = run("tune-threshold", *about)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"error: {tmp_path / 't.png'} exists already: give another")
    assert "no two of the 2" in run("tune-threshold", *about, "--force").stderr
    assert not (tmp_path / "t.json").exists()
    assert "names the JSON file" in run("tune-threshold", *about[:-1], tmp_path / "t.png").stderr


@pytest.mark.parametrize(
    ("exit_code", "arguments", "message"),
    [
        (
            1,
            "evaluate {store} --space nope --label label",
            "has no space 'nope': it has image, far",
        ),
        (1, "evaluate {store} --space image --label nope", "has no column 'nope'"),
        (1, "evaluate {store} --space image --label alone", "no two of the 60 selected rows share"),
        (1, "evaluate {store} --space image --label label --threshold x.json", "is neither"),
        (1, "evaluate {store} --space image --label label --threshold {folder}", "is a folder"),
        (
            1,
            "evaluate {store} --space image --label label --threshold {store}",
            "no threshold file",
        ),
        (1, "evaluate {store} --space image --label label --threshold 70", "between −1 and 1"),
        (1, "evaluate nowhere.h5 --space image --label label", "no store at nowhere.h5"),
        (2, "evaluate {store} --space image --label label --where kind", "COLUMN=VALUE"),
        (2, "match {store} --threshold 0.5 -o {folder}/a.csv", "0.5 is a score: say with --space"),
        (2, "tune-threshold {store} --space image --label label --k 1", "at least 2: found 1"),
        (2, "evaluate {store} --space image --label label --k 1", "at least 2: found 1"),
        (
            2,
            "match {store} --space far --threshold 0.5 --k 1 -o {folder}/a.csv",
            "at least 2: found",
        ),
        (
            2,
            "match {store} --space far --threshold 0.5 --separator= -o {folder}/a.csv",
            "can't be empty",
        ),
        (
            2,
            "compare {store} --space far --space far --label label",
            "each named once: found far, far",
        ),
    ],
)
def test_a_mistake_is_one_line(
    store_path: Path, tmp_path: Path, exit_code: int, arguments: str, message: str
) -> None:
    result = run(*arguments.format(store=store_path, folder=tmp_path).split())
    assert result.exit_code == exit_code
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_wrong_usage_is_exit_2(store_path: Path) -> None:
    about = ("tune-threshold", store_path, "--space", "image", "--label", "label")
    assert run(*about, "--protocol", "none").exit_code == 2
    assert run("match", store_path).exit_code == 2


def test_help_imports_nothing_heavy() -> None:
    code = "import sys, retrieval.cli; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"numpy", "h5py", "faiss", "scipy", "matplotlib", "polars", "torch", "rich", "yaml"}
    assert not heavy & set(done.stdout.split())


def test_the_package_can_be_run() -> None:
    command = [sys.executable, "-m", "retrieval", "evaluate", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Usage: python -m retrieval evaluate [OPTIONS] STORE")
