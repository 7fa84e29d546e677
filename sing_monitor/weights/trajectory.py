"""Trajectories of single weights: what some weights of a network were at the last validations."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sing_monitor.weights.sample import spread

_SEED = 0


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Some weights of a network at T validations, on the CPU.

    Args:
        epochs: of the validations, in their order, (T,) int64. Validations within an epoch have
            the same.
        values: of the weights, (N, T) floating point.
        layers: names of the layers, in the network's order.
        layer_index: the layer of each weight, (N,) int64.
        is_head: whether a weight belongs to the classifier head, (N,) bool.

    Raises:
        ValueError: if a shape or a dtype is another.
    """

    epochs: Tensor
    values: Tensor
    layers: tuple[str, ...]
    layer_index: Tensor
    is_head: Tensor

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or not self.values.is_floating_point():
            raise ValueError(
                "trajectories must be (N, T) floating point; got "
                f"{tuple(self.values.shape)} {self.values.dtype}."
            )
        weights, columns = self.values.shape
        expected = {
            "epochs": (self.epochs, columns, torch.int64),
            "layer_index": (self.layer_index, weights, torch.int64),
            "is_head": (self.is_head, weights, torch.bool),
        }
        for name, (found, length, dtype) in expected.items():
            if tuple(found.shape) != (length,) or found.dtype != dtype:
                raise ValueError(
                    f"{name} of {weights} weights at {columns} validations must be ({length},) "
                    f"{dtype}; got {tuple(found.shape)} {found.dtype}."
                )
        if weights and not 0 <= int(self.layer_index.min()) <= self._last < len(self.layers):
            raise ValueError(
                f"layer_index must be within 0 to {len(self.layers) - 1}, for there are "
                f"{len(self.layers)} layers; got {int(self.layer_index.min())} to {self._last}."
            )

    def __len__(self) -> int:
        """Number of weights N."""
        return len(self.values)

    @property
    def _last(self) -> int:
        return int(self.layer_index.max())

    @cached_property
    def moves(self) -> Tensor:
        """Whether a weight has more than one value, all of them finite, (N,) bool."""
        if self.values.shape[1] == 0:
            return torch.zeros(len(self), dtype=torch.bool)
        # The extremes of a row that holds NaN are NaN.
        low, high = self.values.aminmax(dim=1)
        return (high > low) & low.isfinite() & high.isfinite()

    def last(self, columns: int) -> Trajectory:
        """The last so many validations, or all where there are fewer."""
        return replace(self, epochs=self.epochs[-columns:], values=self.values[:, -columns:])

    def without_last(self) -> Trajectory:
        """All validations but the last."""
        return replace(self, epochs=self.epochs[:-1], values=self.values[:, :-1])

    def sample(self, count: int) -> Tensor:
        """Some of the weights that move: half spread equally over the layers, half by their size.

        The same weights every time, as far as they move.

        Args:
            count: how many, where so many move.

        Returns:
            Their rows in ascending order, (K,) int64.
        """
        rows = np.flatnonzero(self.moves.numpy())
        # A place in a line that is the same at every validation, whichever weights move.
        places = np.random.default_rng(_SEED).permutation(len(self))[rows]
        layers = self.layer_index.numpy()[rows]
        wanted = spread(np.bincount(layers, minlength=len(self.layers)).tolist(), count)
        # One number for both is sorted in a quarter of the time.
        order = (layers * len(self) + places).argsort()
        firsts = np.searchsorted(layers[order], np.arange(len(self.layers)))
        chosen = [order[first : first + n] for first, n in zip(firsts, wanted, strict=True)]
        return torch.from_numpy(np.sort(rows[np.concatenate([*chosen, _none()])]))


def _none() -> NDArray[np.int64]:
    return np.empty(0, dtype=np.int64)
