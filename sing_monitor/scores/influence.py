"""Influence of the images that a translator was fitted on, on mean scores of other images.

A mean score of images j depends on the images i that the translator was fitted on. The
infinitesimal jackknife (Jaeckel 1972; Efron 1982, chapter 6) takes the derivative u_i of a
statistic by the weight of each image, and estimates its variance by ``sum u_i^2``.

For a ridge regression with intercept the derivative is closed (Koh and Liang 2017, eq. 2, of a
squared error). Its normal equations, with weights w and an unchanged penalty lambda, are
``sum_i w_i (z_i - T x_i) (1, x_i)' = (0, lambda A')``; derived by w_i at w = 1::

    dT x_j = k_ji r_i,    k_ji = 1 / n + (x_j - mean x)' (X'X + lambda I)^-1 (x_i - mean x)

with X about its mean and ``r_i = z_i - T x_i``. For an image left out altogether the change is
exact, not only of first order, if r_i is divided by ``1 - k_ii``: the residual of a fit without
it (Cook and Weisberg 1982). That is the jackknife, and is taken here, because leverages k_ii are
large where images are few.

An angle between y and v changes with y by the part of dy that points toward v, across y::

    d angle(y, v) = -(v / |v| - cos(angle) y / |y|) . dy / (|y| sin(angle))

and the share of images whose margin M is positive by the density of the margins at 0,
``dP(M > 0) = E[delta(M) dM]``, estimated by a Gaussian kernel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

# Silverman's rule for the width of a kernel, of a standard deviation.
_SILVERMAN = 1.06


@dataclass(frozen=True)
class Shift:
    """How embeddings y_j of N images move with the weight of I fitted images: ``k_ji r_i``.

    Args:
        kernel: k_ji, (N, I).
        along: ``y_j . r_i / |y_j|``, (N, I).
        length: ``|y_j|``, (N,).
    """

    kernel: Tensor
    along: Tensor
    length: Tensor


def angle_influence(shift: Shift, toward: Tensor, degrees: Tensor, weights: Tensor) -> Tensor:
    """Sum over images of the changes of their angles to other vectors, which stay as they are.

    Args:
        shift: of the embeddings y_j.
        toward: ``v_j . r_i / |v_j|`` of the other vectors, (N, I).
        degrees: angles between y_j and v_j, (N,); where they are 0 or 180 there is no derivative,
            and nothing is added.
        weights: of the images in the sum, (N, q).

    Returns:
        ``sum_j weights_j d angle(y_j, v_j)`` in degrees, (I, q).
    """
    angles = torch.deg2rad(degrees)
    slope = -math.degrees(1) / (shift.length * angles.sin())
    slope = slope.where((degrees > 0) & (degrees < 180), 0)[:, None].to(shift.kernel)
    scaled = weights.to(slope) * slope
    across = (shift.kernel * toward).T @ scaled
    return across - (shift.kernel * shift.along).T @ (scaled * angles.cos()[:, None].to(scaled))


def share_influence(shift: Shift, difference: Tensor, margins: Tensor) -> Tensor:
    """Sum over images of the changes of ``margin > 0``, for margins between two cosines.

    Args:
        shift: of the embeddings y_j.
        difference: ``(t_j - o_j) . r_i``, (N, I), t_j the unit text of the true answer and o_j that
            of the nearest other one.
        margins: ``cos(y_j, t_j) - cos(y_j, o_j)``, (N,).

    Returns:
        (I,).
    """
    weights = density_at_zero(margins) / shift.length
    scaled = weights[:, None].to(shift.kernel)
    changed = (shift.kernel * difference).T @ scaled
    changed -= (shift.kernel * shift.along).T @ (scaled * margins[:, None].to(scaled))
    return changed[:, 0]


def density_at_zero(margins: Tensor) -> Tensor:
    """How much each margin counts for the density at 0: a Gaussian kernel, (N,).

    Their mean is the density. The kernel is ``1.06 s N^(-1/5)`` wide (Silverman 1986, eq. 3.28), s
    the standard deviation; for equal margins there is none, and nothing counts.

    Args:
        margins: (N,).
    """
    if len(margins) < 2:
        return torch.zeros_like(margins)
    width = _SILVERMAN * float(margins.std()) * len(margins) ** -0.2
    if not width > 0:
        return torch.zeros_like(margins)
    return torch.exp(-0.5 * (margins / width).square()) / (width * math.sqrt(2 * math.pi))
