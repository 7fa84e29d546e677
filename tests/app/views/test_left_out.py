"""Runs of some analyses alone: each page says what was left out, and none stops."""

from __future__ import annotations

import pytest

from tests.app.conftest import Opened
from tests.helpers import tiny

PAGES = ("runs", "evolution", "tradeoff", "classes", "images", "steering", "tables")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("left_out")
    for chosen in (["sing"], ["collapse", "similarity"]):
        monitor = tiny.callback(tracking=f"{folder}/runs", analyses=chosen)
        tiny.trainer(folder, monitor, max_epochs=1, num_sanity_val_steps=0).fit(
            tiny.Classifier(), tiny.loader(tiny.Blobs(32)), tiny.loader(tiny.Blobs(40, seed=1))
        )
    return f"{folder}/runs"


@pytest.mark.parametrize(
    ("page", "missing"),
    [("geometry", "head"), ("hierarchy", "hierarchy"), ("dynamics", "dynamics")],
)
def test_a_page_says_which_analysis_it_lacks(
    open_page: Opened, runs: str, page: str, missing: str
) -> None:
    app = open_page(page, runs)
    assert not app.exception
    said = " ".join(each.value for each in [*app.info, *app.markdown])
    assert f"made without the analysis \\'{missing}\\'" in said


@pytest.mark.parametrize("page", PAGES)
def test_no_page_stops(open_page: Opened, runs: str, page: str) -> None:
    app = open_page(page, runs)
    assert not [*app.exception, *app.error]
    assert app.title[0].value
