"""What a killed run goes on from: everything that changes in training, after an epoch.

A checkpoint is a `.safetensors` file beside the head: tensors and JSON, so nothing in it is run.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file, save
from torch import Tensor

from embed.errors import HeadError, SettingsError
from embed.files import replacing
from heads.info import flattened

FORMAT = "embedding-head-checkpoint"
FORMAT_VERSION = 1
FREE_SECONDS = 2.0
MOST_SHARE = 0.1
"""Saving takes no more than these seconds and this share of a run together: an epoch of a wide head
may take less time than what it takes to keep it."""


@dataclass(frozen=True)
class State:
    """All that changes in training, as named tensors, and what JSON holds of the rest."""

    tensors: Mapping[str, Tensor]
    progress: Mapping[str, Any]


class Checkpoint:
    """The checkpoint of one run; `identity` is all that the run's result depends on, as JSON.

    It is due after each epoch while there is time for it; `clock` gives seconds.
    """

    def __init__(
        self,
        path: Path,
        identity: Mapping[str, Any],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = path
        self._identity = json.loads(json.dumps(identity))
        self._clock, self._started = clock, clock()
        self._seconds_in_all = self._seconds_of_last = 0.0

    @property
    def is_due(self) -> bool:
        """Whether saving once more, for as long as it took last, stays within its time."""
        seconds = self._clock() - self._started
        wanted = self._seconds_in_all + self._seconds_of_last
        return wanted <= FREE_SECONDS + MOST_SHARE * seconds

    def save(self, state: State) -> None:
        """Replace the checkpoint by this state."""
        started = self._clock()
        content = {
            "format_version": FORMAT_VERSION,
            "identity": self._identity,
            "progress": state.progress,
        }
        tensors = {name: tensor.cpu().contiguous() for name, tensor in state.tensors.items()}
        with replacing(self.path) as temporary:
            temporary.write_bytes(save(tensors, {FORMAT: json.dumps(content)}))
        self._seconds_of_last = self._clock() - started
        self._seconds_in_all += self._seconds_of_last

    def load(self) -> State | None:
        """The state that was saved last, None where there is none.

        Raises:
            HeadError: the file is damaged, or something else.
            SettingsError: it is of a run with other settings or rows; the message names them.
        """
        if not self.path.exists():
            return None
        try:
            with safetensors.safe_open(self.path, "pt") as file:
                content = json.loads((file.metadata() or {})[FORMAT])
            tensors = load_file(self.path)
            identity, progress = content["identity"], content["progress"]
        except (safetensors.SafetensorError, KeyError, ValueError) as error:
            raise HeadError(
                f"{self.path} is not a checkpoint, or it is damaged: delete it, and train anew"
            ) from error
        self._refuse_other(identity)
        return State(tensors, progress)

    def remove(self) -> None:
        """Delete it, once the head is written."""
        self.path.unlink(missing_ok=True)

    def _refuse_other(self, found: Mapping[str, Any]) -> None:
        before = flattened(found)
        differing = [
            f"{key} was {_short(before.get(key))} and is {_short(value)}"
            for key, value in flattened(self._identity).items()
            if before.get(key) != value
        ]
        if differing:
            raise SettingsError(
                f"{self.path} is of a run with other settings: {'; '.join(differing)}. Give the "
                f"same ones to go on, or --force without --resume to start anew"
            )


def epochs_of(path: Path) -> int | None:
    """How many epochs a checkpoint holds, None where it can't be told."""
    try:
        with safetensors.safe_open(path, "pt") as file:
            return len(json.loads((file.metadata() or {})[FORMAT])["progress"]["history"])
    except (OSError, safetensors.SafetensorError, KeyError, TypeError, ValueError):
        return None


def random_state(device: torch.device, generator: torch.Generator) -> dict[str, Tensor]:
    """The states of torch's generators: that of rows, the CPU's, and that of a GPU in use."""
    states = {"random.rows": generator.get_state(), "random.cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["random.cuda"] = torch.cuda.get_rng_state(device)
    return states


def restore_random_state(
    states: Mapping[str, Tensor], device: torch.device, generator: torch.Generator
) -> None:
    """Put torch's generators where they were."""
    generator.set_state(states["random.rows"])
    torch.set_rng_state(states["random.cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states["random.cuda"], device)


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
