"""State that a resumed run carries over from the validations before it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from sing_monitor.alerts import Point
from sing_monitor.monitor.exchange import Outcome
from sing_monitor.monitor.validation import Moment
from sing_monitor.translate.ridge_curve import ridge_to_keep


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

    def is_due(self, moment: Moment, every_n_epochs: int) -> bool:
        """Whether a validation is to be analyzed."""
        if moment.is_rehearsal or not moment.is_training or self.last_epoch is None:
            return True
        passed = moment.epoch - self.last_epoch
        return passed == 0 or passed >= every_n_epochs

    def remember(self, epoch: int, outcome: Outcome, weight: Tensor | None) -> None:
        """Keep what the next validation needs of one that went well.

        Args:
            epoch: of the training.
            outcome: of its analysis.
            weight: of the head, (C, m), on the CPU.
        """
        self.last_epoch, self.head_weight, self.kept = epoch, weight, outcome.kept
        ridge = ridge_to_keep(outcome.scalars)
        if math.isfinite(ridge):
            self.ridge = ridge
