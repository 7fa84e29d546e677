"""The ridge over the epochs of a training: kept, chosen anew where it costs too much, said once."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from torch import nn

from sing_monitor.monitor import Monitor, Options
from sing_monitor.monitor.remarks import translator_infos
from sing_monitor.monitor.state import MonitorState
from sing_monitor.translate.ridge_curve import KeptRidge
from tests.helpers import tiny

RIDGE = "translator/ridge"


def monitor(state: MonitorState | None = None, **changes: Any) -> Monitor:
    given = {"concepts": [], "cache_dir": None, "n_images": 0}
    return Monitor(Options(tiny.HashSpace(), **{**given, **changes}), state=state)


def measured(watch: Monitor, model: nn.Module, epoch: int) -> dict[str, float]:
    return watch.measure(model, tiny.loader(tiny.Blobs(300)), epoch=epoch, step=epoch)


def collapsed(model: nn.Module) -> nn.Module:
    """The same network with one large direction in its features, so that another ridge is best."""
    with torch.no_grad():
        model[-3].weight[0] *= 300
    return model
