"""A browser, which drives the page of a real server; it fails on what a user would not see."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

pytest.importorskip("playwright")

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.retrieval.service.conftest import Demo

STORAGE = "local_storage,indexeddb,cache_storage,service_workers"
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


class Contexts:
    """Contexts of a browser for one address, by their settings.

    Pages that are opened one after the other share what the browser has cached of the service, and
    nothing else: a page begins without cookies and without what others have stored.

    `faults` grows by what goes wrong in any page, those too that a page opens itself.
    """

    def __init__(self, browser: Browser, address: str) -> None:
        self.faults: list[str] = []
        self._browser, self._address = browser, address
        self._opened: dict[str, BrowserContext] = {}

    def new_page(self, settings: Mapping[str, Any]) -> Page:
        """A page at no address yet, the only one that is open with these settings."""
        key = json.dumps(settings, sort_keys=True)
        if key not in self._opened:
            self._opened[key] = self._new_context(settings)
        context = self._opened[key]
        for other in context.pages:
            other.close()
        context.clear_cookies()
        page = context.new_page()
        stored = {"origin": self._address, "storageTypes": STORAGE}
        context.new_cdp_session(page).send("Storage.clearDataForOrigin", stored)
        return page

    def _new_context(self, settings: Mapping[str, Any]) -> BrowserContext:
        context = self._browser.new_context(base_url=self._address, **settings)
        context.set_default_timeout(PATIENCE_MS)
        faults, address = self.faults, self._address
        context.on("request", lambda request: faults.extend(_foreign(request.url, address)))
        context.on("weberror", lambda error: faults.append(str(error.error)))
        context.on("console", lambda message: faults.extend(_refused(message.text)))
        return context

    def close_pages(self) -> None:
        """Close what is open, and keep what is cached."""
        for context in self._opened.values():
            for page in context.pages:
                page.close()

    def close(self) -> None:
        """Close everything."""
        for context in self._opened.values():
            context.close()


@pytest.fixture(scope="session")
def contexts(browser: Browser, address: str) -> Iterator[Contexts]:
    """Those for the server that all tests share."""
    with closing(Contexts(browser, address)) as opened:
        yield opened


@pytest.fixture
def open_page(contexts: Contexts, address: str) -> Iterator[OpenPage]:
    """Opens the page at an address after '#'; no other host may be asked, no script may fail."""
    with _watched(contexts, address) as opened:
        yield opened


@contextmanager
def watched(browser: Browser, address: str) -> Iterator[OpenPage]:
    """Pages of an address; at the end, what went wrong in them is an assertion's."""
    with closing(Contexts(browser, address)) as contexts, _watched(contexts, address) as opened:
        yield opened


@contextmanager
def _watched(contexts: Contexts, address: str) -> Iterator[OpenPage]:
    contexts.faults.clear()

    def open_page(hash_: str = "#/search", **settings: Any) -> Page:
        page = contexts.new_page({"viewport": DESKTOP, "color_scheme": "light"} | settings)
        page.goto(f"{address}/{hash_}")
        return page

    yield open_page
    contexts.close_pages()
    assert not contexts.faults


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
