"""What no command of the three packages may do to files, and how its mistakes read."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from embed.errors import OutputError, OutputExistsError
from embed.files import refuse_existing, replacing
from embed.options import CONTEXT, CommandGroup
from tests.conftest import Invoke
from tests.retrieval.retrieval_stores import clustered, dense_info, write_store


@pytest.fixture
def store_path(tmp_path: Path) -> Path:
    vectors, labels = clustered(20, 3, spread=0.6)
    other, _ = clustered(20, 3, spread=0.6, seed=1)
    spaces = {"image": (dense_info(16), vectors), "title": (dense_info(16, "title-1"), other)}
    columns = {"label": labels, "kind": np.array(["photo", "icon"] * 30, object)}
    seen = {"title": np.arange(60) < 30}
    return write_store(tmp_path / "store.h5", spaces, columns, seen=seen)


@contextmanager
def small_files(num_bytes: int) -> Iterator[None]:
    """Nothing that is written may become larger than this, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("tune-threshold STORE --space image --label label -o STORE", "output"),
        ("index STORE --space image -o STORE", "output"),
        ("compare STORE --space image --label label -o STORE", "output"),
        ("compare STORE --space image --label label --plot STORE", "plot"),
        ("match STORE --threshold T -o T", "output"),
        ("match STORE --threshold 0.5 --space image -o out.csv --groups LINK", "groups"),
        ("neighbours STORE --space image --index T -o T", "output"),
        ("vote STORE --space image --column label --config T -o T", "output"),
    ],
)
def test_no_input_is_replaced(
    store_path: Path, tmp_path: Path, retrieval_cli: Invoke, command: str, option: str
) -> None:
    threshold, link = tmp_path / "t.csv", tmp_path / "link.csv"
    threshold.write_text("{}")
    link.symlink_to(store_path)
    names = {"STORE": store_path, "T": threshold, "LINK": link}
    before = store_path.read_bytes()
    arguments = [names.get(word, word) for word in command.split()]
    refused = retrieval_cli(*arguments, "--force", exit_code=2)
    assert refused.stderr.startswith(f"error: --{option} ")
    assert "is what the command reads as" in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert (store_path.read_bytes(), threshold.read_text()) == (before, "{}")


def test_force_replaces_no_store_by_something_else(store_path: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputExistsError, match="is an HDF5 file such as a store"):
        refuse_existing(store_path, force=True)
    refuse_existing(store_path, force=True, is_store=True)
    with pytest.raises(OutputError, match="is a folder and can't be replaced"):
        refuse_existing(tmp_path, force=True)
    with pytest.raises(OutputError, match="/dev/null is no plain file"):
        refuse_existing(Path("/dev/null"), force=True)


@pytest.mark.parametrize(
    "command",
    [
        "neighbours STORE --space image -o OUT.csv",
        "neighbours STORE --space image -o OUT.parquet",
        "match STORE --space image --threshold -1 -o OUT.parquet",
        "match STORE --space image --threshold -1 -o OUT.csv",
        "index STORE --space image --k 5 -o OUT.faiss",
    ],
)
def test_a_full_disk_is_one_line_that_names_the_output(
    store_path: Path, tmp_path: Path, retrieval_cli: Invoke, command: str
) -> None:
    names = {"STORE": store_path}
    arguments = [
        names.get(word, word.replace("OUT", f"{tmp_path}/out")) for word in command.split()
    ]
    with small_files(1000):
        refused = retrieval_cli(*arguments, exit_code=1)
    output = arguments[-1]
    assert refused.stderr == (
        f"error: can't write {output}: File too large: make room there, or write it to another "
        f"place\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["store.h5"]


def test_other_errors_pass_through_what_replaces_a_file(tmp_path: Path) -> None:
    for error in (ConnectionResetError(104, "reset"), FileNotFoundError(2, "none", "other")):
        with pytest.raises(type(error)), replacing(tmp_path / "x"):
            raise error


def test_an_index_of_another_space(store_path: Path, tmp_path: Path, retrieval_cli: Invoke) -> None:
    index, output = tmp_path / "title.faiss", tmp_path / "near.csv"
    retrieval_cli("index", store_path, "--space", "title", "--k", 5, "-o", index)
    about = ("neighbours", store_path, "-o", output, "--index", index, "--space")
    refused = retrieval_cli(*about, "image", exit_code=1)
    assert "holds the vectors of space 'title' (fingerprint title-1), and 'image'" in refused.stderr
    assert "(fingerprint dense-1) is searched" in refused.stderr
    retrieval_cli(*about, "title")


@pytest.mark.parametrize(
    "command",
    ["match STORE --threshold 0.5 -o o.csv", "vote STORE --column label -o o.csv", "index STORE"],
)
def test_one_space_is_named_once(store_path: Path, retrieval_cli: Invoke, command: str) -> None:
    arguments = [store_path if word == "STORE" else word for word in command.split()]
    refused = retrieval_cli(*arguments, "--space", "image", "--space", "title", exit_code=2)
    assert "--space is given once here: found image, title" in refused.stderr


def test_an_interrupt_is_one_line() -> None:
    @click.group(cls=CommandGroup, context_settings=CONTEXT)
    def main() -> None:
        """A group."""

    @main.command()
    def wait() -> None:
        """Be interrupted."""
        raise KeyboardInterrupt

    ended = CliRunner().invoke(main, ["wait"])
    assert (ended.exit_code, ended.stderr) == (130, "interrupted\n")


def test_files_for_the_rows_that_a_head_has_not_seen(
    store_path: Path, tmp_path: Path, retrieval_cli: Invoke
) -> None:
    """A file of neighbours and an index fit the rows that tune-threshold takes by itself."""
    near, index = tmp_path / "near.parquet", tmp_path / "i.faiss"
    about = (store_path, "--space", "title")
    tune = ("tune-threshold", *about, "--label", "label", "--k", 10, "-o", tmp_path / "t.json")
    retrieval_cli("neighbours", *about, "--k", 10, "-o", near)
    retrieval_cli("index", *about, "--k", 10, "-o", index)
    for option, path in (("--neighbours", near), ("--index", index)):
        refused = retrieval_cli(*tune, option, path, exit_code=1)
        assert "again with the same --where, and --unseen-by for the rows that" in refused.stderr
    unseen = ("--unseen-by", "title", "--force")
    retrieval_cli("neighbours", *about, "--k", 10, "-o", near, *unseen)
    retrieval_cli("index", *about, "--k", 10, "-o", index, *unseen)
    for option, path in (("--neighbours", near), ("--index", index)):
        retrieval_cli(*tune, option, path, "--force")
    done = retrieval_cli("vote", *about, "--column", "label", "-o", tmp_path / "v.csv", *unseen)
    assert "30 items, 30 may vote" in done.stdout
    done = retrieval_cli("match", *about, "--threshold", 0.5, "-o", tmp_path / "m.csv", *unseen)
    assert done.stdout.startswith("30 items with ")


@pytest.mark.parametrize(
    ("command", "limit"),
    [
        ("match STORE --threshold 0.5 -o o.csv", 60),
        ("vote STORE --column label -o o.csv", 59),
        ("neighbours STORE -o o.csv", 60),
        ("index STORE", 60),
    ],
)
def test_more_neighbours_than_there_are(
    store_path: Path, retrieval_cli: Invoke, command: str, limit: int
) -> None:
    arguments = [store_path if word == "STORE" else word for word in command.split()]
    refused = retrieval_cli(*arguments, "--space", "image", "--k", limit + 1, exit_code=2)
    assert f"--k {limit + 1} asks for more neighbours than there are" in refused.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--alpha 3", "--alpha does nothing without --expand"),
        ("--expand 0 --alpha 3", "--alpha does nothing without --expand"),
        ("--rerank-k1 9", "--rerank-k1 does nothing without --rerank"),
        ("--augment-weights score", "--augment-weights does nothing without --augment"),
        ("--blend-nearest 9", "--blend-nearest does nothing without --blend"),
        ("--rerank --rerank-lambda 2", "--rerank-lambda is the share of the original score"),
        ("--blend 2", "--blend takes a score between"),
    ],
)
def test_refinements_without_effect(
    store_path: Path, retrieval_cli: Invoke, options: str, message: str
) -> None:
    about = ("neighbours", store_path, "--space", "image", "-o", "near.csv")
    assert message in retrieval_cli(*about, *options.split(), exit_code=2).stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("-o m.csv --linkage single", "--linkage does nothing without --groups"),
        ("-o m.parquet --separator ;", "--separator is for a competition's file"),
        ("-o m.csv --format pairs --id-name item", "--id-name is for a competition's file"),
    ],
)
def test_options_of_match_without_effect(
    store_path: Path, retrieval_cli: Invoke, options: str, message: str
) -> None:
    about = ("match", store_path, "--space", "image", "--threshold", "0.5")
    assert message in retrieval_cli(*about, *options.split(), exit_code=2).stderr


def test_what_is_no_store_says_what_it_seems_to_be(
    tmp_path: Path, store_path: Path, retrieval_cli: Invoke
) -> None:
    plain = tmp_path / "plain.h5"
    with h5py.File(plain, "w") as file:
        file["vectors"] = np.zeros(3)
    (tmp_path / "table.csv").write_text("id\n")
    seeming = ((plain, "something else, with vectors"), (tmp_path / "table.csv", "to be a table"))
    for path, what in seeming:
        refused = retrieval_cli("index", path, "--space", "image", exit_code=1)
        assert f"{path} is not a store: it " in refused.stderr
        assert what in refused.stderr
        assert "make one with `python -m embed run SOURCE" in refused.stderr
    about = ("match", store_path, "--space", "image", "-o", tmp_path / "m.csv", "--threshold")
    refused = retrieval_cli(*about, tmp_path / "thresold.json", exit_code=1)
    assert "there is no such file" in refused.stderr
    refused = retrieval_cli("index", store_path, "--space", "image", "-o", "x.json", exit_code=2)
    assert "an index is a .faiss file: found x.json" in refused.stderr


def test_a_threshold_of_other_sides_is_warned_of(
    store_path: Path, tmp_path: Path, retrieval_cli: Invoke
) -> None:
    threshold, output = tmp_path / "t.json", tmp_path / "m.csv"
    sides = ("--query-where", "kind=photo", "--gallery-where", "kind=icon")
    tune = ("tune-threshold", store_path, "--space", "image", "--label", "label", "-o", threshold)
    match = ("match", store_path, "--threshold", threshold, "-o", output, "--force")
    retrieval_cli(*tune, "--k", 5, *sides)
    told = retrieval_cli(*match).stderr
    assert "tuned for queries among a gallery and is used for all items among one another" in told
    assert "tuned for" not in retrieval_cli(*match, *sides).stderr
    retrieval_cli(*tune, "--k", 5, "--force")
    told = retrieval_cli(*match, *sides).stderr
    assert "tuned for all items among one another and is used for queries among a gallery" in told


def test_commands_are_listed_in_whole_sentences(
    embed_cli: Invoke, heads_cli: Invoke, retrieval_cli: Invoke
) -> None:
    for cli in (embed_cli, heads_cli, retrieval_cli):
        assert "..." not in cli("--help").stdout.partition("Commands:")[2]
