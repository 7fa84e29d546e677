"""Runs that were made without a semantic space: every page opens, and says what it lacks."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd
import pytest

from sing_monitor.app.wording import metrics
from sing_monitor.findings import Findings
from tests.app.conftest import Opened, Runs, copy_of
from tests.app.stores import Store, plausible
from tests.app.views.test_pages import OF_RUNS, texts, titles

OF_SCORES = ("classes", "concepts", "images", "explain", "steering", "tradeoff")
SENTENCE = "made without a semantic space"
TAGS = {"reference": "none", "space": "none"}


def of_head(epoch: int) -> Mapping[str, float]:
    """What a run without a space logs: nothing that is measured in one."""
    groups = ("head/", "collapse/", "monitor/")
    logged = {key: value for key, value in plausible(epoch).items() if key.startswith(groups)}
    return {**logged, "head/condition": 3.0, "collapse/null_share_between": 0.02 + 0.01 * epoch}


@pytest.fixture(scope="module")
def store(filled: tuple[Store, Runs], tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A copy of the common database: the runs that are added here are seen here alone."""
    return copy_of(filled[0], tmp_path_factory.mktemp("without_space"))


@pytest.fixture(scope="module")
def headless(store: Store) -> str:
    """A run whose only table is that of the singular values."""
    spectrum = pd.DataFrame(
        {"index": [0, 1], "singular_value": [3.0, 1.5], "in_row_space": [True, True]}
    )
    history = [of_head(epoch) for epoch in range(4)]
    tables = Findings({}, {"spectrum": spectrum})
    return store.run("no space", history, experiment="heads", tags=TAGS, tables=tables)


@pytest.fixture(scope="module")
def only(empty_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A database whose only run has no space, no table and, of the tags, the reference alone."""
    only = copy_of(empty_store, tmp_path_factory.mktemp("only_without_space"))
    only.run("alone", [of_head(epoch) for epoch in range(2)], tags={"reference": "none"})
    return only


@pytest.mark.parametrize("page", [*OF_RUNS, "tables", "guide"])
def test_every_page_opens(page: str, open_page: Opened, headless: str, only: Store) -> None:
    for app in (open_page(page, runs=[headless]), open_page(page, only.uri)):
        assert not app.exception
        assert not app.error
        assert not app.warning
        assert (SENTENCE in "".join(info.value for info in app.info)) == (page in OF_SCORES)


@pytest.mark.parametrize("page", OF_SCORES)
def test_a_page_of_scores_says_what_to_do(page: str, open_page: Opened, headless: str) -> None:
    (info,) = open_page(page, runs=[headless]).info
    assert info.value.startswith("no space was made without")
    assert "train again with a space" in info.value
    assert "Geometry and Evolution" in info.value


@pytest.mark.parametrize("page", ["steering", "tradeoff"])
def test_other_picked_runs_are_shown(
    page: str, open_page: Opened, headless: str, runs: Runs
) -> None:
    app = open_page(page, runs=[headless, runs.healthy])
    assert not app.exception
    assert SENTENCE in app.info[0].value
    # Its absent scores compare with nothing: no warning of different references.
    assert not app.warning
    legends = [text.value for text in app.markdown if "data:image" in text.value]
    assert all("no space" not in legend for legend in legends)


def test_the_table_of_runs_shows_the_head(open_page: Opened, only: Store) -> None:
    app = open_page("runs", only.uri)
    assert [metric.label for metric in app.metric] == [
        "Null dimension",
        "Null energy, centered",
        metrics.label("collapse/null_share_between"),
        "Accuracy",
    ]
    assert "The head cannot see" in texts(app)
    assert "a random subspace holds 92 %" in texts(app).replace("\\", "")
    (row,) = app.dataframe[0].value.to_dict("records")
    assert row["head/null_dim last"] == 118.0
    assert row["head/null_energy_centered last"] == pytest.approx(
        of_head(1)["head/null_energy_centered"]
    )
    assert not [column for column in row if column.startswith("sing/")]


def test_beside_runs_with_scores_both_have_columns(
    open_page: Opened, headless: str, runs: Runs
) -> None:
    table = open_page("runs", runs=[headless, runs.healthy]).dataframe[0].value.set_index("run")
    assert math.isnan(table.loc["no space", "sing/retention last"])
    assert table.loc["no space", "head/null_dim last"] == 118.0
    assert table.loc["healthy", "sing/retention last"] > 0


def test_evolution_shows_what_probes_read_of_attributes(
    open_page: Opened, store: Store, runs: Runs
) -> None:
    known = {f"attribute/ink_probe_{part}": 0.5 for part in ("hidden", "whole", "seen", "null")}
    probed = {**known, "attribute/paper_probe_seen": math.nan, "probe/class_hidden": 0.1}
    history = [{**of_head(epoch), **probed} for epoch in range(2)]
    run = store.run("probed", history, experiment="heads", tags={**TAGS, "space": "unlike"})
    app = open_page("evolution", store.uri, runs=[run])
    shown = [title for title in titles(app) if "ink" in title]
    assert shown == [metrics.label(key) for key in known if key.endswith(("hidden", "seen"))]
    assert not [title for title in titles(app) if "paper" in title]
    assert metrics.needs_space("attribute/ink_retention_seen")
    assert not metrics.needs_space("attribute/ink_probe_seen")


def test_evolution_begins_with_the_head(open_page: Opened, headless: str, runs: Runs) -> None:
    shown = titles(open_page("evolution", runs=[headless]))
    assert "Null energy, centered" in shown
    assert "NC1" in " ".join(shown)
    assert not [title for title in shown if title.startswith(("AS", "IS"))]
    both = titles(open_page("evolution", runs=[headless, runs.healthy]))
    assert "AS toward the true class, centered" in both
