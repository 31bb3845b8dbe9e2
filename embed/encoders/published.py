"""What OpenCLIP publishes, read from its installed files.

Importing it brings torch and torchvision, which takes some fifteen seconds of processor time where
the rest of `embed encoders` takes one and a half. So of its two modules of tables only the tables
are run. That leans on how those files are laid out; where it fails, the library is imported.
"""

import ast
import copy
import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

Tags = Mapping[str, Mapping[str, Mapping[str, Any]]]


@dataclass(frozen=True)
class PublishedModel:
    """An architecture with one of its tags, and where its weights are published."""

    arch: str
    tag: str
    dim: int
    pixels: tuple[int, int]
    tokens: int
    repository: str
    weights_files: tuple[str, ...]
    url: str


def published_models() -> list[PublishedModel]:
    """Every architecture and tag that the installed OpenCLIP knows, in its own order."""
    folder = _package_folder()
    default_file, safe_file, tags = _tables(folder)
    models = []
    for arch, by_tag in tags.items():
        config_path = folder / "model_configs" / f"{arch}.json"
        if config_path.is_file():
            config = json.loads(config_path.read_text(encoding="utf-8"))
            models += [
                _read(arch, tag, config, settings, (default_file, safe_file))
                for tag, settings in by_tag.items()
            ]
    return models


def _read(
    arch: str,
    tag: str,
    config: Mapping[str, Any],
    settings: Mapping[str, Any],
    default_files: tuple[str, ...],
) -> PublishedModel:
    size = config["vision_cfg"].get("image_size", 224)
    repository, _, file = settings.get("hf_hub", "").rpartition("/")
    # The library looks for safetensors under the name of a pickle first.
    safe = str(PurePosixPath(file).with_suffix(".safetensors")) if file else ""
    return PublishedModel(
        arch,
        tag,
        config["embed_dim"],
        (size, size) if isinstance(size, int) else (size[0], size[1]),
        config["text_cfg"].get("context_length", 77),
        repository,
        (file, safe) if file else default_files,
        settings.get("url", ""),
    )


def _package_folder() -> Path:
    found = importlib.util.find_spec("open_clip")  # finds it without importing it
    assert found is not None and found.submodule_search_locations, "a requirement of ours"
    return Path(found.submodule_search_locations[0])


def _tables(folder: Path) -> tuple[str, str, Tags]:
    """The default names of weights files, and the table of tags.

    Only the modules' assignments and the functions that they call are run, not their imports. A
    release that lays its tables out in another way, so that this fails, is imported as a whole: the
    same result, only later.
    """
    try:
        names = _assignments(folder / "constants.py", {})
        names = _assignments(folder / "pretrained.py", names | {"copy": copy})
        return names["HF_WEIGHTS_NAME"], names["HF_SAFE_WEIGHTS_NAME"], names["_PRETRAINED"]
    except (OSError, NameError, KeyError, TypeError, AttributeError, SyntaxError):
        from open_clip import constants, pretrained

        table: Tags = pretrained._PRETRAINED
        return constants.HF_WEIGHTS_NAME, constants.HF_SAFE_WEIGHTS_NAME, table


def _assignments(path: Path, names: dict[str, Any]) -> dict[str, Any]:
    """What a module's own assignments make of these names."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kinds = (ast.Assign, ast.For, ast.Expr)
    kept = [node for node in tree.body if isinstance(node, kinds) or _is_cfg(node)]
    exec(compile(ast.Module(kept, []), str(path), "exec"), names)
    return names


def _is_cfg(node: ast.stmt) -> bool:
    return isinstance(node, ast.FunctionDef) and node.name.endswith("cfg") and node.name[0] == "_"
