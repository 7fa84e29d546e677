"""One row of the sweep: a model, the layer that gives its answer, and what the monitor said."""

from __future__ import annotations

import gc
from dataclasses import dataclass, field

from tests.sweep.case import Case, NotBuiltError
from tests.sweep.truth import find_truth
from tests.sweep.verdict import WAYS, Outcome, Verdict, judge, shape_of

_LARGE = 20_000_000


@dataclass(frozen=True)
class Row:
    """What came out for one architecture.

    Args:
        library: of the case.
        key: of the case.
        model: the architecture that was run.
        heads: the layers whose W f + b is the answer.
        shape: "C x m" of the first of them.
        is_zero: whether the model's own initialization answers nothing yet.
        outcomes: by way of asking.
        reason: why it was not run; empty if it was.
    """

    library: str
    key: str
    model: str = ""
    heads: tuple[str, ...] = ()
    shape: str = ""
    is_zero: bool = False
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    reason: str = ""

    @property
    def faults(self) -> dict[str, Outcome]:
        """The ways in which the monitor failed."""
        return {way: each for way, each in self.outcomes.items() if each.verdict.is_fault}

    @property
    def worst(self) -> Outcome | None:
        """The outcome that is told where there is room for one."""
        order = list(Verdict)
        return max(self.outcomes.values(), key=lambda each: order.index(each.verdict), default=None)


def run(case: Case) -> Row:
    """Build one model, find the truth, and ask the monitor in every way."""
    try:
        name, model, images = case.build()
    except NotBuiltError as error:
        return Row(case.library, case.key, reason=str(error))
    try:
        truth = find_truth(model, images)
        outcomes = {way: judge(way, model, images, truth) for way in WAYS}
        shape = shape_of(model, truth.heads[0]) if truth.heads else ""
        return Row(case.library, case.key, name, truth.heads, shape, truth.is_zero, outcomes)
    finally:
        # Models hold themselves in cycles; a full collection takes longer than a small one's turn.
        is_large = sum(parameter.numel() for parameter in model.parameters()) > _LARGE
        del model
        if is_large:
            gc.collect()
