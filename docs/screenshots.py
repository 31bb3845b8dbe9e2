"""Pictures of the page for the README: `python docs/screenshots.py demo` (or `make screenshots`).

Serves the store of `make demo` on a free port, drives Debian's Chromium, and writes PNGs of few
colours, none above 150 kB, into docs/screenshots/.
"""

import io
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

FOLDER = Path(__file__).parent / "screenshots"
MOST_BYTES = 150_000
SIZE = {"width": 1280, "height": 800}
PRODUCT = "p00013-00"

# name: where, scheme
SHOTS = {
    "search": (f"#/search?id={PRODUCT}", "light"),
    "product": (f"#/search?id={PRODUCT}&item={PRODUCT}", "dark"),
    "review": ("#/review", "light"),
    "map": ("#/map", "dark"),
}


def main(demo: Path) -> None:
    """Write every picture."""
    FOLDER.mkdir(exist_ok=True)
    with served(demo) as address, sync_playwright() as playwright:
        path = shutil.which("chromium") or sys.exit("needs Chromium: apt-get install chromium")
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        for name, (hash_, scheme) in SHOTS.items():
            page = browser.new_page(viewport=SIZE, color_scheme=scheme, reduced_motion="reduce")
            page.goto(f"{address}/{hash_}")
            settle(page)
            page.reload()  # the first search of all takes longer than others do
            settle(page)
            small = few_colours(page.screenshot())
            (FOLDER / f"{name}.png").write_bytes(small)
            print(f"{FOLDER.name}/{name}.png: {len(small):,} bytes")
        browser.close()


@contextmanager
def served(demo: Path) -> Iterator[str]:
    """The address of a server over the demo's store."""
    heads = [demo / "head.safetensors", demo / "attributes.safetensors"]
    options = [option for head in heads if head.exists() for option in ("--head", str(head))]
    threshold = ["--threshold", str(demo / "threshold.json"), "--port", "0"]
    command = [sys.executable, "-m", "retrieval", "serve", str(demo / "store.h5"), *threshold]
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()  # the one line that it prints: where it listens
            yield next(word for word in line.split() if word.startswith("http")).rstrip("/.,")
        finally:
            process.terminate()


def settle(page: Page) -> None:
    """Wait until nothing is loaded, counted or drawn any more."""
    page.wait_for_load_state("networkidle")
    page.wait_for_function(
        """() => !document.querySelector(
             "[aria-busy=true], progress:not([hidden], .review-progress progress)")
           && [...document.images].every((image) => image.complete || image.loading === "lazy")""",
        timeout=120_000,
    )
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(500)


def few_colours(png: bytes) -> bytes:
    """The same picture in as many colours as fit, mixed where there are more."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    for num_colours in (256, 128, 64, 32, 16):
        palette = picture.quantize(num_colours, Image.Quantize.MEDIANCUT, kmeans=1)
        small = io.BytesIO()
        picture.quantize(palette=palette).save(small, "PNG", optimize=True)
        if small.tell() < MOST_BYTES:
            break
    return small.getvalue()


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo"))
