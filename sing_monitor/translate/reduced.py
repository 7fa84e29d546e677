"""A snapshot in the few directions that its images and its head span.

A few images and classes span a small part of thousands of features. Lengths and angles there are
those of the coordinates in an orthonormal basis, so every analysis gives the same numbers from the
coordinates, in a time that hardly depends on the number of features.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property

import torch
from torch import Tensor

from sing_monitor.head.geometry import HeadGeometry
from sing_monitor.row_blocks import is_finite
from sing_monitor.snapshot import Snapshot

# So many times more features than directions make up for the basis, and of more directions than
# that its cost, their square, is more than what it saves.
_FEWER = 4
_MOST = 768


@dataclass(frozen=True)
class Span:
    """Directions among the features, and one more for all that lies outside them.

    Args:
        basis: orthonormal columns Q, (m, d) float64.
    """

    basis: Tensor

    @property
    def feature_dim(self) -> int:
        """Number of features m."""
        return len(self.basis)

    def coordinates(self, x: Tensor) -> Tensor:
        """Vectors (..., m) as (Q'x, |x - QQ'x|), (..., d + 1) float64.

        Products with vectors of the span stay as they are, and so do lengths.
        """
        x = x.double()
        inside = x @ self.basis
        left = x.square().sum(dim=-1) - inside.square().sum(dim=-1)
        return torch.cat([inside, left.clamp(min=0).sqrt()[..., None]], dim=-1)


@dataclass(frozen=True, kw_only=True)
class ReducedSnapshot(Snapshot):
    """A snapshot whose weight and features are coordinates in a span, float64.

    Args:
        whole: the snapshot itself.
        span: what the coordinates stand for.
    """

    whole: Snapshot
    span: Span

    @cached_property
    def geometry(self) -> HeadGeometry:
        """Row space in coordinates; the null space is that of the span and of what is outside."""
        whole = self.whole.geometry
        basis = self.span.basis.T @ whole.row_basis.to(self.span.basis)
        return HeadGeometry(
            torch.cat([basis, basis.new_zeros(1, whole.rank)]), whole.singular_values
        )

    @cached_property
    def predictions(self) -> Tensor:
        """Those of the snapshot itself: rounding may decide between two equal logits."""
        return self.whole.predictions


def reduced(snapshot: Snapshot) -> Snapshot:
    """The snapshot in coordinates, where that is worth it; else, or with NaN, the snapshot."""
    classes, features = snapshot.weight.shape
    if not is_worthwhile(len(snapshot), classes, features):
        return snapshot
    if not (is_finite(snapshot.features) and is_finite(snapshot.weight)):
        return snapshot
    vectors = torch.cat([snapshot.features.double(), snapshot.weight.double()])
    # The coordinates of the rows of X are the columns of R in X' = Q R.
    basis, columns = torch.linalg.qr(vectors.T)
    coordinates, weight = (
        torch.cat([part.T, part.new_zeros(part.shape[1], 1)], dim=1)
        for part in columns.split([len(snapshot), len(snapshot.weight)], dim=1)
    )
    given = {field.name: getattr(snapshot, field.name) for field in fields(Snapshot)}
    parts = given | {"features": coordinates, "weight": weight}
    return ReducedSnapshot(**parts, whole=snapshot, span=Span(basis))


def is_worthwhile(samples: int, classes: int, feature_dim: int) -> bool:
    """Whether coordinates are cheaper than the features.

    Args:
        samples: N.
        classes: C.
        feature_dim: m.
    """
    directions = samples + classes
    return samples > 0 and directions <= _MOST and _FEWER * directions <= feature_dim


def whole(snapshot: Snapshot) -> Snapshot:
    """The snapshot that a reduced one stands for; any other is its own."""
    return snapshot.whole if isinstance(snapshot, ReducedSnapshot) else snapshot


def feature_dim(snapshot: Snapshot) -> int:
    """Number of features m, also of a reduced snapshot."""
    return whole(snapshot).weight.shape[1]


def in_its_coordinates(snapshot: Snapshot, vectors: Tensor) -> Tensor:
    """Vectors among the features, (..., m), as the snapshot's own are given."""
    return snapshot.span.coordinates(vectors) if isinstance(snapshot, ReducedSnapshot) else vectors
