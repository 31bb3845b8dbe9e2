"""Imports go one way, and help answers at once."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# What the stages share of `embed`: the file format and the habits of the command lines.
CONTRACT = {
    "embed.devices",
    "embed.errors",
    "embed.files",
    "embed.labels",
    "embed.locks",
    "embed.options",
    "embed.progress",
    "embed.rows",
    "embed.store",
    "embed.tables",
    "embed.wording",
}
ALLOWED = {
    "embed": set(),
    "heads": CONTRACT
    | {
        "retrieval.thresholds.curves",
        "retrieval.metrics.attribute_scores",
        "retrieval.metrics.intervals",
        "retrieval.metrics.judgements",
        "retrieval.search.neighbours",
    },
    "retrieval": CONTRACT,
}
# Which packages of `retrieval` the others may look into; modules beside them are for all.
WITHIN_RETRIEVAL = {
    "search": set(),
    "refining": {"search"},
    "decisions": {"search"},
    "metrics": {"search", "decisions"},
    "thresholds": {"search", "refining", "metrics", "decisions"},
    "evaluation": {"search", "refining", "metrics", "thresholds"},
    "matches": {"search", "refining", "metrics", "decisions", "thresholds"},
}
WITHOUT_MODELS = (
    "embed/store.py",
    "embed/checksums.py",
    "embed/locks.py",
    "embed/rows.py",
    "embed/files.py",
    "embed/labels.py",
    "embed/options.py",
    "embed/tables.py",
)


def imported_modules(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def is_page(path: Path) -> bool:
    """Whether a module belongs to the web page, which alone makes vectors of new items, too."""
    return path.relative_to(ROOT).parts[:2] == ("retrieval", "service")


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_stages_import_only_what_they_may(package: str) -> None:
    for path in sorted((ROOT / package).rglob("*.py")):
        for module in imported_modules(path):
            stage = module.split(".")[0]
            if stage in ALLOWED and stage != package and not is_page(path):
                assert module in ALLOWED[package], f"{path.relative_to(ROOT)} imports {module}"


@pytest.mark.parametrize("package", WITHIN_RETRIEVAL)
def test_packages_of_retrieval_import_one_way(package: str) -> None:
    folders = {folder.name for folder in (ROOT / "retrieval").iterdir() if folder.is_dir()}
    others = folders - {package, *WITHIN_RETRIEVAL[package]}
    for path in sorted((ROOT / "retrieval" / package).rglob("*.py")):
        for module in imported_modules(path):
            stage, _, rest = module.partition(".")
            if stage == "retrieval":
                assert rest.split(".")[0] not in others, f"{path.relative_to(ROOT)}: {module}"


@pytest.mark.parametrize("name", WITHOUT_MODELS)
def test_the_contract_needs_no_model(name: str) -> None:
    for module in imported_modules(ROOT / name):
        assert not module.startswith(("torch", "embed.encoders")), f"{name} imports {module}"


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_errors_and_leaves_come_before_the_command_line(package: str) -> None:
    for path in sorted((ROOT / package).rglob("*.py")):
        if "cli" not in (path.stem, path.parent.name) and path.name != "__main__.py":
            commands = {m for m in imported_modules(path) if m.startswith(f"{package}.cli")}
            assert not commands, path


COMMANDS = [
    ("embed", "run"),
    ("embed", "info"),
    ("embed", "doctor"),
    ("embed", "encoders"),
    ("embed", "verify"),
    ("embed", "import"),
    ("embed", "export"),
    ("embed", "demo-catalog"),
    ("heads", "train"),
    ("heads", "tune"),
    ("heads", "compare"),
    ("heads", "apply"),
    ("heads", "predict"),
    ("heads", "info"),
    ("heads", "export"),
    ("heads", "soup"),
    ("heads", "blend"),
    ("retrieval", "tune-threshold"),
    ("retrieval", "evaluate"),
    ("retrieval", "compare"),
    ("retrieval", "match"),
    ("retrieval", "neighbours"),
    ("retrieval", "index"),
    ("retrieval", "vote"),
    ("retrieval", "duplicates"),
    ("retrieval", "serve"),
]


@pytest.mark.parametrize(("package", "command"), COMMANDS)
def test_help_imports_nothing_heavy(package: str, command: str) -> None:
    code = (
        f"import sys; from {package}.cli import main\n"
        f"try: main(['{command}', '--help'])\n"
        f"except SystemExit: pass\n"
        f"heavy = set('torch numpy polars h5py faiss matplotlib'.split()) & set(sys.modules)\n"
        f"sys.exit(f'imported {{heavy}}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--help" in done.stdout


def test_the_service_starts_without_what_only_searches_need() -> None:
    code = (
        "import sys, retrieval.service.server\n"
        "heavy = set('torch matplotlib sklearn transformers'.split()) & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("package", "command"), COMMANDS)
def test_every_command_is_in_the_readme(package: str, command: str) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"python -m {package} {command}" in readme
