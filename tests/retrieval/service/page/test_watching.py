"""What the tests of the page are sure of: nothing that goes wrong in a browser goes unseen."""

import pytest
from playwright.sync_api import Browser

from tests.retrieval.service.page.conftest import watched

STORE = """() => Promise.all([caches.open("kept"), new Promise((resolve) => {
  indexedDB.open("kept").onsuccess = (event) => resolve(event.target.result.close());
})]).then(() => localStorage.setItem("kept", "1"))"""
STORED = """async () => [
  ...await caches.keys(), ...(await indexedDB.databases()).map(({ name }) => name),
  ...Object.keys(localStorage)]"""


def test_a_window_that_the_page_opens_may_ask_no_other_host(browser: Browser, address: str) -> None:
    other = address.replace("127.0.0.1", "localhost")
    assert other != address
    with (
        pytest.raises(AssertionError, match=f"another host is asked: {other}"),
        watched(browser, address) as open_page,
    ):
        page = open_page()
        with page.expect_popup() as opened:
            page.evaluate("address => { open(address) }", f"{other}/")
        opened.value.wait_for_load_state()


def test_a_script_that_fails_is_a_fault(browser: Browser, address: str) -> None:
    with (
        pytest.raises(AssertionError, match="it went wrong"),
        watched(browser, address) as open_page,
    ):
        page = open_page()
        with page.expect_event("pageerror"):
            page.evaluate("() => { setTimeout(() => { throw new Error('it went wrong') }) }")


def test_a_page_begins_with_nothing_stored(browser: Browser, address: str) -> None:
    with watched(browser, address) as open_page:
        page = open_page()
        page.evaluate(STORE)
        assert page.evaluate(STORED) == ["kept", "kept", "kept"]
        assert open_page().evaluate(STORED) == []
