"""How long searches take: python benchmarks/retrieval.py [--quick] [--json] [--output FILE].

Each case first asserts its result and then times it, in turn with what it is compared with.
"""

import sys
from pathlib import Path

# In place of this folder, in which a module is named as the package is.
sys.path[0] = str(Path(__file__).resolve().parents[1])

import argparse  # noqa: E402
import json  # noqa: E402
import tempfile  # noqa: E402
from typing import Any, Protocol  # noqa: E402

from benchmarks.machine import describe_machine, write_results  # noqa: E402
from benchmarks.retrieval_joins import dense_results, title_results  # noqa: E402
from benchmarks.retrieval_memory import large_results  # noqa: E402
from benchmarks.retrieval_sweep import sweep_results  # noqa: E402


class Case(Protocol):
    def __call__(self, folder: Path, *, quick: bool) -> dict[str, Any]: ...


CASES: list[Case] = [
    dense_results,
    title_results,
    large_results,
    sweep_results,
]


def main() -> None:
    arguments = _arguments()
    results: dict[str, Any] = {"machine": describe_machine()}
    for case in CASES:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            results |= case(Path(folder), quick=arguments.quick)
    if arguments.output is not None:
        arguments.output.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    elif not arguments.quick:
        write_results("retrieval", results)
    print(json.dumps(results, indent=2) if arguments.json else _table(results))


def _table(results: dict[str, Any]) -> str:
    figures = {name: value for name, value in results.items() if name != "machine"}
    return "\n".join(f"{name}: {_text(value)}" for name, value in figures.items())


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_text(part)}" for name, part in value.items())
    return f"{value:.3g}" if isinstance(value, float) else f"{value:,}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rows, within a minute")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--output", type=Path, help="JSON file for the results")
    parser.add_argument("--folder", type=Path, help="where stores are written")
    return parser.parse_args()


if __name__ == "__main__":
    main()
