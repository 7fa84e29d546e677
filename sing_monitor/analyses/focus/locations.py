"""Importance of the locations of feature maps, and how evenly it is spread.

FBI (Levi, Gilboa, arXiv 2403.07706) and Critical Points++ (Levi, Gilboa), without gradients.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from sing_monitor.head.geometry import HeadGeometry
from sing_monitor.row_blocks import NOISE

Kind = Literal["soft", "norm", "discrete"]
Part = Literal["all", "seen", "null"]

# A smaller share of the importance of an image is rounding.
_EPS = 1e-6
_TENTH = 0.1
# Of maps in double precision at a time: few enough to stay in a processor's cache.
_NUMBERS = 2**16


def importance(maps: Tensor | ArrayLike, kind: Kind = "soft") -> Tensor:
    """Importance of every location of feature maps, without gradients.

    Args:
        maps: (N, C, H, W), of any floating dtype.
        kind: ``"soft"``: L1 norm of the feature vector; ``"norm"``: its L2 norm; ``"discrete"``:
            number of channels whose largest value stands there. A channel that is the same
            everywhere stands nowhere, and of equal largest values the first counts.

    Returns:
        (N, H, W) float64, at least 0.

    Raises:
        ValueError: for maps of another shape, integers, no channel or location, or an unknown kind.

    Example::

        >>> maps = torch.tensor([[[[1.0, 5.0]], [[-4.0, 0.0]], [[3.0, 9.0]]]])
        >>> importance(maps), importance(maps, "discrete")
        (tensor([[[ 8., 14.]]], dtype=torch.float64), tensor([[[0., 3.]]], dtype=torch.float64))
    """
    maps = torch.as_tensor(maps)
    if maps.ndim != 4 or not maps.is_floating_point() or 0 in maps.shape[1:]:
        raise ValueError(
            "maps must be (N, C, H, W) floating point, with a channel and a location at least; got "
            f"{tuple(maps.shape)} {maps.dtype}."
        )
    if kind not in get_args(Kind):
        raise ValueError(f"kind={kind!r}: expected 'soft', 'norm' or 'discrete'.")
    found = [_IMPORTANCE[kind](some.double().flatten(2)) for some in few_at_a_time(maps)]
    return torch.cat(found).view(len(maps), *maps.shape[2:])


def few_at_a_time(maps: Tensor) -> tuple[Tensor, ...]:
    """Maps (N, ...) in pieces of a few images: copies of all in double precision are large."""
    return maps.split(max(1, _NUMBERS // max(maps[:1].numel(), 1)))


def _l1(images: Tensor) -> Tensor:
    return images.abs().sum(dim=1)


def _l2(images: Tensor) -> Tensor:
    return torch.linalg.vector_norm(images, dim=1)


def _wins(images: Tensor) -> Tensor:
    """Number of channels (N, C, P) whose largest value stands at each location, (N, P)."""
    varies = (images.amax(dim=2) > images.amin(dim=2)).double()
    found = images.new_zeros(len(images), images.shape[2])
    return found.scatter_add_(1, images.argmax(dim=2), varies)


_IMPORTANCE = {"soft": _l1, "norm": _l2, "discrete": _wins}


def normalized_entropy(importance: Tensor | ArrayLike) -> Tensor:
    """Entropy of the importance over locations, ``-sum p log p / log P``.

    p is the importance over its sum; shares below 1e-6 count as 0.

    Args:
        importance: of P locations, (N, H, W), at least 0.

    Returns:
        (N,) float64: 1 where it is spread evenly, 0 where it stands on one location; NaN for a
        single location, and where it is 0 everywhere or not finite.

    Raises:
        ValueError: if importance is not (N, H, W), or is negative.

    Example::

        >>> normalized_entropy(torch.tensor([[[1.0, 1.0]], [[0.0, 3.0]], [[0.0, 0.0]]]))
        tensor([1., 0., nan], dtype=torch.float64)
    """
    p = _shares(torch.as_tensor(importance))
    p = p.where(~(p < _EPS), 0)
    p = p / p.sum(dim=1, keepdim=True)
    if p.shape[1] < 2:
        return p.new_full((len(p),), math.nan)
    return torch.special.entr(p).sum(dim=1) / math.log(p.shape[1])


def concentration(importance: Tensor) -> Tensor:
    """Share of the importance on the most important tenth of the locations.

    Where a tenth is no whole number of locations, the next one counts in part.

    Args:
        importance: (N, H, W), at least 0.

    Returns:
        (N,) float64, 0.1 (spread evenly) to 1; NaN as for :func:`normalized_entropy`.

    Raises:
        ValueError: as :func:`normalized_entropy` does.
    """
    p = _shares(importance).sort(dim=1, descending=True).values
    locations = p.shape[1]
    if locations < 2:
        return p.new_full((len(p),), math.nan)
    counted = (_TENTH * locations - torch.arange(locations, dtype=p.dtype)).clamp(0, 1)
    return (p * counted).sum(dim=1)


def uncritical(importance: Tensor) -> Tensor:
    """Which locations of images count for little: the adaptive mask of Critical Points++.

    The ``floor(H P)`` least important of P locations, H the normalized entropy; the rest, about a
    share 1 - H, are the critical ones. So an even map has no critical location. The rule asks how
    evenly the importance is spread, not where it ends: of a map that stands on one location alone,
    H = 0, all locations are critical. Of equal ones the first are the less important.

    Args:
        importance: (N, H, W), at least 0.

    Returns:
        (N, H, W) bool; False everywhere where the entropy is NaN.

    Raises:
        ValueError: as :func:`normalized_entropy` does.

    Example::

        >>> uncritical(torch.tensor([[[1.0, 1.0, 1.0, 9.0]], [[1.0, 1.0, 1.0, 1.0]]]))
        tensor([[[ True,  True, False, False]],
        <BLANKLINE>
                [[ True,  True,  True,  True]]])
    """
    flat = importance.flatten(1)
    # An entropy of 1 may come out a rounding below it.
    number = (normalized_entropy(importance) * flat.shape[1] + _EPS).floor().nan_to_num(0)
    rank = flat.argsort(dim=1, stable=True).argsort(dim=1)
    return (rank < number[:, None]).view_as(importance)


def critical_share(maps: Tensor) -> Tensor:
    """Share of the locations at which at least one channel is largest.

    Args:
        maps: (N, C, H, W).

    Returns:
        (N,) float64, above 0 to 1; NaN for a single location, and where no channel varies.

    Raises:
        ValueError: as :func:`importance` does.
    """
    share = (importance(maps, "discrete") > 0).double().mean(dim=(1, 2))
    return share.where(share > 0, math.nan)


def split_norms(deviations: Tensor, geometry: HeadGeometry) -> tuple[Tensor, Tensor]:
    """Norms ``|P_p h|`` and ``|P_n h|`` of what the head sees and does not see at each location.

    Args:
        deviations: h, maps about a center, (N, m, H, W).
        geometry: of the head.

    Returns:
        Seen and null, each (N, H, W) float64.
    """
    basis, found = geometry.row_basis.double(), []
    for some in few_at_a_time(deviations):
        h = some.double().flatten(2)
        energy = h.square().sum(dim=1)
        # A head without a null space sees all; rounding must not say otherwise.
        of_seen = (basis.T @ h).square().sum(dim=1) if geometry.null_dim else energy
        parts = torch.stack([of_seen, energy - of_seen])
        # A difference of squares, and a product with a basis, leave rounding.
        found.append(parts.where(parts > NOISE * energy.amax(dim=1, keepdim=True), 0).sqrt())
    seen, null = torch.cat(found, dim=1).view(2, len(deviations), *deviations.shape[2:])
    return seen, null


def located(deviations: Tensor, geometry: HeadGeometry | None) -> dict[Part, Tensor]:
    """Importance of every location by part of the features.

    Args:
        deviations: maps about a center, (N, m, H, W).
        geometry: of a head that reads their mean; None for another head, whose parts are unknown.

    Returns:
        ``all``: the soft importance; ``seen`` and ``null``: the norms of both parts. Each
        (N, H, W) float64.
    """
    if geometry is None:
        return {"all": importance(deviations)}
    seen, null = split_norms(deviations, geometry)
    return {"all": importance(deviations), "seen": seen, "null": null}


def overlap(seen: Tensor, null: Tensor) -> Tensor:
    """Cosine between two maps of norms, (N, H, W) each; (N,), 0 to 1; NaN where one is 0."""
    a, b = seen.flatten(1), null.flatten(1)
    if a.shape[1] < 2:
        return a.new_full((len(a),), math.nan)
    lengths = a.norm(dim=1) * b.norm(dim=1)
    return ((a * b).sum(dim=1) / lengths.where(lengths > 0, math.nan)).clamp(max=1)


def _shares(importance: Tensor) -> Tensor:
    """Importance over its sum, (N, P) float64; NaN where there is none, or it is not finite."""
    if importance.ndim != 3:
        raise ValueError(f"importance must be (N, H, W); got {tuple(importance.shape)}.")
    if (importance < 0).any():
        raise ValueError(
            "importance holds negative values; sing_monitor.analyses.focus.importance makes it "
            "of feature maps."
        )
    flat = importance.double().flatten(1)
    # Sums of very large numbers would overflow.
    largest = flat.amax(dim=1, keepdim=True) if flat.shape[1] else flat.new_zeros(len(flat), 1)
    flat = flat / largest.where(largest > 0, math.nan)
    return flat / flat.sum(dim=1, keepdim=True)
