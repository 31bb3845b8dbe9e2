"""What there is to work on: devices of torch, and cores."""

import os
import re
from typing import TYPE_CHECKING

from embed.errors import SettingsError

if TYPE_CHECKING:
    import torch


def choose_device(name: str) -> "torch.device":
    """The device of a name; `auto` is a GPU where there is one, otherwise the CPU.

    Raises:
        SettingsError: neither a CPU nor a GPU of CUDA, or a GPU that this machine lacks.
    """
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if not re.fullmatch(r"cpu|cuda(:(0|[1-9][0-9]?))?", name):
        raise SettingsError(f"--device is auto, cpu, cuda or cuda:N: found '{name}'")
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SettingsError(f"--device {name}: torch sees no GPU here; try --device cpu")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise SettingsError(
            f"--device {name}: torch sees {torch.cuda.device_count()} GPUs here, from cuda:0"
        )
    return device


def num_cores() -> int:
    """The CPU cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def has_bf16_units() -> bool:
    """Whether this CPU multiplies bf16 in hardware (AVX512_BF16 or AMX): elsewhere it is slow."""
    import torch

    # torch knew fewer capabilities before it had this call: fp32 is right everywhere.
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(capabilities.get(unit, False) for unit in ("avx512_bf16", "amx_bf16"))
