"""How a head is trained, whatever its kind."""

from dataclasses import dataclass, field
from typing import Literal

import torch

from embed.devices import choose_device, has_bf16_units
from embed.errors import SettingsError
from heads.training.augmentation import AugmentationSettings
from heads.training.optimisation import OptimisationSettings
from heads.training.sampling import SamplingSettings

Keep = Literal["best", "last"]
Precision = Literal["auto", "fp32", "bf16"]
KEEPS: tuple[Keep, ...] = ("best", "last")
PRECISIONS: tuple[Precision, ...] = ("auto", "fp32", "bf16")
LARGE_STORE = 50_000  # items
MAX_SEED = 2**63  # what torch's generators take


@dataclass(frozen=True)
class TrainingSettings:
    """How long a head is trained, on what, and which epoch is kept.

    `patience` ends training after as many epochs without a better one. `keep` is the epoch whose
    weights are kept: the best on the validation rows, or the last. `ema_decay` keeps a moving
    average of the weights instead of the weights (0: none). `precision` is that of the large
    products; weights and sums are float32 in any case. `memory_bytes` bounds the features that are
    held in memory: where they are more, they are read from the store again and again.
    """

    epochs: int = 20
    patience: int | None = None
    keep: Keep = "best"
    ema_decay: float = 0.0
    seed: int = 0
    device: str = "auto"
    precision: Precision = "auto"
    memory_bytes: int | None = None
    sampling: SamplingSettings = field(default_factory=SamplingSettings)
    optimisation: OptimisationSettings = field(default_factory=OptimisationSettings)
    augmentation: AugmentationSettings = field(default_factory=AugmentationSettings)

    def __post_init__(self) -> None:
        if self.epochs < 1 or (self.patience is not None and self.patience < 1):
            given = "" if self.patience is None else f" and {self.patience}"
            raise SettingsError(
                f"--epochs and --patience are at least 1: found {self.epochs}{given}"
            )
        if not 0 <= self.ema_decay < 1:
            raise SettingsError(
                f"--ema-decay lies from 0 (none) to below 1, such as 0.99: found {self.ema_decay:g}"
            )
        if not 0 <= self.seed < MAX_SEED:
            raise SettingsError(f"--seed lies from 0 to below 2**63: found {self.seed}")
        if self.keep not in KEEPS:
            raise SettingsError(f"--keep is {' or '.join(KEEPS)}: found '{self.keep}'")
        if self.precision not in PRECISIONS:
            raise SettingsError(
                f"--precision is {' or '.join(PRECISIONS)}: found '{self.precision}'"
            )


@dataclass(frozen=True)
class Runtime:
    """Where training runs, and whether its large products are in bf16."""

    device: torch.device
    precision: Literal["fp32", "bf16"]

    @classmethod
    def choose(cls, settings: TrainingSettings, num_items: int) -> "Runtime":
        """The device of the settings, and for a store of so many items the precision.

        `auto` is bf16 where the hardware multiplies it, on a CPU for large stores only: on small
        ones it saves no time.
        """
        device = choose_device(settings.device)
        is_large = device.type == "cuda" or num_items >= LARGE_STORE
        is_auto = settings.precision == "auto" and is_large and _multiplies_bf16(device)
        return cls(device, "bf16" if settings.precision == "bf16" or is_auto else "fp32")

    def autocast(self) -> torch.autocast:
        """The context in which a network's products are computed."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")


def _multiplies_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return has_bf16_units()
