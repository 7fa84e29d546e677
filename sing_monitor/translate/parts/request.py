"""What a cross-fit is asked beside its translators: refits on either part, and probes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sing_monitor.head.geometry import HeadGeometry
from sing_monitor.translate.kernel import Kernel
from sing_monitor.translate.parts.probes import Answers, ProbeRequest, answers
from sing_monitor.translate.parts.refit import FoldFit, PartFits
from sing_monitor.translate.ridge import Solution, Statistics
from sing_monitor.translate.translator import LinearTranslator


@dataclass(frozen=True)
class PartRequest:
    """Refits and probes of a cross-fit.

    Args:
        features: (N, m).
        halves: rows of either fold.
        geometry: of the head; None: nothing is asked.
        seen: coordinates ``V_p' (f - mu)`` in its row space, (N, r); None: no refit.
        of_seen: statistics of either fold by these coordinates; none without a null space, where
            the seen part is the whole.
        probes: what probes are asked; None: nothing.
        weighed: images that translator 0 and translator 1 are fitted on and whose weight is worked
            out, (I,) each; None: of none.
    """

    features: Tensor
    halves: Sequence[Tensor]
    geometry: HeadGeometry | None
    seen: Tensor | None
    of_seen: tuple[Statistics, ...]
    probes: ProbeRequest | None
    weighed: tuple[Tensor, Tensor] | None

    @classmethod
    def of(
        cls,
        folds: Sequence[Statistics],
        features: Tensor,
        halves: Sequence[Tensor],
        geometry: HeadGeometry | None,
        seen: Tensor | None,
        probes: ProbeRequest | None,
        weighed: tuple[Tensor, Tensor] | None,
    ) -> PartRequest:
        """Work out what the folds' statistics are by coordinates in the row space."""
        of_seen: tuple[Statistics, ...] = ()
        if geometry is not None and seen is not None and geometry.null_dim > 0:
            of_seen = tuple(
                fold.of_row_space(seen, half, geometry)
                for fold, half in zip(folds, halves, strict=True)
            )
        return cls(features, halves, geometry, seen, of_seen, probes, weighed)

    def kernel(self, solution: Solution, held_out: int) -> Kernel | None:
        """How much some fitted images weigh in a fold's regression; None where it is not asked.

        Args:
            solution: of the regression on whole features.
            held_out: number of the other fold.
        """
        return (
            None if self.weighed is None else solution.kernel(self.features, self.weighed[held_out])
        )

    def answered(self, fit: Statistics, solution: Solution, held_out: int) -> PartAnswers:
        """Fit both parts on one fold, and judge them on the other.

        Args:
            fit: statistics of the fold that is fitted.
            solution: of its regression on whole features.
            held_out: number of the other fold.
        """
        parts, found, error, kernel = None, {}, math.nan, None
        if self.geometry is None:
            return PartAnswers()
        if self.seen is not None and self.of_seen:
            own, other = self.of_seen[1 - held_out], self.of_seen[held_out]
            parts = PartFits.of(solution, own, self.seen, self.geometry)
            error = other.squared_error(parts.solution.translator)
            if self.weighed is not None:
                kernel = parts.solution.kernel(self.seen, self.weighed[held_out])
        if self.probes is not None:
            rows = self.halves[held_out]
            judged = rows[torch.isin(rows, self.probes.judged)]
            whole = FoldFit(self.features, self.halves[1 - held_out], fit, solution, parts)
            found = answers(self.probes, whole, judged, self.geometry)
        if parts is None:
            return PartAnswers(answers=found)
        return PartAnswers(
            parts.solution.translator, parts.null, error, found, kernel, parts.whole_on_seen
        )


@dataclass(frozen=True)
class PartAnswers:
    """What the refits and probes of one fold say of the other one.

    Args:
        seen: refit on coordinates in the row space, (n, r); None where there is none.
        null: refit on the null part, (n, m); None where there is none.
        error_seen: ``sum |z - T_s V_p' (f - mu)|^2`` over the other fold.
        answers: of the probes, by question.
        kernel_seen: how much some fitted images weigh in the refit on coordinates.
        whole_on_seen: see :class:`PartFits`.
    """

    seen: LinearTranslator | None = None
    null: LinearTranslator | None = None
    error_seen: float = math.nan
    answers: Mapping[str, Answers] | None = None
    kernel_seen: Kernel | None = None
    whole_on_seen: Tensor | None = None
