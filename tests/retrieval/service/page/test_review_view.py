"""Reviewing in a browser: ten pairs, one taken back, and the threshold tuned again."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from retrieval.decisions.journal import decisions_path, read_decisions
from tests.retrieval.decisions.decision_files import write_decisions
from tests.retrieval.service.conftest import Demo, serving
from tests.retrieval.service.page.conftest import DESKTOP, PHONE, OpenPage, watched

ANSWERS = "sdsdusdsds"
NAMES = {"s": "Same", "d": "Different", "u": "Unsure"}


@dataclass(frozen=True)
class Reviewed:
    """A server over a copy of the demo, which may be written to."""

    demo: Demo
    open_page: OpenPage

    @property
    def decided(self) -> list[str]:
        """What stands of the file of decisions."""
        path = decisions_path(self.demo.store)
        if not path.exists():
            return []
        return [made.decision for made in read_decisions(path).standing.values()]


@pytest.fixture
def reviewed(demo: Demo, tmp_path: Path, browser: Browser) -> Iterator[Reviewed]:
    for path in (demo.store, demo.threshold, demo.head, demo.attribute_head):
        shutil.copy(path, tmp_path)
    copy = Demo(tmp_path)
    settings = replace(copy.settings, image_root=demo.folder / "catalogue")
    with serving(settings) as address, watched(browser, address) as open_page:
        yield Reviewed(copy, open_page)


def shown(page: Page) -> str:
    return "|".join(page.locator(".review-product h3").all_inner_texts())


def serious(page: Page) -> list[str]:
    violations = Axe().run(page).response["violations"]
    return [
        f"{each['id']}: {each['nodes'][0]['html'][:200]}"
        for each in violations
        if each["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize(
    "settings",
    [{"viewport": DESKTOP}, {"viewport": PHONE, "has_touch": True}],
    ids=["desk", "phone"],
)
def test_ten_pairs_are_reviewed_one_taken_back_and_the_threshold_tuned_again(
    reviewed: Reviewed, settings: dict[str, Any]
) -> None:
    is_phone = "has_touch" in settings
    page = reviewed.open_page("#/review", **settings, color_scheme="dark" if is_phone else "light")
    expect(page.locator(".review-product")).to_have_count(2)
    page.get_by_label("Who decides").fill("Ada")
    page.get_by_label("Who decides").press("Tab")
    seen = set()
    for key in ANSWERS:
        pair = shown(page)
        seen.add(pair)
        if is_phone:
            page.get_by_role("button", name=NAMES[key]).tap()
        else:
            page.keyboard.press(key)
        expect(page.locator(".view-review [role=status]").first).to_contain_text(NAMES[key])
    assert len(seen) > 5  # pairs of other photos may have the same titles
    expect(page.locator("#review-progress")).to_contain_text("10 decided: 5 same, 4 different, 1")
    assert sorted(reviewed.decided) == ["different"] * 4 + ["same"] * 5 + ["unsure"]
    if is_phone:
        page.get_by_role("button", name="Undo").tap()
    else:
        page.keyboard.press("z")
    expect(page.locator("#review-progress")).to_contain_text("9 decided: 4 same, 4 different, 1")
    assert shown(page) == pair
    assert len(reviewed.decided) == 9
    lines = decisions_path(reviewed.demo.store).read_text().splitlines()
    assert {json.loads(line)["by"] for line in lines} == {"Ada"}

    page.get_by_role("button", name="Re-tune with 8 decisions").click()
    table = page.locator(".retune-table")
    expect(table).to_be_visible(timeout=20_000)
    expect(table).to_contain_text("row F1")
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= page.viewport_size["width"]  # type: ignore[index]
    assert serious(page) == []
    before = reviewed.demo.threshold.read_bytes()
    page.get_by_role("button", name="Accept the new threshold").click()
    expect(page.locator(".retune")).to_contain_text("The new threshold is served")
    assert reviewed.demo.threshold.with_name("threshold.json.previous").read_bytes() == before
    expect(page.locator(".review-product")).to_have_count(2)


def test_a_threshold_that_stays_is_not_offered(reviewed: Reviewed) -> None:
    path, demo = decisions_path(reviewed.demo.store), reviewed.demo
    write_decisions(path, ("p00000-00", "p00000-01", "same"))  # as their labels say
    page = reviewed.open_page("#/review")
    retune = page.get_by_role("button", name="Re-tune with 1 decision")
    retune.focus()
    page.keyboard.press("Enter")
    stays = json.loads(demo.threshold.read_text())["score_threshold"]
    outcome = page.locator(".retune-outcome")
    expect(outcome).to_contain_text(f"The threshold stays at {stays:.4f}", timeout=20_000)
    expect(outcome.get_by_role("button")).to_have_count(0)


def test_where_tuning_fails_its_button_has_the_focus_again(reviewed: Reviewed) -> None:
    path = write_decisions(decisions_path(reviewed.demo.store), ("p00000-00", "p00000-01", "same"))
    page = reviewed.open_page("#/review")
    retune = page.get_by_role("button", name="Re-tune with 1 decision")
    retune.focus()
    path.write_text("notes\n" * 2)
    page.keyboard.press("Enter")
    expect(page.locator(".retune .fault")).to_contain_text("line 1")
    expect(retune).to_be_focused()


def test_letters_in_a_field_are_no_answers_and_the_name_is_kept(reviewed: Reviewed) -> None:
    page = reviewed.open_page("#/review")
    expect(page.locator(".review-product")).to_have_count(2)
    field = page.get_by_label("Who decides")
    field.click()
    page.keyboard.type("sdu z")
    field.press("Tab")
    assert reviewed.decided == []
    page.reload()
    expect(page.get_by_label("Who decides")).to_have_value("sdu z")


def test_columns_that_differ_stand_below_the_products_and_the_label_is_kept_back(
    reviewed: Reviewed,
) -> None:
    page = reviewed.open_page("#/review")
    expect(page.locator(".review-product")).to_have_count(2)
    with page.expect_response("**/review/pairs*") as answered:
        page.reload()
    pair = answered.value.json()["pairs"][0]
    expect(page.locator(".review-product")).to_have_count(2)
    first, second = pair["first"]["columns"], pair["second"]["columns"]
    differing = [
        name
        for name in first
        if first[name] != second[name] and name not in ("label", "title", "image")
    ]
    for product, columns in zip(
        page.locator(".review-product").all(), (first, second), strict=True
    ):
        assert product.locator("dt").all_inner_texts() == differing
        values = product.locator("dd.differs").evaluate_all(
            "nodes => nodes.map((one) => one.firstChild.textContent)"
        )
        assert values == [columns[name] for name in differing]
    equal = page.locator(".review-more")
    assert "label" not in page.locator(".review-pair dt").all_text_contents()
    expect(equal).not_to_contain_text(first["label"])
    page.get_by_role("button", name="Show label").click()
    expect(equal).to_contain_text(f"label: {first['label']} and {second['label']}")


def test_without_a_threshold_there_is_nothing_but_a_sentence(browser: Browser, demo: Demo) -> None:
    settings = replace(demo.settings, threshold=None)
    with serving(settings) as address, watched(browser, address) as open_page:
        page = open_page("#/review")
        expect(page.get_by_role("heading", name="There is no threshold yet")).to_be_visible()
        expect(page.locator(".view-review :is(button, progress, input)")).to_have_count(0)
        expect(page.locator(".view-review")).not_to_contain_text("--")
        page.goto(f"{address}/#/search")
        slider = page.get_by_label("A match has a score of at least", exact=True)
        expect(slider).to_have_attribute("aria-valuetext", "none")
        expect(slider).to_have_class("is-unset")


def test_an_answer_that_is_not_kept_comes_back(reviewed: Reviewed) -> None:
    page = reviewed.open_page("#/review")
    expect(page.locator(".review-product")).to_have_count(2)
    decisions_path(reviewed.demo.store).write_text("notes\n" * 2)
    first = shown(page)
    page.keyboard.press("s")
    expect(page.locator(".view-review .fault").first).to_contain_text(
        "The answer was not kept: line 1"
    )
    assert shown(page) == first


def test_the_reviewer_of_the_service_decides_where_nobody_is_named(
    demo: Demo, tmp_path: Path, browser: Browser
) -> None:
    path = tmp_path / "decisions.jsonl"
    settings = replace(demo.settings, decisions=path, reviewer="Grace")
    with serving(settings) as address, watched(browser, address) as open_page:
        page = open_page("#/review")
        expect(page.locator(".review-product")).to_have_count(2)
        page.keyboard.press("s")
        expect(page.locator("#review-progress")).to_contain_text("1 decided")
    assert {made.by for made in read_decisions(path).standing.values()} == {"Grace"}


def test_where_nothing_can_be_kept_nobody_is_asked(
    demo: Demo, tmp_path: Path, browser: Browser
) -> None:
    settings = replace(demo.settings, decisions=tmp_path / "no folder" / "decisions.jsonl")
    with serving(settings) as address, watched(browser, address) as open_page:
        page = open_page("#/review")
        expect(page.locator(".review-product")).to_have_count(2)
        expect(page.locator(".view-review .note")).to_contain_text("can't be kept")
        for name in (*NAMES.values(), "Undo"):
            expect(
                page.locator(".review-answers").get_by_role("button", name=name)
            ).to_be_disabled()
        first = shown(page)
        page.keyboard.press("s")
        page.keyboard.press("z")
        assert shown(page) == first
        assert page.locator(".view-review .fault").first.inner_text() == ""
