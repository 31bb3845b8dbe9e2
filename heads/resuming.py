"""Whether a head that is there already is the one that a command asks for."""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from embed.store import Store
from heads.info import HeadInfo, flattened
from heads.tasks import Task, rows_digest
from heads.training.loop import Epoch, Learner


def differing(found: HeadInfo, learner: Learner, store: Store, task: Task) -> list[str]:
    """The names of what a head was trained with otherwise than the learner would train one.

    Settings, spaces, and the validation rows with their labels; what training reaches is left out.
    """
    rows = rows_digest(store, task, learner.rows.val)
    wanted = replace(learner.info, details={"validation_rows": rows})
    own, expected = (flattened(_comparable(info)) for info in (found, wanted))
    return [name for name, value in expected.items() if own.get(name) != value]


def _comparable(info: HeadInfo) -> dict[str, Any]:
    rows = {"validation_rows": info.details.get("validation_rows")}
    bare = asdict(replace(info, metrics={}, intervals={}, details=rows))
    return {**bare, "splits": list(bare["splits"])}


def read_history(path: Path) -> tuple[Epoch, ...]:
    """The epochs of a HEAD.jsonl; none where there is no such file."""
    if not path.exists():
        return ()
    lines = path.read_text(encoding="utf-8").splitlines()
    return tuple(_epoch(json.loads(line)) for line in lines)


def _epoch(flat: Mapping[str, Any]) -> Epoch:
    own = {name: flat[name] for name in ("epoch", "loss", "learning_rate", "seconds")}
    metrics = {name: value for name, value in flat.items() if name not in own}
    return Epoch(metrics=metrics, **own)
