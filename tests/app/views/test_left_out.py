"""Runs of some analyses alone: each page says what was left out, and none stops."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.app.conftest import Opened
from tests.helpers import tiny
from tests.helpers.loops import images, quick

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


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (["head"], ["hierarchy"], "from epoch 1 on it was made without the analysis \\'head\\'"),
        (["hierarchy"], ["head"], None),
        (["hierarchy"], None, None),
    ],
)
def test_a_resumed_run_with_other_analyses_is_spoken_of_epoch_by_epoch(
    before: list[str], after: list[str] | None, said: str | None, open_page: Opened, tmp_path: Path
) -> None:
    model, place = tiny.Classifier().network, str(tmp_path / "runs")
    first = quick(model, tracking_uri=place, analyses=before)
    first.measure(images(), epoch=0)
    first.close("KILLED")
    second = quick(model, tracking_uri=place, analyses=after)
    second.load_state_dict(first.state_dict())
    second.measure(images(), epoch=1)
    second.close()
    app = open_page("geometry", place)
    assert not [*app.exception, *app.warning]
    found = [each.value for each in [*app.info, *app.markdown] if "made without" in each.value]
    assert [said in each for each in found] == [True] if said else found == []


@pytest.mark.parametrize("page", PAGES)
def test_no_page_stops(open_page: Opened, runs: str, page: str) -> None:
    app = open_page(page, runs)
    assert not [*app.exception, *app.error]
    assert app.title[0].value
