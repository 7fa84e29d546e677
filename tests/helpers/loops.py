"""Loops without a trainer: a validation, and a training of a few epochs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sing_monitor import Monitor
from sing_monitor.monitor import Watch
from tests.helpers import tiny

# It differs from run to run.
APART = ("monitor/seconds",)


def monitor(model: nn.Module, **changes: Any) -> Monitor:
    """A monitor of the tiny space that reports every fault, unless told otherwise."""
    given = {"space": tiny.HashSpace(), "cache_dir": None, "concepts": ["red", "striped"]}
    given |= {"n_maps": 8, "on_error": "raise"}
    return Monitor(model, **{**given, **changes})


def quick(model: nn.Module, **changes: Any) -> Monitor:
    """A monitor that measures little, without a space; a fault is a warning."""
    given = {"space": None, "n_maps": 0, "n_weights": 0, "on_error": "warn"}
    return Monitor(model, **{**given, **changes})


def images() -> Any:
    """The validation loader."""
    return tiny.loader(tiny.Blobs())


def validate(model: Callable[[Any], Tensor], loader: Any, watch: Watch | None) -> float:
    """Mean loss over a loader, as any script has it, with one line for the watch."""
    losses = []
    for batch in loader:
        inputs, labels = batch[:2]
        losses.append(float(cross_entropy(model(inputs), labels)))
        if watch is not None:
            watch.add(inputs, labels)
    return sum(losses) / len(losses)


def watched(
    watching: Monitor, model: nn.Module, epoch: int = 0, loader: Any = None, **given: Any
) -> dict[str, float]:
    """Scalars of one validation in a loop of one's own."""
    model.eval()
    with watching.epoch(epoch, **given) as watch, torch.no_grad():
        validate(model, loader or images(), watch)
    return watch.scalars


def same(one: Mapping[str, float], other: Mapping[str, float], rel: float = 0.0) -> bool:
    """Whether two validations gave the same metrics; the names of those that differ fail."""
    assert one.keys() == other.keys()
    differing = [
        f"{key}: {one[key]} and {other[key]}"
        for key in one.keys() - set(APART)
        if not math.isclose(one[key], other[key], rel_tol=rel, abs_tol=rel)
        and not (math.isnan(one[key]) and math.isnan(other[key]))
    ]
    assert not differing, differing
    return bool(one)
