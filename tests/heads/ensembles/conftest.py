"""Heads to be put together, trained once: two of each kind, on one split."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from embed.rows import Split
from heads.head import save_head
from heads.tasks import Task
from tests.heads.conftest import task, train, write_store

ROWS = Split.parse("id", "60/20/20", stratify="category")


def by_category(**fields: Any) -> Task:
    return task(**{"targets": ("colour", "size"), "category": "category", "split": ROWS} | fields)


def saved(
    store: Path, path: Path, what: Task | None = None, kind: str = "projection", **options: Any
) -> Path:
    """The file of a head that is hardly trained, without its picture."""
    trained = train(store, what, kind, **({"epochs": 1} | options))
    save_head(path, trained.info, trained.network, trained.seen_ids)
    return path


@dataclass(frozen=True)
class Kitchen:
    """A store, and head files by name."""

    store: Path
    folder: Path

    def __getitem__(self, name: str) -> Path:
        return self.folder / f"{name}.safetensors"


@pytest.fixture(scope="session")
def kitchen(tmp_path_factory: pytest.TempPathFactory) -> Kitchen:
    folder = tmp_path_factory.mktemp("kitchen")
    store = folder / "s.h5"
    write_store(store)
    made = Kitchen(store, folder)
    small: dict[str, Any] = {"dim": 16}
    for name, what, options in (
        ("a", task(), small),
        ("b", task(), {"seed": 1, "epochs": 4, **small}),
        ("random", task(), {"start": "random", "seed": 2, **small}),
        ("bits", task("bits"), {"dim": 8}),
    ):
        saved(store, made[name], what, **options)
    normalised: dict[str, Any] = {"body": "mlp", "width": 8, "dim": 4}
    saved(store, made["norm_a"], **normalised)
    saved(store, made["norm_b"], seed=1, epochs=2, **normalised)
    quick: dict[str, Any] = {"hidden": 8, "epochs": 4}
    saved(store, made["colours"], by_category(), "attributes", **quick)
    saved(store, made["others"], by_category(), "attributes", seed=1, **quick)
    return made
