"""Training a head into its files: the head, the history of its epochs, and a picture of them."""

import json
from dataclasses import asdict
from pathlib import Path

from embed.errors import SettingsError
from embed.files import refuse_existing, replacing
from embed.store import Store
from heads.head import save_head
from heads.plots import plot_training
from heads.projection.network import ProjectionSettings
from heads.projection.training import Task, TrainedHead, TrainingSettings, train_projection


def train_to_files(
    store: Store,
    task: Task,
    head: ProjectionSettings,
    training: TrainingSettings,
    output: Path,
    *,
    force: bool = False,
) -> TrainedHead:
    """`train_projection`, with the head saved to `output`, and its history and picture beside it.

    HEAD.jsonl holds one JSON object a line for each epoch, HEAD.png draws them.

    Raises:
        SettingsError: `output` is not named .safetensors; and what `train_projection` raises.
        OutputExistsError: one of the three files exists and not `force`; nothing is trained then.
    """
    if output.suffix != ".safetensors":
        raise SettingsError(f"a head is a .safetensors file: found -o {output}")
    history_path, picture_path = output.with_suffix(".jsonl"), output.with_suffix(".png")
    for path in (output, history_path, picture_path):
        refuse_existing(path, force=force)
    trained = train_projection(store, task, head, training)
    save_head(output, trained.info, trained.network)
    _write_history(trained, history_path)
    plot_training(trained, picture_path)
    return trained


def _write_history(trained: TrainedHead, path: Path) -> None:
    lines = [json.dumps(asdict(epoch)) for epoch in trained.history]
    with replacing(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
