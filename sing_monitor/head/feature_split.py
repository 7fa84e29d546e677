"""Features in coordinates of the row space, and their energy in row space and null space."""

from __future__ import annotations

import torch
from torch import Tensor

from sing_monitor.head.geometry import HeadGeometry
from sing_monitor.row_blocks import all_blocks, deviations, row_blocks, squared_norms, working

# Where the null part holds less than this share of a feature's energy, subtracting two energies
# leaves rounding noise, and the null part is computed instead.
_SMALL_SHARE = 1e-3


def coordinates(features: Tensor, geometry: HeadGeometry, center: Tensor) -> Tensor:
    """Coordinates ``V_p' (f - mu)`` of features in the basis of the row space, (N, r).

    Args:
        features: (N, m).
        geometry: of the head.
        center: mu, (m,).
    """
    found = working(features).new_empty(len(features), geometry.rank)
    basis = geometry.row_basis.to(found)
    for rows in all_blocks(features):
        torch.mm(deviations(features[rows], center), basis, out=found[rows])
    return found


def split_energy(
    features: Tensor,
    energies: Tensor,
    seen: Tensor,
    geometry: HeadGeometry,
    center: Tensor,
    about: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Split energies: ``|P_n (f - a)|^2`` and ``|P_p (f - a)|^2``, each (N,) float64.

    The null part follows by Pythagoras, without another product. Where it is small, the difference
    is mostly rounding noise, so the null part is computed directly.

    Args:
        features: (N, m).
        energies: ``|f - a|^2``, (N,) float64.
        seen: their :func:`coordinates`, (N, r).
        geometry: of the head.
        center: mu of the coordinates, (m,).
        about: a, (m,); None: mu.
    """
    about = center if about is None else about
    offset = (geometry.row_basis.T @ (center - about)).to(seen)
    visible = torch.cat([squared_norms(seen[rows] + offset) for rows in all_blocks(seen)])
    if geometry.null_dim == 0:
        return torch.zeros_like(visible), visible
    invisible = energies - visible
    for rows in row_blocks((invisible < _SMALL_SHARE * energies).nonzero().flatten()):
        away = features.index_select(0, rows).double() - about
        invisible[rows] = geometry.null(away).square().sum(dim=1)
    return invisible, visible
