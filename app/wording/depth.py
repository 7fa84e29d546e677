"""What the ranks of the stages say, in plain words."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sing_monitor.app.wording.text import code

# A stage that keeps less than this share of what both neighbors have is a bottleneck.
_NARROW = 0.5


def depth_reading(layers: Sequence[str], ranks: Sequence[float]) -> str:
    """In how many directions features vary at the start and at the end, as Markdown.

    Args:
        layers: names of the stages, in order.
        ranks: their effective ranks; NaN where undefined.

    Example::

        >>> print(depth_reading(["a", "b", "c"], [30.0, 3.0, 12.0])[-34:].strip())
        `` b `` is a bottleneck: about 3.
    """
    known = [(name, rank) for name, rank in zip(layers, ranks, strict=True) if math.isfinite(rank)]
    if len(known) < 2:
        return ""
    (first, start), (last, end) = known[0], known[-1]
    said = (
        f"Features vary in about {_number(start)} directions at {code(first)} and in about "
        f"{_number(end)} at {code(last)}."
    )
    middle = zip(known, known[1:], known[2:], strict=False)
    narrow = [
        stage for before, stage, after in middle if stage[1] < _NARROW * min(before[1], after[1])
    ]
    if not narrow:
        return said
    name, rank = min(narrow, key=lambda stage: stage[1])
    return f"{said} {code(name)} is a bottleneck: about {_number(rank)}."


def _number(rank: float) -> str:
    return f"{rank:.1f}" if rank < 10 and rank != round(rank) else f"{rank:.0f}"
