"""The view that searches shows what the service answers, and moves with the threshold."""

import base64
import mimetypes
import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Browser, Page, expect

from embed.store import Store, StoreWriter
from heads.cli import main as heads_main
from retrieval.service.settings import ServiceSettings
from retrieval.thresholds.match_rules import MatchRule
from retrieval.thresholds.rules import Rules
from tests.retrieval.service.conftest import Demo, run_command, serving
from tests.retrieval.service.page.conftest import PATIENCE_MS, OpenPage, watched
from tests.retrieval.service.snapshots import with_rule

DROP = """([content, name, type]) => {
  const bytes = Uint8Array.from(atob(content), (character) => character.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name, { type }));
  for (const kind of ["dragover", "drop"]) {
    const options = { dataTransfer: transfer, bubbles: true, cancelable: true };
    document.body.dispatchEvent(new DragEvent(kind, options));
  }
}"""


Ruled = Callable[[MatchRule], AbstractContextManager[OpenPage]]


@pytest.fixture
def ruled(browser: Browser, demo: Demo, tmp_path: Path) -> Ruled:
    """Pages of the demo store where another rule says what is a match."""

    @contextmanager
    def pages(rule: MatchRule) -> Iterator[OpenPage]:
        settings = with_rule(demo.settings, tmp_path, rule)
        with serving(settings) as address, watched(browser, address) as open_page:
            yield open_page

    return pages


def shown(page: Page) -> list[str]:
    """The ids of the products in the grid."""
    expect(page.locator(".results-head h2")).not_to_be_empty()
    expect(page.locator(".search-results[aria-busy]")).to_have_count(0)
    cards = page.locator(".card:visible")
    found: list[str] = cards.evaluate_all("cards => cards.map(card => card.dataset.id)")
    return found


def expect_products(page: Page, expected: list[str]) -> None:
    """The grid comes to hold these products, in this order."""
    ends = time.monotonic() + PATIENCE_MS / 1000
    while shown(page) != expected and time.monotonic() < ends:
        page.wait_for_timeout(30)
    assert shown(page) == expected


def answer(page: Page, **parameters: Any) -> dict[str, Any]:
    """What the service itself says to a search."""
    found: dict[str, Any] = page.request.get(f"/search?{urlencode(parameters, doseq=True)}").json()
    return found


def ids(found: dict[str, Any]) -> list[str]:
    return [result["id"] for result in found["results"]]


def test_a_click_on_a_product_shows_its_neighbours(open_page: OpenPage) -> None:
    page = open_page()
    heading = page.get_by_role("heading", name="Start from any product")
    expect(heading).to_be_visible()
    first = shown(page)[3]
    page.locator(".card-link").nth(3).click()
    expect(page.get_by_role("heading", name="Nearest to")).to_be_focused()
    assert f"id={first}" in page.url
    found = answer(page, id=first)
    expect_products(page, ids(found))
    card = page.locator(".card").nth(1)
    expect(card).to_contain_text(f"{found['results'][1]['score']:.4f}")
    expect(card).to_contain_text(f"distance {found['results'][1]['distance']:.4f}")
    page.go_back()
    expect(heading).to_be_visible()
    assert shown(page)[3] == first


def test_a_title_is_searched_for(open_page: OpenPage) -> None:
    page = open_page()
    page.get_by_label("Title", exact=True).fill("green mug")
    page.get_by_role("button", name="Search", exact=True).click()
    expect(page.get_by_role("heading", name="Nearest to “green mug”")).to_be_visible()
    expect_products(page, ids(answer(page, title="green mug")))
    page.reload()  # the address holds it all
    expect(page.get_by_label("Title", exact=True)).to_have_value("green mug")
    expect_products(page, ids(answer(page, title="green mug")))


def test_an_image_is_chosen_and_weighed_with_a_title(open_page: OpenPage, photo: Path) -> None:
    page = open_page()
    page.set_input_files("#image-query", photo)
    expect(page.get_by_role("heading", name="Nearest to your image")).to_be_visible()
    expect_products(page, ids(posted(page, photo)))
    expect(page.get_by_label("Weight of the image")).to_be_hidden()
    page.get_by_label("Title", exact=True).fill("green mug")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Weight of the image")).to_have_value("0.5")
    expect(page.get_by_role("heading", name="your image and “green mug”")).to_be_visible()
    expect_products(page, ids(posted(page, photo, title="green mug")))
    page.get_by_label("Weight of the image").fill("0.1")
    expect(page).to_have_url(re.compile("weight=0.1"))
    expect_products(page, ids(posted(page, photo, title="green mug", image_weight="0.1")))
    page.get_by_role("button", name="Remove the image").click()
    expect(page.get_by_role("heading", name="Nearest to “green mug”")).to_be_visible()


def posted(page: Page, photo: Path, **fields: str) -> dict[str, Any]:
    headers = {"X-Requested-With": "product-search"}
    multipart: dict[str, Any] = {"image": photo, **fields}
    found: dict[str, Any] = page.request.post(
        "/search", multipart=multipart, headers=headers
    ).json()
    return found


def test_attributes_of_an_image_are_asked_of_a_head_that_needs_no_more(
    browser: Browser, demo: Demo, tmp_path: Path, photo: Path
) -> None:
    head = tmp_path / "attributes.safetensors"
    small = ("--epochs", 1, "--linear-share", 0, "--target", "attr_1", "--group", "label")
    spaces = ("--space", "hog", "--space", "tfidf")
    run_command(
        heads_main, "train", demo.store, "-o", head, "--kind", "attributes", *spaces, *small
    )
    settings = replace(demo.settings, heads=(demo.head, head))
    with serving(settings) as address, watched(browser, address) as open_page:
        page = open_page()
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        page.set_input_files("#image-query", photo)
        expect(page.get_by_role("heading", name="Nearest to your image")).to_be_visible()
        page.wait_for_load_state("networkidle")
        expect(page.locator(".query-attributes")).to_have_count(0)
        page.get_by_label("Title", exact=True).fill("green mug")
        page.keyboard.press("Enter")
        expect(page.locator(".query-attributes .attributes dt")).to_have_text("attr_1")
        assert said == []


def test_an_image_is_dropped(open_page: OpenPage, photo: Path) -> None:
    page = open_page()
    expect(page.locator(".card").first).to_be_visible()
    content = base64.b64encode(photo.read_bytes()).decode()
    page.evaluate(DROP, [content, photo.name, mimetypes.guess_type(photo)[0]])
    expect(page.get_by_role("heading", name="Nearest to your image")).to_be_visible()
    expect_products(page, ids(posted(page, photo)))
    page.reload()  # the image is gone with the page's memory, and the page says so
    expect(page.get_by_role("alert")).to_contain_text("choose it again")


def test_what_is_no_image_is_told(open_page: OpenPage) -> None:
    page = open_page()
    expect(page.locator(".card").first).to_be_visible()
    page.evaluate(DROP, [base64.b64encode(b"id,title\n").decode(), "list.csv", "text/csv"])
    expect(page.get_by_role("alert")).to_contain_text("no image")
    page.evaluate(DROP, [base64.b64encode(b"nothing").decode(), "torn.jpg", "image/jpeg"])
    expect(page.get_by_role("alert")).to_contain_text("image")
    expect(page.get_by_role("button", name="Try again")).to_be_visible()


def test_the_slider_moves_matches_and_figures_at_once(open_page: OpenPage, product: str) -> None:
    page = open_page(f"#/search?id={product}")
    found = answer(page, id=product)
    before = sum(result["is_match"] for result in found["results"])
    expect(page.locator(".is-match")).to_have_count(before)
    asked: list[str] = []
    expect(page.locator("[data-figure=row_f1]")).to_be_visible()
    page.wait_for_load_state("networkidle")
    page.on("request", lambda request: asked.append(request.url))
    scores = [result["score"] for result in found["results"]]
    high = round((scores[1] + scores[2]) / 2, 2)
    figures = page.locator(".panel-figures").inner_text()
    moved = page.get_by_label("A match has a score of at least", exact=True).evaluate(
        """(slider, value) => {
          slider.value = value;
          slider.dispatchEvent(new Event("input", { bubbles: true }));
          return [slider.valueAsNumber, document.querySelectorAll(".is-match").length,
            document.querySelector(".panel-figures").innerText];
        }""",
        high,
    )
    threshold, num_matches, now = moved  # all within one event, before anything could be asked
    assert not asked
    assert num_matches == sum(score >= threshold for score in scores) != before
    assert now != figures
    expect(page).to_have_url(re.compile(f"t={threshold}"))
    exact = page.request.get("/figures", params={"threshold": threshold}).json()
    expect(page.locator("[data-figure=row_f1] dd")).to_have_text(f"{exact['row_f1']:.4f}")
    expect(page.locator("[data-figure=num_pairs] dd")).to_have_text(f"{exact['num_pairs']:,}")
    page.get_by_role("button", name="Back to tuned").click()
    expect(page.locator(".is-match")).to_have_count(before)


def test_matches_of_a_moved_slider_are_those_of_the_whole_rule(ruled: Ruled, product: str) -> None:
    rule = MatchRule({"head": 1.0}, (0.5,), 20, rules=Rules(at_most=2))
    with ruled(rule) as open_page:
        page = open_page(f"#/search?id={product}")
        expect(page.locator(".is-match")).to_have_count(1)  # and the item itself
        steps = page.evaluate("history.length")
        scores = [result["score"] for result in answer(page, id=product)["results"]]
        assert moved_to(page, -0.5) == sum(score >= -0.5 for score in scores) > 1
        expect(page.locator(".is-match")).to_have_count(1)
        first = answer(page, id=product, threshold=-0.5)["results"][0]
        assert page.locator(".is-match").get_attribute("data-id") == first["id"]
        expect(page.locator(".results-head [role=status]")).to_contain_text("1 of them match")
        expect(page.locator(f"#{SLIDER}")).to_be_focused()
        assert page.evaluate("history.length") == steps
        assert moved_to(page, 0.99) == 0
        assert moved_to(page, -0.5) == 1  # what the service has said once is known
        page.route("**/search?*", lambda route: route.abort())
        with page.expect_event("requestfailed"):
            assert moved_to(page, -0.4) > 1
        expect(page.locator(".is-match")).to_have_count(sum(score >= -0.4 for score in scores))
        expect(page.get_by_role("alert")).to_have_count(0)


def test_tuned_matches_are_asked_for_where_the_address_has_others(
    ruled: Ruled, product: str
) -> None:
    rule = MatchRule({"head": 1.0}, (0.5,), 20, rules=Rules(at_most=2))
    with ruled(rule) as open_page:
        page = open_page(f"#/search?id={product}&t=0.999")
        expect(page.locator(".card-spaces .agrees")).to_have_count(0)
        page.get_by_role("button", name="Back to tuned").click()
        expect(page.locator(".is-match")).to_have_count(1)
        found = answer(page, id=product)
        agreeing = sum(result["spaces"][0]["agrees"] for result in found["results"])
        expect(page.locator(".card-spaces .agrees")).to_have_count(agreeing)


SLIDER = "threshold-combined"


def moved_to(page: Page, score: float) -> int:
    """How many results are marked as the slider is moved, before anything can be asked."""
    num_marked: int = page.locator(f"#{SLIDER}").evaluate(
        """(slider, score) => {
          slider.focus();
          slider.min = -1;
          slider.value = score;
          slider.dispatchEvent(new Event("input", { bubbles: true }));
          return document.querySelectorAll(".is-match").length;
        }""",
        score,
    )
    return num_marked


def test_more_results_are_shown(open_page: OpenPage, product: str) -> None:
    page = open_page(f"#/search?id={product}&t=-1")
    expect(page.get_by_text("all of them match, and more may")).to_be_visible()
    page.get_by_role("button", name="Show more").click()
    expect(page.locator(".card")).to_have_count(48)
    expect_products(page, ids(answer(page, id=product, k=48)))


def test_only_matches_can_be_shown(open_page: OpenPage, product: str) -> None:
    page = open_page(f"#/search?id={product}")
    found = answer(page, id=product)
    page.get_by_role("button", name="Only matches").click()
    expect(page).to_have_url(re.compile("only=matches"))
    expect_products(page, [one["id"] for one in found["results"] if one["is_match"]])


def test_filters_restrict_and_are_removed(open_page: OpenPage, product: str) -> None:
    page = open_page(f"#/search?id={product}")
    page.get_by_label("Column").select_option("category")
    page.get_by_label("Value").select_option("mug")
    page.get_by_role("button", name="Add", exact=True).click()
    chip = page.get_by_role("button", name="Remove the filter category mug")
    expect(chip).to_be_visible()
    found = answer(page, id=product, where="category=mug")
    expect_products(page, ids(found))
    assert {result["columns"]["category"] for result in found["results"]} == {"mug"}
    page.reload()
    chip.click()
    expect(chip).to_have_count(0)
    expect_products(page, ids(answer(page, id=product)))


def test_filters_that_nothing_fits_say_so(open_page: OpenPage, product: str) -> None:
    page = open_page(f"#/search?id={product}&where=category%3Dno+such+thing")
    expect(page.get_by_role("heading", name="Nothing is found")).to_be_visible()
    page.get_by_role("button", name="Remove the filters").click()
    expect_products(page, ids(answer(page, id=product)))
    page.goto("/#/search?title=qqqq&where=category%3Dmug")
    expect(page.get_by_text("values of the filters and any of these words.")).to_be_visible()
    page.goto("/#/search?where=category%3Dno+such+thing")
    expect(page.get_by_text("No item has all the values of the filters.")).to_be_visible()


def test_an_unknown_product_is_told(open_page: OpenPage) -> None:
    page = open_page("#/search?id=no+such+product")
    expect(page.get_by_role("alert")).to_contain_text("no such product")


def test_a_product_opens_with_columns_and_attributes(open_page: OpenPage, product: str) -> None:
    page = open_page(f"#/search?id={product}")
    card = page.locator(".card").nth(2)
    other = shown(page)[2]
    card.get_by_role("button", name="Details").click()
    dialog = page.get_by_role("dialog")
    item = page.request.get(f"/items/{other}").json()
    expect(dialog.get_by_role("heading", name=item["title"])).to_be_visible()
    for value in item["columns"].values():
        expect(dialog.locator(".columns")).to_contain_text(str(value))
    first = page.request.get("/attributes", params={"id": other}).json()["attributes"][0]
    attributes = dialog.locator(".attributes")
    expect(attributes.locator("dd").first).to_contain_text(first["value"])
    bar = attributes.locator("rect").first.bounding_box()
    whole = attributes.locator("svg").first.bounding_box()
    assert bar is not None and whole is not None
    assert abs(bar["width"] / whole["width"] - first["probability"]) < 0.02
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(page).not_to_have_url(re.compile("item="))
    page.go_back()
    expect(dialog).to_be_visible()
    dialog.get_by_role("link", name="Find similar").click()
    expect(dialog).to_have_count(0)
    expect_products(page, ids(answer(page, id=other)))


def test_each_result_shows_which_spaces_agree(open_page: OpenPage, product: str) -> None:
    page = open_page(f"#/search?id={product}")
    found = answer(page, id=product)
    shown(page)
    for at, result in enumerate(found["results"]):
        agreeing = {space["name"] for space in result["spaces"] if space["agrees"]}
        lines = page.locator(".card").nth(at).locator(".card-spaces .agrees").all_inner_texts()
        assert {line.split()[1] for line in lines} == agreeing


def test_spaces_are_chosen(open_page: OpenPage, product: str) -> None:
    page = open_page(f"#/search?id={product}")
    shown(page)
    page.get_by_role("button", name="phash image").click()
    expect(page).to_have_url(re.compile("space=phash"))
    chosen = [
        part.removeprefix("space=")
        for part in page.url.split("?")[1].split("&")
        if part.startswith("space=")
    ]
    expect_products(page, ids(answer(page, id=product, space=chosen)))


def test_the_figures_are_those_of_the_tuned_rule(ruled: Ruled) -> None:
    own = {f"p{number:05d}": (0.99,) for number in range(12)}
    rule = MatchRule({"head": 1.0}, (0.5,), 20, category="label", by_category=own)
    with ruled(rule) as open_page:
        page = open_page("#/search?id=p00002-00")
        shown_figure = page.locator("[data-figure=num_pairs] dd")
        tuned = figures(page)
        common = figures(page, threshold=0.5)
        assert tuned["num_pairs"] != common["num_pairs"]
        page.wait_for_load_state("networkidle")
        expect(shown_figure).to_have_text(f"{tuned['num_pairs']:,}")
        page.goto("/#/search?id=p00002-00&t=0.6")
        expect(shown_figure).to_have_text(f"{figures(page, threshold=0.6)['num_pairs']:,}")


def figures(page: Page, **parameters: Any) -> dict[str, Any]:
    """What the service says of the whole store."""
    while True:
        found: dict[str, Any] = page.request.get("/figures", params=parameters).json()
        if found["ready"]:
            return found


def test_a_threshold_of_other_spaces_marks_nothing(open_page: OpenPage, product: str) -> None:
    page = open_page(f"#/search?id={product}&space=tfidf&t=0.1")
    shown(page)
    expect(page.locator(".threshold-elsewhere")).to_contain_text(
        "are of head. The results are from tfidf"
    )
    expect(page.locator(".is-match")).to_have_count(0)
    expect(page.locator(".card .verdict").first).to_be_empty()
    page.goto(f"/#/search?id={product}&t=-1")
    expect(page.locator(".is-match")).not_to_have_count(0)
    expect(page.locator(".threshold-elsewhere")).to_be_empty()


def test_words_that_no_title_has_are_told(open_page: OpenPage) -> None:
    page = open_page("#/search?title=qqqq+zzzz&space=tfidf")
    expect(page.get_by_text("No title has any of these words.")).to_be_visible()


def test_figures_say_which_items_they_are_of(open_page: OpenPage) -> None:
    page = open_page()
    num_rows = page.request.get("/curve").json()["num_rows"]
    groups = page.locator(".figure-group")
    expect(groups.first).to_contain_text(f"Among {num_rows} items with labels")
    expect(groups.first.locator("[data-figure]")).to_have_count(3)
    expect(groups.last).to_contain_text("In the whole store")
    expect(groups.last.locator("[data-figure=num_pairs]")).to_be_visible()


def test_without_images_and_titles_their_controls_are_gone(
    browser: Browser, demo: Demo, tmp_path: Path
) -> None:
    with Store(demo.store) as store:
        for kind, space in (("titles", "tfidf"), ("photos", "phash")):
            with StoreWriter(tmp_path / f"{kind}.h5", "", {}) as writer:
                writer.copy_items(store)
                writer.copy_space(store, space)
    for kind, missing in (("titles", "image-query"), ("photos", "title-query")):
        root, space = demo.folder / "catalogue", {"titles": "tfidf", "photos": "phash"}[kind]
        column = "none" if kind == "titles" else "image"
        settings = ServiceSettings(
            tmp_path / f"{kind}.h5",
            space=space,
            image_root=root,
            image_column=column,
            title_column="none" if kind == "photos" else "title",
        )
        with serving(settings) as address, watched(browser, address) as open_page:
            page = open_page("#/search?id=p00003-01")
            shown(page)
            expect(page.locator(f"#{missing}")).to_have_count(0)
            is_list = page.locator(".grid").evaluate("grid => grid.classList.contains('is-list')")
            assert is_list == (kind == "titles")
            expect(page.locator(".no-image")).to_have_count(0)
