"""How much memory is free, as files of the kernel's say it."""

from pathlib import Path

import pytest
import torch

from heads.memory import free_bytes, host_free_bytes

KIB = 1024


def files(folder: Path, meminfo: str, **cgroup: str) -> tuple[Path, Path]:
    (folder / "meminfo").write_text(meminfo)
    for name, text in cgroup.items():
        (folder / name.replace("_", ".")).write_text(f"{text}\n")
    return folder / "meminfo", folder


MEMINFO = "MemTotal:  9000 kB\nMemFree:  10 kB\nMemAvailable:   500 kB\n"


@pytest.mark.parametrize(
    ("cgroup", "expected"),
    [
        ({}, 500 * KIB),
        ({"memory_max": "max", "memory_current": "100"}, 500 * KIB),
        ({"memory_max": "9000000", "memory_current": "100"}, 500 * KIB),
        ({"memory_max": "3000", "memory_current": "1000"}, 2000),
        ({"memory_max": "3000", "memory_current": "4000"}, 0),
        (
            {
                "memory_max": "3000",
                "memory_current": "2500",
                "memory_stat": "anon 1000\ninactive_file 1500",
            },
            2000,
        ),
    ],
)
def test_what_the_host_has_free(tmp_path: Path, cgroup: dict[str, str], expected: int) -> None:
    assert host_free_bytes(*files(tmp_path, MEMINFO, **cgroup)) == expected


def test_a_kernel_without_these_files_is_asked_otherwise(tmp_path: Path) -> None:
    assert host_free_bytes(tmp_path / "none", tmp_path) > 0
    assert free_bytes(torch.device("cpu")) > 0
