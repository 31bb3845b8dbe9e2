"""The card beside a head: what it says of each kind, as Markdown that reads well."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from embed.rows import Split, Where
from heads.card import card
from heads.head import load_head
from heads.info import HeadInfo
from heads.tasks import Task
from tests.heads.conftest import head_file, task, train

BY_CATEGORY = task(
    targets=("colour", "size"),
    category="category",
    split=Split.parse("id", "60/20/20", stratify="category"),
)


def test_the_card_of_a_projection(store_path: Path, tmp_path: Path) -> None:
    what = task("raw", "bits", where=(Where("kind", "photo"),))
    path = head_file(store_path, tmp_path / "shoe.safetensors", what)
    text, info = path.with_suffix(".md").read_text(), load_head(path).info
    assert text.startswith("# shoe\n\nA head of kind `projection` that makes vectors")
    assert "`python -m heads apply STORE HEAD`" in text
    assert f"| `raw` | 48 | 1 | `{'f' * 32}` |" in text
    assert f"{info.num_train:,} training rows of {len(info.classes)} classes and" in text
    assert "only of rows with `kind=photo`. Rows are split 60/20/20 into train/val/test" in text
    assert "a hash of `label`, with seed 0." in text
    assert "values of `label`: product 0, product 1, product 11" in text
    low, high = info.intervals["row_f1"]
    assert f"| row F1 | {info.metrics['row_f1']:.4f} | {low:.4f} – {high:.4f} |" in text
    assert "The epoch and threshold were chosen on these rows" in text
    assert "![Loss and metric over the epochs](shoe.png)" in text
    assert "| `learning_rate` | 0.0005 |" in text
    assert "| `dropout` | 0.2 |" in text
    for useless in ("momentum", "milestones", "gamma", "width", "per_class", "margin_cosine"):
        assert f"| `{useless}` |" not in text


def test_settings_of_a_card_are_in_use(store_path: Path) -> None:
    options: dict[str, Any] = {"optimizer": "sgd", "schedule": "step", "step_epochs": 1.0}
    options |= {"loss": "triplet", "body": "mlp", "width": 16, "epochs": 1}
    text = card(train(store_path, **options).info, "e")
    for used in ("momentum", "step_epochs", "gamma", "width", "per_class", "triplet_mining"):
        assert f"| `{used}` |" in text
    for useless in ("start", "warmup_epochs", "scale", "margin_radians", "label_smoothing"):
        assert f"| `{useless}` |" not in text


def test_the_card_of_attributes(store_path: Path) -> None:
    text = card(train(store_path, BY_CATEGORY, "attributes", calibrate=True).info, "a")
    assert "that predicts `colour` and `size`, by `category`." in text
    assert "`python -m heads predict STORE HEAD -o predictions.csv`" in text
    assert re.search(r"\| shoe \| size \| 2 \| size \d \(\d+\), size \d \(\d+\) \|", text)
    assert re.search(r"\| shoe \| size \| \d+ \| 2 \| 0\.\d{4} \| 0\.\d{4} \| 0\.\d{4} \|", text)
    assert "Calibrated with temperature" in text
    assert "threshold" not in text and "![" not in text


def test_the_card_of_a_baseline(store_path: Path) -> None:
    what = task(targets=("colour",), split=Split(group="", column="side"))
    split = replace(what, split=Split.parse("id", "60/20/20"))
    trained = train(store_path, split, "baseline:knn", epochs=None, batch_size=None)
    text = card(replace(trained.info, splits=(what.split,)), "b")
    assert "Rows are split by the column `side`." in text
    assert "It was fitted at once, not in epochs" in text
    assert "category" not in text
    assert "| `neighbours` | 10 |" in text


@pytest.mark.parametrize(
    ("what", "kind"),
    [(task(), "projection"), (BY_CATEGORY, "attributes"), (BY_CATEGORY, "baseline:majority")],
)
def test_every_card_is_whole(store_path: Path, what: Task, kind: str) -> None:
    options = {"epochs": None, "batch_size": None} if kind.startswith("baseline") else {"epochs": 1}
    text = card(train(store_path, what, kind, **options).info, "c")
    assert "None" not in text and "[" not in text.replace("![", "")
    sections = re.split(r"^#+ .*\n", text, flags=re.MULTILINE)[1:]
    assert all(section.strip() for section in sections)
    for table in re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE):
        assert len({line.count("|") for line in table.splitlines()}) == 1
        assert len(table.splitlines()) > 2
    assert text.endswith("|\n") and "\n\n\n" not in text


def test_bars_in_names_do_not_break_a_table(store_path: Path) -> None:
    info: HeadInfo = train(store_path, BY_CATEGORY, "attributes", epochs=1).info
    vocabulary = {**(info.vocabulary or {})}
    vocabulary["pairs"] = [{**vocabulary["pairs"][0], "category": "a|b\nc"}]
    assert r"| a\|b c |" in card(replace(info, vocabulary=vocabulary), "d")
