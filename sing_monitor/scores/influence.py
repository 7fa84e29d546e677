"""Influence of the images that a regression was fitted on, on mean scores of other images.

A mean score of images j depends on the images i that the translator was fitted on. The
infinitesimal jackknife (Jaeckel 1972; Efron 1982, chapter 6) takes the derivative u_i of a
statistic by the weight of each image, and estimates its variance by ``sum u_i^2``.

For a ridge regression with intercept the derivative is closed (as in Koh and Liang 2017, eq. 2).
With weights w and an unchanged penalty lambda its normal equations are
``sum_i w_i (z_i - T x_i) (1, x_i)' = (0, lambda A')``; derived by w_i at w = 1::

    dT x_j = k_ji r_i,    k_ji = 1 / n + (x_j - mean x)' (X'X + lambda I)^-1 (x_i - mean x)

with X about its mean and ``r_i = z_i - T x_i``. Residuals of the fit itself are too small; they are
divided as :class:`~sing_monitor.translate.kernel.Kernel` says. What follows for a score is the
chain rule. An angle between y and v changes with y by the part of dy that points toward v,
across y::

    d angle(y, v) = -(v / |v| - cos(angle) y / |y|) . dy / (|y| sin(angle))

and the share of images whose margin M is positive changes by the density of the margins at 0,
``dP(M > 0) = E[delta(M) dM]``, estimated with a Gaussian kernel.
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
    """How embeddings y_j of N images move with the weights of I fitted images: ``k_ji r_i``.

    Args:
        kernel: k_ji, (N, I).
        along: ``y_j . r_i / |y_j|``, (N, I).
        length: ``|y_j|``, (N,).
    """

    kernel: Tensor
    along: Tensor
    length: Tensor

    @classmethod
    def of(cls, embeddings: Tensor, kernel: Tensor, residuals: Tensor) -> Shift:
        """Work out the movement.

        Args:
            embeddings: y_j, (N, n).
            kernel: k_ji, (N, I).
            residuals: r_i, (I, n).
        """
        length = torch.linalg.vector_norm(embeddings, dim=1)
        return cls(kernel, (embeddings @ residuals.T).div_(length[:, None]), length)

    def of_rows(self, rows: Tensor) -> Shift:
        """That of some of the images."""
        return Shift(self.kernel[rows], self.along[rows], self.length[rows])


def angle_influence(shift: Shift, toward: Tensor, degrees: Tensor, weights: Tensor) -> Tensor:
    """Sum over images of the changes of their angles to other vectors, which stay as they are.

    Args:
        shift: of the embeddings y_j.
        toward: ``v_j . r_i / |v_j|`` of the other vectors, (N, I).
        degrees: angles between y_j and v_j, (N,); where one is 0, 180 or NaN there is no
            derivative, and nothing is added.
        weights: of the images in the sum, (N, q).

    Returns:
        ``sum_j weights_j d angle(y_j, v_j)`` in degrees, (I, q).
    """
    is_smooth = (degrees > 0) & (degrees < 180)
    if not bool(is_smooth.all()):
        toward = toward.where(is_smooth[:, None], 0)
    angles = torch.deg2rad(degrees).where(is_smooth, math.pi / 2)
    slope = -math.degrees(1) / (shift.length * angles.sin())
    scaled = weights.where(is_smooth[:, None], 0) * slope[:, None]
    across = (shift.kernel * toward).T @ scaled.to(toward)
    scaled = scaled * angles.cos()[:, None]
    return across - (shift.kernel * shift.along).T @ scaled.to(toward)


def share_influence(kernel: Tensor, difference: Tensor, margins: Tensor) -> Tensor:
    """Sum over images of the changes of ``M > 0``, for margins between two scores.

    Args:
        kernel: k_ji, (N, I).
        difference: score of r_i for the true answer of image j less that for its rival, (N, I):
            by it margins M_j change, times k_ji.
        margins: M_j, (N,); those that are not finite have no derivative.

    Returns:
        (I,).
    """
    weights = density_at_zero(margins).to(kernel)
    return (kernel * difference).T @ weights


def density_at_zero(margins: Tensor) -> Tensor:
    """How much each margin counts for their density at 0, by a Gaussian kernel, (N,).

    Their mean is the density. The kernel is ``1.06 s N^(-1/5)`` wide (Silverman 1986, eq. 3.28), s
    the standard deviation. Margins without any spread have no density.

    Args:
        margins: (N,); those that are not finite count 0.
    """
    is_known = margins.isfinite()
    known = margins[is_known]
    width = _SILVERMAN * float(known.std()) * len(known) ** -0.2 if len(known) > 1 else 0.0
    if width <= 0:
        return torch.zeros_like(margins)
    weights = torch.exp(-0.5 * (margins / width).square()) / (width * math.sqrt(2 * math.pi))
    return weights.where(is_known, 0)
