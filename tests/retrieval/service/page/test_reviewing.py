"""The view that reviews, by keyboard and by touch: decisions, undo, another threshold."""

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.retrieval.service.conftest import Demo, serving
from tests.retrieval.service.page.conftest import DESKTOP, PHONE, OpenPage, watched

ANSWERS = ("s", "d", "u", "s", "d", "d", "s", "d", "d", "s")


@pytest.fixture
def copied(demo: Demo, tmp_path: Path) -> Demo:
    """A store of its own, beside which decisions and thresholds may be written."""
    shutil.copy(demo.store, tmp_path / "store.h5")
    shutil.copy(demo.threshold, tmp_path / "threshold.json")
    return Demo(tmp_path)


@pytest.fixture
def open_own(browser: Browser, demo: Demo, copied: Demo) -> Iterator[OpenPage]:
    settings = replace(demo.settings, store=copied.store, threshold=str(copied.threshold))
    with serving(settings) as address, watched(browser, address) as opened:
        yield opened


def decisions(copied: Demo) -> list[dict[str, object]]:
    path = copied.folder / "store.decisions.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def pair_shown(page: Page) -> str:
    return page.get_by_role("region", name="The pair").inner_text()


def test_ten_pairs_one_undone_and_tuned_again_by_keys(open_own: OpenPage, copied: Demo) -> None:
    page = open_own("#/review", viewport=DESKTOP)
    same = page.get_by_role("button", name="Same")
    expect(same).to_be_enabled()
    page.get_by_label("Who decides").fill("ada")
    page.get_by_label("Who decides").blur()
    for answer in ANSWERS:
        last = pair_shown(page)
        page.keyboard.press(answer)
    expect(page.get_by_text("10 decided: 4 same, 5 different, 1 unsure")).to_be_visible()
    page.keyboard.press("z")
    expect(page.get_by_text("9 decided: 3 same, 5 different, 1 unsure")).to_be_visible()
    assert pair_shown(page) == last
    kept = decisions(copied)
    assert [line["decision"] for line in kept if "decision" in line] == [
        {"s": "same", "d": "different", "u": "unsure"}[answer] for answer in ANSWERS
    ]
    assert {line["by"] for line in kept} == {"ada"}
    assert len([line for line in kept if "undoes" in line]) == 1
    before = json.loads(copied.threshold.read_text())
    page.get_by_role("button", name="Re-tune with 8 decisions").click()
    table = page.get_by_role("table")
    expect(table).to_contain_text("threshold: score", timeout=20_000)
    expect(page.get_by_text("8 decisions used")).to_be_visible()
    assert json.loads(copied.threshold.read_text()) == before  # nothing changes until then
    after = table.get_by_role("row", name="threshold: score").get_by_role("cell").last.inner_text()
    page.get_by_role("button", name="Accept the new threshold").click()
    expect(page.get_by_text("The new threshold is served")).to_be_visible()
    page.evaluate("location.hash = '#/search'")
    slider = page.get_by_label("A match has a score of at least", exact=True)
    expect(slider).to_have_attribute("aria-valuetext", after)
    previous = copied.folder / "threshold.json.previous"
    assert json.loads(previous.read_text()) == before


def test_pairs_are_reviewed_by_touch(open_own: OpenPage, copied: Demo) -> None:
    page = open_own("#/review", viewport=PHONE, is_mobile=True, has_touch=True)
    expect(page.get_by_role("button", name="Same")).to_be_enabled()
    assert page.locator("#view img").count() == 2
    first = pair_shown(page)
    page.get_by_role("button", name="Different").tap()
    expect(page.get_by_text(re.compile("1 decided: 0 same, 1 different"))).to_be_visible()
    assert pair_shown(page) != first
    page.get_by_role("button", name="Undo").tap()
    expect(page.get_by_text("0 decided")).to_be_visible()
    assert pair_shown(page) == first
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
