"""The spectrum's chart, and the page in every state that a run can be in."""

from __future__ import annotations

import json
import math
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from streamlit.testing.v1 import AppTest

from sing_monitor.app.charts.common import RANDOM_DASH, SeriesStyle
from sing_monitor.app.charts.geometry import spectrum
from sing_monitor.findings import Findings
from tests.app.conftest import Opened, Runs, copy_of
from tests.app.stores import Store, history

SERIES = [SeriesStyle("a", "run a", "#111111", is_baseline=True)]
TITLE = "Singular values of the head"


def table() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "index": range(4),
            "singular_value": [3.0, 1.5, 1e-9, 0.0],
            "in_row_space": [True, True, False, False],
        }
    )


def values() -> pd.DataFrame:
    return table().assign(series="a", label="run a")


def specs(app: AppTest) -> dict[str, dict[str, Any]]:
    found = [json.loads(element.proto.spec) for element in app.get("vega_lite_chart")]
    return {spec["title"]["text"]: spec for spec in found}


def drawn(app: AppTest, title: str) -> pd.DataFrame:
    """The data of a chart as the browser gets them."""
    for element in app.get("vega_lite_chart"):
        spec = json.loads(element.proto.spec)
        if spec["title"]["text"] == title:
            name = spec["data"]["name"]
            sent = {each.name: each.data.data for each in element.proto.datasets}
            return pa.ipc.open_stream(sent[name]).read_pandas()
    raise KeyError(title)


def texts(app: AppTest) -> str:
    kinds = ("subheader", "caption", "info", "warning", "markdown")
    return "\n".join(str(element.value) for kind in kinds for element in app.get(kind))


def rows(spec: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = spec["datasets"][spec["data"]["name"]]
    return found


def test_values_beyond_the_rank_are_hollow_and_grey() -> None:
    spec = spectrum(values(), "epoch 2", False, SERIES).to_dict()
    line, dots, hollow = spec["layer"]
    assert line["encoding"]["strokeDash"]["scale"]["range"] == [[6, 4]]
    assert dots["encoding"]["color"]["scale"]["range"] == ["#111111"]
    assert dots["transform"] == [{"filter": "datum.in_row_space"}]
    assert hollow["transform"] == [{"filter": "!datum.in_row_space"}]
    assert hollow["mark"]["filled"] is False
    assert hollow["encoding"]["color"] == {"value": "#757b85"}
    assert [row["number"] for row in rows(spec)] == [1, 2, 3, 4]


def test_a_logarithmic_axis_leaves_zeros_out() -> None:
    spec = spectrum(values(), "epoch 2", True, SERIES).to_dict()
    assert spec["layer"][0]["encoding"]["y"]["scale"]["type"] == "log"
    assert [row["singular_value"] for row in rows(spec)] == [3.0, 1.5, 1e-9]


@pytest.fixture(scope="module")
def store(filled: tuple[Store, Runs], tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A copy of the common database: the runs that are added here are seen here alone."""
    return copy_of(filled[0], tmp_path_factory.mktemp("geometry"))


@pytest.fixture(scope="module")
def with_spectrum(store: Store) -> str:
    """A run with singular values at every epoch."""
    found = Findings(tables={"spectrum": table()})
    return store.run("with spectrum", history(3), tables=found, experiment="spectrum")


def test_the_page_shows_curves_and_the_spectrum(open_page: Opened, with_spectrum: str) -> None:
    app = open_page("geometry", runs=[with_spectrum], epoch="1", log="true")
    assert not app.exception
    found = specs(app)
    assert {"Null energy, centered", "NC1 within over between"} <= set(found)
    assert "epoch 1" in str(found[TITLE]["title"]["subtitle"])
    assert len(drawn(app, TITLE)) == 3
    assert "1 value at 0 left out" in texts(app)
    app.toggle(key="log").set_value(False).run()
    app.select_slider(key="epoch").set_value(2).run()
    assert len(drawn(app, TITLE)) == 4
    assert "epoch 2" in str(specs(app)[TITLE]["title"]["subtitle"])


def test_centered_null_energy_stands_before_the_random_subspace(
    open_page: Opened, with_spectrum: str
) -> None:
    found = specs(open_page("geometry", runs=[with_spectrum]))
    dotted = f'"strokeDash": {RANDOM_DASH}'
    assert dotted in json.dumps(found["Null energy, centered"])
    assert dotted not in json.dumps(found["NC1 within over between"])


def test_what_never_changes_is_a_figure(
    open_page: Opened, store: Store, with_spectrum: str
) -> None:
    wide = [each | {"head/null_dim": 502.0} for each in history(2)]
    grown = [each | {"head/null_dim": 100.0 + epoch} for epoch, each in enumerate(history(2))]
    other, grows = (
        store.run(name, values, experiment="spectrum")
        for name, values in (("wide head", wide), ("grows", grown))
    )
    app = open_page("geometry", runs=[with_spectrum])
    assert {figure.label: figure.value for figure in app.metric} == {"Null dimension": "118"}
    assert "Null dimension" not in specs(app)
    app = open_page("geometry", runs=[with_spectrum, other])
    assert not app.metric
    (said,) = (each.value for each in app.markdown if "502" in each.value)
    assert "118" in said
    assert "Null dimension" in specs(open_page("geometry", runs=[grows, other]))


@pytest.mark.parametrize("picked", ["healthy shortcut", "nan", "running markup other_space"])
def test_runs_without_a_spectrum_keep_their_curves(
    picked: str, open_page: Opened, runs: Runs
) -> None:
    app = open_page("geometry", runs=[getattr(runs, name) for name in picked.split()])
    assert not app.exception
    assert not app.error
    assert "Null energy, centered" in specs(app)
    assert TITLE not in specs(app)
    assert "no singular values" in texts(app)


def test_a_metric_that_was_never_logged_says_so(open_page: Opened, runs: Runs) -> None:
    app = open_page("geometry", runs=[runs.healthy])
    assert "No number so far" in texts(app)
    assert "Condition of the head" not in specs(app)


def test_one_epoch_says_so(open_page: Opened, runs: Runs) -> None:
    app = open_page("geometry", runs=[runs.one_epoch])
    assert not app.exception
    assert "drawn as a point" in texts(app)


def test_a_run_without_validations_says_so(open_page: Opened, runs: Runs) -> None:
    app = open_page("geometry", runs=[runs.no_validation])
    assert not app.exception
    assert "No validation" in texts(app)
    assert not specs(app)


def test_a_spectrum_of_unknown_values_says_so(open_page: Opened, store: Store) -> None:
    found = Findings(tables={"spectrum": table().assign(singular_value=math.nan)})
    run = store.run("unknown spectrum", history(1), tables=found, experiment="spectrum")
    app = open_page("geometry", runs=[run])
    assert not app.exception
    assert TITLE not in specs(app)
    assert f"**{TITLE}**" in texts(app)
