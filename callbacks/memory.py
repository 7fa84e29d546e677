"""What a resumed run must know of the validations before it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass
class Memory:
    """What a resumed run must know: plain values and one tensor on the CPU.

    Args:
        ridge: rho as chosen at the first analysed epoch.
        threshold: of the hashes that belong to the probe.
        last_epoch: the last analysed epoch.
        head_weight: the head at that epoch, (C, m).
    """

    ridge: float | None = None
    threshold: int | None = None
    last_epoch: int | None = None
    head_weight: Tensor | None = None
