"""An exponential moving average of the weights in training."""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from embed.errors import HeadError, SettingsError

_NUM_UPDATES = "num_updates"


class WeightAverage:
    """The mean of a module's weights over the steps of training, the latest weighing most.

    `module` is a copy, to be evaluated in place of the one in training. Its parameters move by
    1 − decay of the way to those in training at each update; its buffers, such as the running
    statistics of batch normalisation, are those in training. As in TensorFlow's
    ExponentialMovingAverage the decay begins low, at min(decay, (1 + t) / (10 + t)) after t
    updates, so that weights at random don't linger.

    Raises:
        SettingsError: a decay that is not between 0 and 1.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        if not 0 < decay < 1:
            raise SettingsError(f"--ema-decay lies between 0 and 1: found {decay}")
        self.module = copy.deepcopy(module).requires_grad_(False).eval()
        self.decay = decay
        self.num_updates = 0

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Take in the weights after a step."""
        decay = min(self.decay, (1 + self.num_updates) / (10 + self.num_updates))
        averages: list[Tensor] = list(self.module.parameters())
        latest: list[Tensor] = list(module.parameters())
        torch._foreach_lerp_(averages, latest, 1 - decay)  # one kernel for all of them on a GPU
        for kept, buffer in zip(self.module.buffers(), module.buffers(), strict=True):
            kept.copy_(buffer)
        self.num_updates += 1

    def tensors(self) -> dict[str, Tensor]:
        """Copies of the averages, under the names of the module's, and `num_updates`."""
        weights = {name: value.clone() for name, value in self.module.state_dict().items()}
        return weights | {_NUM_UPDATES: torch.tensor(self.num_updates)}

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from what `tensors` gave of another.

        Raises:
            HeadError: tensors of another module.
        """
        weights = dict(tensors)
        num_updates = weights.pop(_NUM_UPDATES, None)
        try:
            self.module.load_state_dict(weights)
        except RuntimeError as error:
            message = " ".join(str(error).split())[:200]
            raise HeadError(
                f"the averaged weights are of another head; train anew: {message}"
            ) from error
        if num_updates is None:
            raise HeadError(f"the averaged weights lack '{_NUM_UPDATES}': train anew")
        self.num_updates = int(num_updates)
