"""State that a resumed run carries over from the validations before it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from sing_monitor.alerts import Point


@dataclass
class MonitorState:
    """State of a monitored run, for checkpoints: plain values and tensors on the CPU.

    Args:
        ridge: rho as chosen last.
        threshold: of the hashes that belong to the probe.
        last_epoch: the last analysed epoch.
        head_weight: the head at that epoch, (C, m).
        history: the last epochs' metrics that alerts look at.
        fired: alerts by name, with the epoch in which they fired.
        tracking_run: id of the run that the option ``tracking`` made.
        kept: what the analyses of the last validation kept for the next, by name.
        weights: of the last 20 validations, as
            :meth:`~sing_monitor.capture.weight_tap.WeightTap.finish` gives them; in the first
            process alone.
    """

    ridge: float | None = None
    threshold: int | None = None
    last_epoch: int | None = None
    head_weight: Tensor | None = None
    history: list[Point] | None = None
    fired: dict[str, int] | None = None
    tracking_run: str | None = None
    kept: Mapping[str, Tensor] | None = None
    weights: Mapping[str, Any] | None = None
