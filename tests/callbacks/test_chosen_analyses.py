"""Choice of analyses: what is left out is neither captured nor logged, and the rest is the same."""

from __future__ import annotations

from typing import Any

import pytest

from sing_monitor import analyze
from sing_monitor.alerts import Alert, above
from sing_monitor.analyses import ANALYSES, Analysis
from sing_monitor.analyses.monitor_metrics import MONITOR_METRICS
from sing_monitor.errors import SetupError
from sing_monitor.findings import expand
from sing_monitor.monitor.options import Options
from sing_monitor.offline.analyze import AnalyzeOptions
from sing_monitor.tracking import RunReader, list_runs
from tests.helpers import tiny

OWN = Alert("mine", (above("head/rank", 3),), "Look.")
LEFT_OUT = {
    "embeddings": ("space", None),
    "maps": ("n_maps", 0),
    "weights": ("n_weights", 0),
    "stages": ("layers", False),
}


def chosen_analyses(*choices: str) -> list[Analysis]:
    """Without the parts of others that read in the semantic space of ``sing``."""
    return [
        each
        for each in ANALYSES
        if each.choice in choices and ("sing" in choices or "embeddings" not in each.needs)
    ]


@pytest.mark.parametrize(
    ("chosen", "captured"),
    [
        (["collapse", "head"], {"labels"}),
        (["sing"], {"labels", "embeddings"}),
        (["focus"], {"labels", "maps"}),
        (["dynamics"], {"labels", "weights"}),
        (["layers"], {"labels", "stages"}),
        (["sing", "hierarchy", "similarity"], {"labels", "embeddings", "maps"}),
    ],
)
def test_what_no_analysis_needs_is_not_captured(chosen: list[str], captured: set[str]) -> None:
    options = Options(analyses=chosen, layers=True)
    assert options.captured == captured
    for need, (name, off) in LEFT_OUT.items():
        assert (getattr(options, name) == off) is (need not in captured)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"analyses": "sing"}, "expected a list out of sing, head"),
        ({"analyses": []}, "expected a list out of sing, head"),
        ({"analyses": ["colapse"]}, "Did you mean 'collapse'"),
        ({"analyses": [3]}, "no analysis 3. There are sing"),
        ({"analyses": ["steer"]}, "Add 'sing'"),
        ({"analyses": ["sing", "steer"], "space": None}, "by space=None. Leave 'steer' out"),
        ({"analyses": ["focus"], "n_maps": 0}, "feature maps, and there is none by n_maps=0"),
        ({"analyses": ["dynamics"], "n_weights": 0}, "and there is none by n_weights=0"),
        ({"analyses": ["head"], "alerts": ["class_hidden"]}, "watch the analysis 'sing'"),
        ({"analyses": ["sing"], "alerts": [OWN]}, "'head/rank', which this run does not log"),
    ],
)
def test_a_choice_that_cannot_be_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(SetupError, match=said):
        Options(**given)


def test_one_state_of_a_model_has_no_dynamics() -> None:
    with pytest.raises(SetupError, match=r"there is none\. Leave 'dynamics' out"):
        AnalyzeOptions(analyses=["dynamics"])


@pytest.fixture(
    scope="module", params=[("sing",), ("collapse", "dynamics"), ("hierarchy",)], ids=str
)
def chosen(request: pytest.FixtureRequest) -> tuple[str, ...]:
    return request.param


@pytest.fixture(scope="module")
def run(chosen: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> RunReader:
    folder = tmp_path_factory.mktemp("chosen")
    monitor = tiny.callback(tracking=f"{folder}/runs", analyses=chosen)
    tiny.trainer(folder, monitor, max_epochs=1).fit(
        tiny.Classifier(), tiny.loader(tiny.Blobs(32)), tiny.loader(tiny.Blobs(40, seed=1))
    )
    (run,) = list_runs(f"{folder}/runs")["run_id"]
    return RunReader(f"{folder}/runs", run)


def test_a_run_holds_the_chosen_analyses_alone(run: RunReader, chosen: tuple[str, ...]) -> None:
    assert run.config()["analyses"] == [*chosen]
    logged = set(run.scalars()) - {"epoch", "global_step", "step", "timestamp"}
    specs = [spec for each in chosen_analyses(*chosen) for spec in each.metrics]
    assert logged == set(expand([*specs, *MONITOR_METRICS]))
    stored = {name for validation in run.validations() for name in run.tables(*validation)}
    tables = {spec.name for each in chosen_analyses(*chosen) for spec in each.tables}
    # Modes need more validations than one.
    assert stored == tables - {"modes", "mode_curves", "mode_weights"}


def test_the_numbers_are_those_of_all_analyses() -> None:
    model, images = tiny.Classifier(), tiny.loader(tiny.Blobs(40, seed=1))
    everything = analyze(model, images, tiny.HashSpace(), cache_dir=None)
    some = analyze(model, images, tiny.HashSpace(), cache_dir=None, analyses=["sing", "layers"])
    assert some.scalars.keys() < everything.scalars.keys()
    assert {key: everything.scalars[key] for key in some.scalars} == pytest.approx(
        dict(some.scalars), rel=0, abs=0, nan_ok=True
    )
    assert some.snapshot.maps is None
