"""Class templates, which are the rows of a head, and how much they resemble each other."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from sing_monitor.analyses.hierarchy.matrices import Floats

# Of the length of a template, what may be left by rounding where it is the mean of all.
_ROUNDING = 1e-12


def centered(templates: Tensor) -> Floats:
    """Templates less their mean, (C, m) float64.

    A vector added to all of them changes no prediction, but every cosine; it is taken out.

    Args:
        templates: w, (C, m).
    """
    rows = templates.detach().double()
    return (rows - rows.mean(dim=0)).numpy()


def directions(templates: Floats, lengths: Floats) -> Floats:
    """Templates at length 1, (C, m); NaN where nothing but rounding is left of one.

    Args:
        templates: (C, m).
        lengths: of what they were made of, (C,).
    """
    norms = np.linalg.norm(templates, axis=1)
    is_known = norms > _ROUNDING * lengths.max(initial=0.0)
    return templates / np.where(is_known, norms, np.nan)[:, None]


def cosines(units: Floats) -> Floats:
    """Cosine of every pair of directions, (C, C), with 1 on the diagonal; NaN as they are."""
    found = np.clip(units @ units.T, -1, 1)
    # Of a product with itself both halves are equal up to rounding alone.
    found = (found + found.T) / 2
    np.fill_diagonal(found, 1.0)
    return found
