"""How much memory nothing uses now, on a GPU or on the host."""

import os
import re
from pathlib import Path

import torch

MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")


def free_bytes(device: torch.device) -> int:
    """Memory of the device that could be taken now."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return host_free_bytes(MEMINFO, CGROUP)


def host_free_bytes(meminfo: Path, cgroup: Path) -> int:
    """What the kernel could give, or less where a container's limit leaves less.

    Pages of files that are only cached count as free, for they are taken back when they are needed.
    """
    found = re.search(r"^MemAvailable:\s+(\d+) kB", _text(meminfo), re.MULTILINE)
    if found:
        available = int(found[1]) * 1024
    else:
        available = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    left = _left_by_limit(cgroup)
    return available if left is None else min(available, left)


def _left_by_limit(cgroup: Path) -> int | None:
    """What the limit of this control group (version 2) leaves; None where there is none."""
    limit, used = (_text(cgroup / name).strip() for name in ("memory.max", "memory.current"))
    if not (limit.isdecimal() and used.isdecimal()):  # no such files, or "max"
        return None
    cached = re.search(r"^inactive_file (\d+)$", _text(cgroup / "memory.stat"), re.MULTILINE)
    return max(int(limit) - int(used) + (int(cached[1]) if cached else 0), 0)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
