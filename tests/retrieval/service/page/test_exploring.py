"""The views of groups, map and curve show what the service computes, at both widths."""

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.retrieval.service.page.conftest import DESKTOP, PHONE, OpenPage

WIDTHS = pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])


def answer(page: Page, path: str) -> dict[str, Any]:
    found: dict[str, Any] = page.request.get(path).json()
    assert found["ready"]
    return found


@WIDTHS
def test_the_map_opens_and_leads_to_a_product(open_page: OpenPage, size: dict[str, int]) -> None:
    page = open_page("#/map", viewport=size)
    canvas = page.get_by_role("application")
    expect(canvas).to_have_accessible_name(re.compile("96 items in space head"))
    near = page.locator(".map-near a")
    expect(near).to_have_count(10)
    before = near.all_inner_texts()
    page.get_by_role("button", name="Nearer").click(click_count=3)
    canvas.focus()
    for _ in range(8):  # until others are nearest, and not so far that nothing is in sight
        page.keyboard.press("ArrowRight")
        page.wait_for_timeout(100)
        if near.all_inner_texts()[:1] != before[:1]:
            break
    expect(near.first).not_to_have_text(before[0])
    page.get_by_role("combobox", name="Space").select_option("hog")
    expect(canvas).to_have_accessible_name(re.compile("96 items in space hog"))
    page.get_by_role("combobox", name="Coloured by").select_option("category")
    legend = page.locator(".map-legend li")
    expect(legend).to_have_count(len(answer(page, "/map?space=hog&colour=category")["values"]))
    title = near.first.inner_text()
    near.first.click()
    expect(page.get_by_role("heading", name="Nearest to")).to_contain_text(title)


INK = """(canvas, margin) => {
  const { width, height } = canvas;
  const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
  let [left, right, top, bottom] = [width, 0, height, 0];
  for (let at = 3; at < data.length; at += 4) {
    if (!data[at]) continue;
    const [x, y] = [((at - 3) / 4) % width, Math.floor((at - 3) / 4 / width)];
    [left, right] = [Math.min(left, x), Math.max(right, x)];
    [top, bottom] = [Math.min(top, y), Math.max(bottom, y)];
  }
  return [(right - left) / (width - margin), (bottom - top) / (height - margin)];
}"""


@WIDTHS
def test_the_frame_of_the_map_fits_what_is_in_it(open_page: OpenPage, size: dict[str, int]) -> None:
    page = open_page("#/map?space=hog", viewport=size)
    expect(page.locator(".map-near a")).to_have_count(10)
    across, down = page.get_by_role("application").evaluate(INK, 40)
    assert min(across, down) > 0.85
    found = answer(page, "/map?space=hog")
    wide, high = (max(found[axis]) - min(found[axis]) for axis in "xy")
    frame = page.locator(".map-stage").bounding_box()
    assert frame is not None
    assert abs(frame["width"] / frame["height"] / (wide / high) - 1) < 0.15
    assert frame["x"] + frame["width"] <= size["width"]


@WIDTHS
def test_groups_are_listed_and_opened(open_page: OpenPage, size: dict[str, int]) -> None:
    page = open_page("#/groups", viewport=size)
    found = answer(page, "/groups")
    cards = page.locator(".group-card")
    expect(cards).to_have_count(len(found["groups"]))
    first = found["groups"][0]
    expect(cards.first).to_contain_text(f"{first['size']} items")
    page.get_by_role("button", name="Most doubtful first").click()
    doubtful = answer(page, "/groups?order=doubt")["groups"][0]
    expect(cards.first).to_contain_text(f"{doubtful['size']} items")
    cards.first.get_by_role("link").first.click()
    expect(page.locator("main img")).not_to_have_count(0)
    assert f"group={doubtful['number']}" in page.url


def test_groups_are_of_items_that_all_match_unless_chains_are_asked_for(
    open_page: OpenPage,
) -> None:
    page = open_page("#/groups?threshold=-1")
    expect(page.locator(".group-card").first).to_be_visible()
    expect(page.locator(".note")).to_have_count(0)
    page.get_by_label("A group is made of").select_option("single")
    expect(page).to_have_url(re.compile("linkage=single"))
    found = answer(page, "/groups?threshold=-1&linkage=single")
    expect(page.get_by_role("heading", name=f"{found['num_groups']} group")).to_be_visible()


@WIDTHS
def test_the_curve_reads_out_what_a_threshold_gives(
    open_page: OpenPage, size: dict[str, int]
) -> None:
    page = open_page("#/curve", viewport=size)
    curve = answer(page, "/curve")
    at = curve["thresholds"].index(curve["chosen"])
    readout = page.locator(".curve-readout")
    expect(readout).to_contain_text(f"{curve['row_f1'][at]:.4f}")
    expect(readout).to_contain_text(f"{curve['num_pairs'][at]:,}")
    clear = page.locator(".curve-plot").evaluate(
        """plot => {
          const lines = [...plot.querySelectorAll("path.line")].map(line => line.getBBox());
          const end = Math.max(...lines.map(line => line.x + line.width));
          const names = [...plot.querySelectorAll(".name")].map(name => name.getBBox());
          return names.length === 3 && names.every(name =>
            name.x > end && name.x + name.width <= plot.clientWidth && names.every(other =>
              other === name || other.y >= name.y + 14 || other.y <= name.y - 14));
        }"""
    )
    assert clear
    page.locator("#curve-threshold").focus()
    page.keyboard.press("End")
    expect(readout).to_contain_text(f"{curve['num_pairs'][-1]:,}")
    page.get_by_text("As a table").click()
    table = page.get_by_role("table")
    expect(table).to_contain_text(f"{curve['recall'][at]:.4f}")
    lines = table.locator("tbody tr td").evaluate_all(
        "cells => cells.map(cell => cell.getClientRects()[0].height)"
    )
    assert max(lines) < 40  # no figure is broken in two
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
