"""A browser, which drives the page of a real server; it fails on what a user would not see."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

pytest.importorskip("playwright")

from playwright.sync_api import Browser, Page, sync_playwright

from tests.retrieval.service.conftest import Demo

NAMES = ("chromium", "chromium-browser", "google-chrome")
DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 360, "height": 740}
PATIENCE_MS = 5_000

OpenPage = Callable[..., Page]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, without a window; installed where this may be done and it is missing."""
    path = _installed() or _install()
    if path is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    # A container's root has no sandbox for it, and its /dev/shm may be small.
    arguments = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


def _installed() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def _install() -> str | None:
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        return None
    command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    if done.returncode:
        pytest.skip(f"needs Chromium, and apt-get can't install it: {done.stderr.strip()[-200:]}")
    return _installed()


@pytest.fixture
def open_page(browser: Browser, address: str) -> Iterator[OpenPage]:
    """Opens the page at an address after '#'; no other host may be asked, no script may fail."""
    with watched(browser, address) as opened:
        yield opened


@contextmanager
def watched(browser: Browser, address: str) -> Iterator[OpenPage]:
    """Pages of an address; at the end, what went wrong in them is an assertion's."""
    faults: list[str] = []
    contexts: list[Any] = []

    def open_page(hash_: str = "#/search", **settings: Any) -> Page:
        context = browser.new_context(
            **{"viewport": DESKTOP, "color_scheme": "light", "base_url": address} | settings
        )
        contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        context.on("request", lambda request: faults.extend(_foreign(request.url, address)))
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: faults.extend(_refused(message.text)))
        page.goto(f"{address}/{hash_}")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not faults


def _foreign(url: str, address: str) -> list[str]:
    parts = urlsplit(url)
    is_own = parts.scheme in ("blob", "data") or parts.netloc == urlsplit(address).netloc
    return [] if is_own else [f"another host is asked: {url}"]


def _refused(text: str) -> list[str]:
    """What the page's own policy refuses: scripts or styles in its markup, other hosts."""
    return [text] if "Content Security Policy" in text else []


@pytest.fixture
def product(demo: Demo) -> str:
    """The id of a product."""
    return "p00003-01"


@pytest.fixture
def photo(demo: Demo) -> Path:
    """An image file that the store holds too."""
    return demo.folder / "catalogue" / "images" / "p00005-02.jpg"
