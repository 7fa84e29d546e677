"""One fold's regression on whole features, and on what a head sees of them and what it does not.

All three have the same penalty lambda, so that a part is read as the whole is, and what they
explain can be compared (commonality analysis: Newton and Spurrell 1967; Mood 1971).
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from sing_monitor.head.geometry import HeadGeometry
from sing_monitor.translate.ridge import RidgeSolution, Solution, Statistics
from sing_monitor.translate.ridge_parts import NullInverse
from sing_monitor.translate.translator import LinearTranslator


@dataclass(frozen=True)
class PartFits:
    """The regressions of a fold on the two parts of its features.

    Args:
        seen: coordinates of all images in the head's row space, (N, r).
        statistics: of the fold by these coordinates.
        solution: of the regression on them.
        null_inverse: of the regression on the null part, in the primal form and for a head that
            sees anything; else None.
        null: translator of the null part, of whole features (n, m).
        whole_on_seen: what the translator of whole features makes of coordinates in the row space,
            ``A V_p``, (n, r); None in the dual form.
    """

    seen: Tensor
    statistics: Statistics
    solution: Solution
    null_inverse: NullInverse | None
    null: LinearTranslator
    whole_on_seen: Tensor | None

    @classmethod
    def of(
        cls, whole: Solution, statistics: Statistics, seen: Tensor, geometry: HeadGeometry
    ) -> PartFits:
        """Fit both parts under the lambda of a solution.

        Args:
            whole: of the fold's regression on whole features.
            statistics: of the fold by coordinates in the row space.
            seen: these coordinates of all images, (N, r).
            geometry: of the head.
        """
        inverse = on_seen = None
        if isinstance(whole, RidgeSolution) and geometry.rank > 0:
            inverse, on_seen = whole.null_inverse(geometry), whole.on_seen_part(geometry)
            null = whole.on_null_part(geometry, inverse, on_seen)
        else:
            null = whole.on_null_part(geometry)
        return cls(seen, statistics, statistics.solve_at(whole.shift), inverse, null, on_seen)


@dataclass(frozen=True)
class FoldFit:
    """The regressions of one fold; they hold an m x m factor, and live as long as it is needed.

    Args:
        features: of all images, (N, m).
        rows: indices of the fold's images.
        whole: statistics of the fold.
        solution: of its regression.
        parts: the regressions on both parts; None without a null space, where the head sees all.
    """

    features: Tensor
    rows: Tensor
    whole: Statistics
    solution: Solution
    parts: PartFits | None
