"""The app as people see it: a headless Chromium on a server of the quickstart's runs."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.app.browser.conftest import Open
from tests.app.browser.tab import WIDTH, Tab

# The fewest charts that each page shows of two runs.
CHARTS = {
    "": 0,
    "evolution": 7,
    "tradeoff": 4,
    "classes": 4,
    "concepts": 2,
    "images": 0,
    "explain": 2,
    "steering": 3,
    "geometry": 8,
    "hierarchy": 7,
    "similarity": 8,
    "dynamics": 0,
    "guide": 0,
}
# Dynamics: five validations have no modes.
WITHOUT_EPOCH = ("", "dynamics", "guide")


@pytest.fixture(scope="module", params=CHARTS, ids=lambda page: page or "runs")
def page(request: pytest.FixtureRequest) -> str:
    """Name of each page in the address."""
    return str(request.param)


@pytest.fixture(scope="module")
def shown(page: str, app_url: str, open_tab: Open) -> Iterator[Tab]:
    """Each page, opened once for the tests that look at it."""
    tab = open_tab(f"{app_url}/{page}")
    yield tab
    tab.close()


def test_every_page_opens_without_an_error(page: str, shown: Tab) -> None:
    expect(shown.page.get_by_role("heading", level=1)).to_have_count(1)
    expect(shown.page.get_by_test_id("stException")).to_have_count(0)
    expect(shown.page.get_by_test_id("stAlert")).to_have_count(0)
    assert "Traceback" not in shown.main.inner_text()
    assert shown.problems == []


def test_every_chart_is_drawn(page: str, shown: Tab) -> None:
    marks = shown.marks()
    assert len(marks) >= CHARTS[page]
    assert all(marks.values()), marks


def test_every_picture_is_shown(page: str, shown: Tab) -> None:
    widths = shown.main.locator("img").evaluate_all("all => all.map(each => each.naturalWidth)")
    assert all(widths)
    assert len(widths) >= (24 if page == "images" else 0)


def test_a_dark_system_gets_a_dark_page(shown: Tab) -> None:
    shown.darken()
    assert all(shown.marks().values())
    shown.darken(False)
    assert shown.problems == []


def test_a_narrow_window_cuts_nothing(shown: Tab) -> None:
    shown.resize(800)
    assert shown.cut_off() == []
    assert all(shown.marks().values())
    shown.resize(WIDTH)
    assert shown.problems == []


def test_the_slider_moves_the_page_and_the_link_remembers_it(
    page: str, shown: Tab, open_tab: Open
) -> None:
    sliders = shown.main.get_by_test_id("stSlider")
    if page in WITHOUT_EPOCH:
        expect(sliders).to_have_count(0)
        return
    last = shown.content()
    sliders.get_by_role("slider").first.press("ArrowLeft")
    moved = shown.changed(last)
    expect(shown.page).to_have_url(re.compile(r"[?&]epoch=3\b"))
    again = open_tab(shown.page.url)
    assert again.content() == moved
    assert shown.problems == again.problems == []
    again.close()


def test_the_headline_figures_are_seen_without_scrolling(app_url: str, open_tab: Open) -> None:
    tab = open_tab(app_url)
    headers = tab.page.get_by_test_id("data-grid-canvas").locator("[role=columnheader]")
    seen = headers.all_text_contents()
    # The table holds elements for the columns in sight only.
    first = {"Class hidden", "Class hidden: 95 %", "Class seen", "Accuracy", "AS, centered"}
    assert first <= {*seen}
    assert "Reference" not in seen
    assert "95 %" in tab.main.inner_text()
    tab.close()


def test_intervals_are_drawn_unless_the_link_says_no(app_url: str, open_tab: Open) -> None:
    areas = []
    for link in ("", "?interval=false"):
        tab = open_tab(f"{app_url}/evolution{link}")
        areas.append(tab.main.locator(".mark-area path").count())
        assert tab.problems == []
        tab.close()
    # What is left is the stacked picture of the meaning, of each run.
    with_intervals, without = areas
    assert with_intervals > without > 0


def test_runs_are_picked_in_the_table_and_followed_everywhere(app_url: str, open_tab: Open) -> None:
    tab = open_tab(app_url)
    both = re.compile(r"[?&]runs=\w+&runs=\w+&baseline=\w+$")
    expect(tab.page).to_have_url(both)
    tick(tab, "honest")
    expect(tab.page).to_have_url(re.compile(r"[?]runs=\w+$"))
    go_to(tab, "Evolution")
    assert "shortcut" in tab.main.inner_text()
    assert "honest" not in tab.main.inner_text()
    again = open_tab(tab.page.url)
    assert again.content() == tab.content()
    go_to(tab, "Runs")
    tick(tab, "honest")
    expect(tab.page).to_have_url(re.compile(r"[?]runs=\w+&runs=\w+$"))
    go_to(tab, "Evolution")
    assert "honest" in tab.main.inner_text()
    assert tab.problems == again.problems == []
    tab.close()
    again.close()


def go_to(tab: Tab, name: str) -> None:
    """Follow a link of the sidebar."""
    tab.page.get_by_test_id("stSidebarNavLink").filter(has_text=name).click()
    expect(tab.page.get_by_role("heading", level=1)).to_have_text(name)
    tab.settle()


def tick(tab: Tab, run: str) -> None:
    """Press the box before a run; the table is a picture without elements to press."""
    table = tab.page.get_by_test_id("data-grid-canvas")
    rows = table.locator("[role=row]").all_text_contents()
    (row,) = (number for number, text in enumerate(rows) if run in text)
    table.scroll_into_view_if_needed()
    place = table.bounding_box()
    assert place is not None
    # Rows are 35 pixels high, the first holds the names of the columns.
    tab.page.mouse.click(place["x"] + 20, place["y"] + 35 * (row + 0.5))
