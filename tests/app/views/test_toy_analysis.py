"""An analysis that nobody told the app of: logged by a real run, and shown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from sing_monitor import analyses
from sing_monitor.analyses import Analysis, Observation
from sing_monitor.app.wording import metrics
from sing_monitor.findings import ColumnSpec, Findings, MetricGroup, MetricSpec, TableSpec
from tests.app.conftest import Opened
from tests.app.views.test_pages import texts, titles
from tests.helpers.finished_run import FinishedRun, train

TOY = MetricGroup("toy", "Sizes of the features")
NAMES = {"smallest": "Smallest feature", "mean": "Mean feature", "largest": "Largest feature"}


def sizes(observation: Observation) -> Findings:
    norms = observation.snapshot.features.double().norm(dim=1)
    scalars = {"smallest": norms.min(), "mean": norms.mean(), "largest": norms.max()}
    table = pd.DataFrame({"row": range(len(norms)), "size": norms.tolist()})
    return Findings({f"toy/{name}": float(norm) for name, norm in scalars.items()}, {"toy": table})


ANALYSIS = Analysis(
    "toy",
    sizes,
    metrics=tuple(
        MetricSpec(
            *(f"toy/{name}", label, "deg", "none", f"{name} of |f|", "ours", f"{label} by size."),
            group=TOY,
        )
        for name, label in NAMES.items()
    ),
    tables=(
        TableSpec(
            "toy",
            "Every feature's size",
            "An image of the probe.",
            (
                ColumnSpec("row", "", "Where the image stands in the probe."),
                ColumnSpec("size", "deg", "How long its feature is."),
            ),
        ),
    ),
)


@pytest.fixture(scope="module")
def toy_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FinishedRun]:
    """A real training with the analysis in the tuple, which stays there for the pages."""
    added = (*analyses.ANALYSES, ANALYSIS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(analyses, "ANALYSES", added)
        # What the package derives from the tuple when it is imported.
        patch.setattr(analyses, "CATALOGUE", (*ANALYSIS.metrics, *analyses.CATALOGUE))
        patch.setattr(analyses, "TABLES", {**analyses.TABLES, "toy": ANALYSIS.tables[0]})
        patch.setattr(analyses, "GROUPS", {**analyses.GROUPS, "toy": TOY})
        metrics.spec_of.cache_clear()
        yield train(tmp_path_factory.mktemp("toy"))
    metrics.spec_of.cache_clear()


def test_the_guide_explains_its_metrics_under_the_title_of_their_group(
    toy_run: FinishedRun, open_page: Opened
) -> None:
    app = open_page("guide", toy_run.uri, group=TOY.title)
    assert not app.exception
    assert TOY.title in app.get("button_group")[0].options
    assert all(label in texts(app) for label in NAMES.values())
    assert f"{len(NAMES)} metrics of {len(analyses.CATALOGUE)}" in texts(app)


def test_evolution_draws_them_one_by_one_and_as_a_group(
    toy_run: FinishedRun, open_page: Opened
) -> None:
    app = open_page("evolution", toy_run.uri)
    assert set(NAMES.values()) <= set(app.multiselect(key="metrics").options)
    assert not set(NAMES.values()) & set(titles(app))
    app = open_page("evolution", toy_run.uri, groups=TOY.title)
    assert not app.exception
    assert set(NAMES.values()) <= set(titles(app))
    assert TOY.title in [heading.value for heading in app.subheader]


def test_tables_shows_its_table_and_curves(toy_run: FinishedRun, open_page: Opened) -> None:
    app = open_page("tables", toy_run.uri, table="Every feature's size")
    assert not app.exception
    assert app.selectbox(key="table").value == "toy"
    assert "Each row is an image of the probe" in texts(app)
    epoch, step = toy_run.reader.validations()[-1]
    pd.testing.assert_frame_equal(app.dataframe[0].value, toy_run.reader.table("toy", epoch, step))
    columns = json.loads(app.dataframe[0].proto.columns)
    assert columns["size"]["help"] == "How long its feature is\\. · degrees"
    assert "This table as CSV" in [button.label for button in app.get("download_button")]
    assert TOY.title in [heading.value for heading in app.subheader]
    assert set(NAMES.values()) <= set(titles(app))


def test_the_run_logged_them_at_every_validation(toy_run: FinishedRun) -> None:
    scalars = toy_run.reader.scalars([f"toy/{name}" for name in NAMES])
    assert scalars["epoch"].tolist() == [0, 1, 2]
    assert scalars[[f"toy/{name}" for name in NAMES]].notna().all(axis=None)
    assert (scalars["toy/smallest"] < scalars["toy/largest"]).all()


def test_the_pages_know_nothing_of_it() -> None:
    folder = Path(__file__).resolve().parents[3] / "app"
    assert not [path for path in folder.rglob("*.py") if "toy" in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("page", ["runs", "classes", "geometry", "steering", "tradeoff", "images"])
def test_every_other_page_opens(page: str, toy_run: FinishedRun, open_page: Opened) -> None:
    app = open_page(page, toy_run.uri)
    assert not app.exception
    assert not app.error
