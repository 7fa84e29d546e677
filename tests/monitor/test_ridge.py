"""The ridge over the epochs of a training: kept, chosen anew where it costs too much, said once."""

from __future__ import annotations

import logging
import math
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import nn

from sing_monitor.monitor import Options, Session
from sing_monitor.monitor.remarks import translator_infos
from sing_monitor.monitor.state import MonitorState
from sing_monitor.translate.ridge_curve import KeptRidge
from tests.helpers import tiny

RIDGE, SATURATION = "translator/ridge", "translator/saturation"


def monitor(state: MonitorState | None = None, **changes: Any) -> Session:
    given = {"concepts": [], "cache_dir": None, "n_images": 0}
    return Session(Options(tiny.HashSpace(), **{**given, **changes}), state=state)


def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(432, 40), nn.ReLU(), nn.Linear(40, 4))


def with_a_large_direction(model: nn.Module, factor: float) -> nn.Module:
    """The same network with features whose mean variance is another, and so its ridge."""
    changed = deepcopy(model)
    with torch.no_grad():
        changed[1].weight[0] *= factor
        changed[1].bias[0] = 0
    return changed


def measured(watch: Session, models: list[nn.Module], first: int = 0) -> list[float]:
    data = tiny.loader(tiny.Blobs(200))
    return [
        watch.measure(model, data, epoch=first + epoch, step=first + epoch)[RIDGE]
        for epoch, model in enumerate(models)
    ]


def said(caplog: pytest.LogCaptureFixture) -> int:
    return sum("chosen anew" in record.message for record in caplog.records)


def test_it_is_kept_until_it_costs_too_much_which_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "sing_monitor")
    small = network()
    slightly, large, larger = (with_a_large_direction(small, by) for by in (1.01, 1e2, 1e4))
    watch = monitor()
    found = measured(watch, [small, slightly])
    assert found[0] == found[1]
    assert said(caplog) == 0
    found += measured(watch, [large, large, larger, larger], first=2)
    assert found[2] < 0.3 * found[1]
    assert found[2] == found[3]
    assert found[4] < 0.3 * found[3]
    assert found[4] == found[5] == watch.state.ridge
    assert said(caplog) == 1


def test_a_resumed_run_decides_as_one_that_was_not_interrupted() -> None:
    models = [with_a_large_direction(network(), by) for by in (1, 30, 30, 1e3, 1e3)]
    whole = measured(monitor(), models)
    assert len(set(whole)) > 1
    first = monitor()
    found = measured(first, models[:2])
    resumed = monitor(MonitorState(**vars(first.state)))
    assert found + measured(resumed, models[2:], first=2) == whole


def test_a_ridge_of_the_user_is_kept_whatever_it_costs(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "sing_monitor")
    models = [network(), with_a_large_direction(network(), 1e4)]
    assert measured(monitor(ridge=10.0), models) == [10.0, 10.0]
    assert said(caplog) == 0


@pytest.mark.parametrize(
    ("ridge", "scalars", "lines"),
    [
        ("auto", {RIDGE: 0.1, SATURATION: 0.95}, 0),
        ("auto", {RIDGE: 0.1, SATURATION: 0.85}, 1),
        (KeptRidge(0.1), {RIDGE: 0.1, SATURATION: math.nan}, 0),
        (KeptRidge(0.1), {RIDGE: 0.2, SATURATION: 0.95}, 1),
        (KeptRidge(0.1), {RIDGE: math.nan, SATURATION: math.nan}, 0),
        (0.1, {RIDGE: 0.1, SATURATION: 0.5}, 1),
        ("auto", {}, 0),
    ],
)
def test_what_is_said_of_the_translator(ridge: Any, scalars: dict[str, float], lines: int) -> None:
    assert len(translator_infos(ridge, scalars)) == lines
