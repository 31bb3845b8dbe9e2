"""Groups, map and curve by keyboard, pointer and wheel."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.retrieval.service.page.conftest import watched

MILLISECONDS = 30_000


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    with watched(browser, address) as open_page:
        opened = open_page("", color_scheme="dark")
        opened.set_default_timeout(MILLISECONDS)
        yield opened


def test_the_curve_is_read_by_keyboard_and_pointer(page: Page) -> None:
    page.goto("#/curve")
    slider, readout = page.get_by_role("slider"), page.locator(".curve-readout")
    expect(readout).to_contain_text("in use", timeout=MILLISECONDS)
    before = readout.inner_text()
    slider.focus()
    page.keyboard.press("Home")
    lowest = readout.inner_text()
    assert lowest != before
    assert "score" in (slider.get_attribute("aria-valuetext") or "")
    page.locator(".curve-plot").hover(position={"x": 200, "y": 100})
    assert readout.inner_text() != lowest
    page.get_by_text("As a table").click()
    expect(page.get_by_role("rowheader", name=re.compile("in use"))).to_be_visible()


def test_a_group_opens_and_its_items_are_searched_for(page: Page) -> None:
    page.goto("#/groups")
    cards = page.locator(".group-card")
    expect(cards.first).to_be_visible(timeout=MILLISECONDS)
    sizes = [int(text.split()[0]) for text in cards.locator("h3").all_inner_texts()]
    assert sizes == sorted(sizes, reverse=True)
    page.get_by_role("button", name="Most doubtful first").click()
    expect(page).to_have_url(re.compile("order=doubt"))
    pressed = page.get_by_role("button", name="Most doubtful first", pressed=True)
    expect(pressed).to_be_focused()
    cards.first.locator("a").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name=re.compile(r"^Group \d+"))).to_be_focused()
    expect(page.locator(".group-links .is-weakest")).to_have_count(1)
    page.locator(".group-grid a").first.click()
    expect(page).to_have_url(re.compile(r"#/search\?id="))
    page.go_back()
    expect(page.locator(".group-grid")).to_be_visible()


@pytest.fixture
def held(page: Page) -> list[Route]:
    """What is asked of the groups from now on, to be let through by hand."""
    page.goto("#/groups")
    expect(page.locator(".group-card").first).to_be_visible(timeout=MILLISECONDS)
    routes: list[Route] = []
    page.route(re.compile("/groups[?/]"), lambda route: routes.append(route))
    return routes


def test_the_focus_stays_with_who_moves_on_while_groups_are_made(
    page: Page, held: list[Route]
) -> None:
    page.get_by_role("button", name="Most doubtful first").click()
    expect(page.get_by_role("status")).to_contain_text("put into groups")
    elsewhere = page.get_by_role("link", name="Map", exact=True)
    elsewhere.focus()
    held.pop().continue_()
    pressed = page.get_by_role("button", name="Most doubtful first", pressed=True)
    expect(pressed).to_be_visible()
    expect(elsewhere).to_be_focused()
    page.locator(".group-card a").first.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("put into groups")  # the link is gone
    held.pop().continue_()
    expect(page.get_by_role("heading", name=re.compile(r"^Group \d+"))).to_be_focused()


def test_what_a_group_is_made_of_is_chosen_by_arrow_keys(page: Page, held: list[Route]) -> None:
    chosen = page.get_by_label("A group is made of")
    chosen.focus()
    for key, linkage in (("ArrowDown", "single"), ("ArrowUp", "complete")):
        page.keyboard.press(key)
        expect(page).to_have_url(re.compile(f"linkage={linkage}"))
        expect(page.get_by_role("status")).to_contain_text("put into groups")
        chosen.evaluate("select => { select.dataset.before = true }")
        held.pop().continue_()
        expect(chosen).not_to_have_attribute("data-before", "true")  # another in its place
        expect(chosen).to_have_value(linkage)
        expect(chosen).to_be_focused()


UNSEEN = """() => {
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(".map-canvas { display: none }");
  document.adoptedStyleSheets = [sheet];
}"""
PRESS = """(canvas, keys) => {
  for (const key of keys) canvas.dispatchEvent(new KeyboardEvent("keydown", { key }));
  canvas.dispatchEvent(new PointerEvent("pointermove", { clientX: 5, clientY: 5 }));
}"""


def test_a_map_that_has_no_size_yet_bears_keys_and_pointers(page: Page) -> None:
    page.evaluate(UNSEEN)
    page.goto("#/map?space=hog")
    canvas = page.locator(".map-canvas")
    expect(canvas).to_be_attached(timeout=MILLISECONDS)
    canvas.evaluate(PRESS, ["ArrowLeft", "ArrowDown", "+", "-", "0", "Enter"])
    page.get_by_role("button", name="Nearer").click()
    page.get_by_role("button", name="All of it").click()
    page.evaluate("document.adoptedStyleSheets = []")
    expect(page.locator(".map-near a")).to_have_count(10)
    assert "#/map" in page.url


def test_the_map_zooms_hides_values_and_opens_items(page: Page) -> None:
    page.goto("#/map?space=hog")
    canvas, near = page.get_by_role("application"), page.locator(".map-near a")
    expect(near).to_have_count(10, timeout=MILLISECONDS)
    whole = near.all_inner_texts()
    canvas.focus()
    for key in ("+", "+", "ArrowRight", "ArrowDown", "ArrowRight"):
        page.keyboard.press(key)
    expect(near.first).not_to_have_text(whole[0])
    page.keyboard.press("0")
    expect(near.first).to_have_text(whole[0])
    toggles = page.locator(".map-legend button")
    for toggle in toggles.all():
        toggle.click()
    expect(near).to_have_count(0)
    toggles.first.click()
    expect(near.first).to_be_visible()
    page.get_by_label("Coloured by").select_option("attr_1")
    expect(page.get_by_role("region", name="Values of attr_1")).to_be_visible()
    canvas.focus()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"#/search\?id="))


PRESSED_AT_ONCE = """keys => {
  new MutationObserver((_, observer) => {
    const canvas = document.querySelector(".map-canvas");
    if (!canvas) return;
    observer.disconnect();
    for (const key of keys) canvas.dispatchEvent(new KeyboardEvent("keydown", { key }));
  }).observe(document.body, { childList: true, subtree: true });
  location.hash = "#/map?space=hog";
}"""


def test_the_map_takes_keys_as_soon_as_it_is_there(page: Page) -> None:
    page.evaluate(PRESSED_AT_ONCE, ["+", "ArrowLeft", "Enter"])
    expect(page).to_have_url(re.compile(r"#/search\?id="), timeout=MILLISECONDS)


def test_what_is_pointed_at_on_the_map_is_told(page: Page) -> None:
    page.goto("#/map?space=tfidf&colour=category")
    expect(page.locator(".map-near a").first).to_be_visible(timeout=MILLISECONDS)
    box = page.get_by_role("application").bounding_box()
    assert box is not None
    tip = page.locator(".map-tip")
    # In a grid of steps no wider than its reach the pointer meets a point somewhere.
    places = [
        (box["x"] + x, box["y"] + y)
        for y in range(30, int(box["height"]) - 30, 20)
        for x in range(30, int(box["width"]) - 30, 20)
    ]
    for place in places:
        page.mouse.move(*place)
        if tip.is_visible():
            break
    assert " · " in tip.locator("p").inner_text()
    page.mouse.click(*place)
    expect(page).to_have_url(re.compile(r"#/search\?id="))
