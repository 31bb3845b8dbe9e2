"""What is said of shapes of arrays is checked while the tests run, but where it takes too long.

Test modules import libraries that take seconds inside of the tests that need them: each process of
a run imports all modules, and runs some of the tests.
"""

import atexit
import os
import shutil
import sys
import tempfile

from jaxtyping import config as checks

from .array_checks import check_arrays_of

if sys.dont_write_bytecode:
    # The processes that tests start would compile torch and the rest once more, each of them for
    # seconds: they share what this one compiles, in a folder that goes when it ends.
    sys.pycache_prefix = tempfile.mkdtemp(prefix="bytecode-of-tests-")
    atexit.register(shutil.rmtree, sys.pycache_prefix, ignore_errors=True)
    sys.dont_write_bytecode = False
    os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Before the packages are imported for the first time, so that all of them are checked.
check_arrays_of(("embed", "heads", "retrieval"))

import json  # noqa: E402
from collections.abc import Callable  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import click  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402
from click.testing import CliRunner, Result  # noqa: E402
from hypothesis import settings  # noqa: E402
from PIL import Image  # noqa: E402

# Whole commands and repeated searches, whose parts have tests of their own: to check each call in
# them as well would be a third of their time.
UNCHECKED = (
    "heads/studies",
    "retrieval/cli",
    "retrieval/service",
    "retrieval/test_agreement.py",
    "retrieval/thresholds/test_asymmetric.py",
    "retrieval/thresholds/test_exactness.py",
    "retrieval/thresholds/test_strategies.py",
)

# No test is timed: the machines that run them do other things, too.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

SHARED = Path(__file__).resolve().parents[2] / "shared"

Invoke = Callable[..., Result]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Check annotations in this test, or not."""
    place = item.path.relative_to(Path(__file__).parent)
    checks.update("jaxtyping_disable", any(place.is_relative_to(each) for each in UNCHECKED))


@pytest.fixture
def shared() -> Path:
    """The optional folder of real data and weights beside the project."""
    if not SHARED.is_dir():
        pytest.skip(f"needs the optional folder {SHARED}")
    return SHARED


@pytest.fixture
def embed_cli() -> Invoke:
    from embed.cli import main

    return _invoker(main)


@pytest.fixture
def heads_cli() -> Invoke:
    from heads.cli import main

    return _invoker(main)


@pytest.fixture
def retrieval_cli() -> Invoke:
    from retrieval.cli import main

    return _invoker(main)


def _invoker(command: click.Command) -> Invoke:
    def invoke(*arguments: object, exit_code: int = 0) -> Result:
        result = CliRunner().invoke(command, [str(argument) for argument in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == exit_code, result.output
        return result

    return invoke


def json_of(result: Result) -> dict[str, Any]:
    """The object that a command printed on standard output."""
    content: dict[str, Any] = json.loads(result.stdout)
    return content


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    """A manifest of 12 small pictures of 4 products, with titles and typed columns."""
    return write_catalogue(tmp_path / "catalogue", num_products=4, num_photos=3)


@pytest.fixture(scope="session")
def large_catalogue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of 960 small pictures, to be read only: enough to be killed before the last."""
    folder = tmp_path_factory.mktemp("large") / "catalogue"
    return write_catalogue(folder, num_products=120, num_photos=8)


def write_catalogue(folder: Path, num_products: int, num_photos: int) -> Path:
    """Pictures whose colour and grain tell the products apart, and a manifest.csv of them."""
    generator = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    lines = ["id,image,title,label,price,code"]
    for product in range(num_products):
        base = generator.integers(0, 256, (6, 8, 3))
        for photo in range(num_photos):
            noise = generator.integers(-20, 20, (6, 8, 3))
            pixels = np.clip(base + noise, 0, 255).astype(np.uint8)
            name = f"images/{product}-{photo}.png"
            Image.fromarray(pixels).resize((64, 48)).save(folder / name)
            lines.append(
                f"p{product}-{photo},{name},thing number {product} photo {photo},"
                f"product-{product},{product + photo / 10},00{product}"
            )
    manifest = folder / "manifest.csv"
    manifest.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return manifest
