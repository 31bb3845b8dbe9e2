"""The page works by keyboard alone, at phone width, and for readers of screens, in both schemes."""

from typing import Any

import pytest
from axe_playwright_python.sync_playwright import DEFAULT_OPTIONS, Axe
from playwright.sync_api import Browser, Page, expect

from retrieval.service.guard import GuardSettings
from tests.retrieval.service.conftest import Demo, serving
from tests.retrieval.service.page.conftest import PHONE, OpenPage, watched

VIEWS = {
    "start": "#/search",
    "results": "#/search?id={product}&where=category%3Dmug&t=0.5",
    "product": "#/search?id={product}&item={product}",
    "nothing": "#/search?id=no+such+product",
    "review": "#/review",
    "groups": "#/groups",
    "map": "#/map",
    "curve": "#/curve",
}


def settle(page: Page) -> None:
    page.wait_for_load_state("networkidle")
    expect(page.locator("#view > .view:not(:empty)")).to_be_attached()
    expect(page.locator("[aria-busy=true]")).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(open_page: OpenPage, product: str, scheme: str) -> None:
    page = open_page("#/search", color_scheme=scheme, reduced_motion="reduce")
    # In the other scheme nothing is different but the colours.
    rules = {"runOnly": ["color-contrast"]} if scheme == "dark" else {}
    faults: list[Any] = []
    for name, hash_ in VIEWS.items():
        page.evaluate("hash => { location.hash = hash }", hash_.format(product=product))
        settle(page)
        faults += [
            (name, fault["id"], [node["html"] for node in fault["nodes"]])
            for fault in Axe().run(page, options=DEFAULT_OPTIONS | rules).response["violations"]
            if fault["impact"] in ("serious", "critical")
        ]
    assert not faults


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_colours_follow_the_system_and_the_switch(open_page: OpenPage, scheme: str) -> None:
    page = open_page("#/search", color_scheme=scheme)
    background = "getComputedStyle(document.body).backgroundColor"
    white, black = "rgb(255, 255, 255)", "rgb(19, 20, 23)"
    assert page.evaluate(background) == (white if scheme == "light" else black)
    switch = page.get_by_role("button", name="Colours")
    switch.click()
    assert page.evaluate(background) == white
    switch.click()
    assert page.evaluate(background) == black
    page.reload()
    assert page.evaluate(background) == black


def test_nothing_is_wider_than_a_phone(open_page: OpenPage, product: str) -> None:
    page = open_page("#/search", viewport=PHONE, is_mobile=True, has_touch=True)
    for name, hash_ in VIEWS.items():
        page.evaluate("hash => { location.hash = hash }", hash_.format(product=product))
        settle(page)
        wide = page.evaluate(
            """() => [...document.querySelectorAll("body *")]
              .filter((node) => node.checkVisibility() && !node.closest(".visually-hidden, svg"))
              .filter((node) => node.getBoundingClientRect().right > innerWidth + 0.5)
              .map((node) => node.outerHTML.slice(0, 80))"""
        )
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], (name, wide)


def test_the_keyboard_alone_is_enough(open_page: OpenPage) -> None:
    page = open_page()
    expect(page.locator(".card").first).to_be_visible()
    press = page.keyboard.press
    press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    press("Enter")
    expect(page.locator("#view")).to_be_focused()
    press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_contain_text("from product to product")
    press("Escape")
    press("/")
    expect(page.get_by_label("Title", exact=True)).to_be_focused()
    page.keyboard.type("mug")
    press("Enter")
    expect(page.get_by_role("heading", name="Nearest to “mug”")).to_be_visible()
    links = page.locator(".card-link")
    page.keyboard.press("Tab")
    for _ in range(60):  # past the button, the threshold and the filters
        if links.first.evaluate("link => link === document.activeElement"):
            break
        press("Tab")
    expect(links.first).to_be_focused()
    press("ArrowRight")
    expect(links.nth(1)).to_be_focused()
    press("ArrowDown")
    across = page.locator(".card").evaluate_all(
        "cards => cards.filter(card => card.offsetTop === cards[0].offsetTop).length"
    )
    expect(links.nth(1 + across)).to_be_focused()
    press("d")
    expect(page.get_by_role("dialog")).to_be_visible()
    press("Escape")
    expect(links.nth(1 + across)).to_be_focused()
    press("Home")
    expect(links.first).to_be_focused()
    press("Enter")
    expect(page.get_by_role("heading", name="Nearest to")).to_be_focused()


def test_the_focus_is_kept_where_what_had_it_goes(open_page: OpenPage, product: str) -> None:
    page = open_page(f"#/search?id={product}&t=0.9&where=category%3Dmug")
    page.get_by_role("button", name="Back to tuned").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("slider")).to_be_focused()
    page.get_by_role("button", name="Remove the filter category mug").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#results-heading")).to_be_focused()


def test_the_slider_moves_by_keys(open_page: OpenPage, product: str) -> None:
    page = open_page(f"#/search?id={product}")
    slider = page.get_by_label("A match has a score of at least", exact=True)
    expect(slider).not_to_have_attribute("aria-valuetext", "none")
    page.wait_for_load_state("networkidle")
    slider.focus()
    page.keyboard.press("End")
    expect(page.locator(".is-match")).to_have_count(0)
    page.keyboard.press("Home")
    expect(page.locator(".card:not(.is-match)")).to_have_count(0)


def test_a_token_is_asked_for_and_kept_from_scripts(browser: Browser, demo: Demo) -> None:
    token = "a secret of some length"
    with (
        serving(demo.settings, GuardSettings(token=token)) as address,
        watched(browser, address) as open_guarded,
    ):
        page = open_guarded()
        dialog = page.get_by_role("dialog", name="This service asks for a token")
        dialog.get_by_label("Token").fill("another")
        page.keyboard.press("Enter")
        expect(dialog.get_by_role("alert")).to_contain_text("not the token")
        dialog.get_by_label("Token").fill(token)
        page.keyboard.press("Enter")
        expect(page.locator(".card").first).to_be_visible()
        expect(dialog).to_have_count(0)
        picture = page.locator(".card img").first
        expect(picture).to_have_js_property("complete", True)
        assert picture.evaluate("image => image.naturalWidth") > 0
        assert page.evaluate("document.cookie + JSON.stringify(localStorage)") == "{}"
        page.reload()
        expect(page.locator(".card").first).to_be_visible()
