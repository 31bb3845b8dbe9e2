"""What a benchmark ran on, and where its results are kept."""

import json
import os
import platform
import re
from pathlib import Path
from typing import Any

import torch

RESULTS = Path(__file__).parent / "results"


def describe_machine() -> dict[str, Any]:
    """Processor, cores, memory, GPU and versions: what figures depend on."""
    affinity = getattr(os, "sched_getaffinity", None)
    pages, page_bytes = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": _processor(),
        "cores": len(affinity(0)) if affinity else os.cpu_count(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "memory_gib": round(pages * page_bytes / 2**30, 1),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def machine_name(machine: dict[str, Any]) -> str:
    """A short name for a file: the GPU's or the processor's, and the number of cores."""
    text = f"{machine['gpu'] or machine['processor']}-{machine['cores']}-cores"
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def write_results(benchmark: str, results: dict[str, Any]) -> Path:
    """Keep results, which hold a `machine`, under `results/`."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{benchmark}-{machine_name(results['machine'])}.json"
    path.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    return path


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        found = re.search(r"model name\s*:\s*(.+)", information.read_text(encoding="utf-8"))
        if found:
            return found[1]
    return platform.processor() or platform.machine()
