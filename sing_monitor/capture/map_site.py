"""MapSite: where in a model the map is, and how its tensor is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from sing_monitor.feature_maps import MOST_ROWS

Layout = Literal["first", "last", "tokens"]


class NoMapError(ValueError):
    """Error for a model whose map is not certain; the sentence says why."""


class GridError(NoMapError):
    """Error for maps of another grid, or of other channels, than in the first batch."""


@dataclass(frozen=True)
class Reading:
    """How a tensor with one vector for each location is read.

    Args:
        layout: ``"first"`` for channels first, (B, c, h, w), ``"last"`` for channels last,
            (B, h, w, c), ``"tokens"`` for (B, T, c).
        prefix: number of tokens before those of the locations (class token, registers).
        is_rectified: whether the negative values are set to zero behind the layer, by a function
            that is no module.
    """

    layout: Layout
    prefix: int = 0
    is_rectified: bool = False

    def locations(self, tensor: Tensor) -> Tensor:
        """The vectors of all locations, (B, S, c)."""
        if self.layout == "tokens":
            found = tensor[:, self.prefix :]
        elif self.layout == "first":
            found = tensor.flatten(2).transpose(1, 2)
        else:
            found = tensor.flatten(1, 2)
        return found.relu() if self.is_rectified else found


@dataclass(frozen=True, eq=False)
class MapSite:
    """The map of a model: a tensor that enters or leaves one of its modules.

    Args:
        name: dotted name of the module.
        module: the module.
        is_input: whether the map enters it.
        reading: how the tensor is read.
        channels: c.
        grid: (h, w), as the model has it.
    """

    name: str
    module: nn.Module
    is_input: bool
    reading: Reading
    channels: int
    grid: tuple[int, int]

    @property
    def kept_grid(self) -> tuple[int, int]:
        """(h, w) of what is kept."""
        height, width = self.grid
        return min(height, MOST_ROWS), min(width, MOST_ROWS)

    @property
    def label(self) -> str:
        """Name of the layer, and whether its input is meant."""
        name = self.name or "(the model)"
        return f"input of {name}" if self.is_input else name

    def __str__(self) -> str:
        shape = f"{self.channels}, {self.grid[0]} x {self.grid[1]}"
        if self.kept_grid != self.grid:
            shape += f", averaged to {self.kept_grid[0]} x {self.kept_grid[1]}"
        return f"{self.label} ({shape})"

    def maps(self, tensor: Tensor) -> Tensor:
        """Maps out of some rows of the tensor, (B, c, h, w) of at most 14 x 14 locations.

        Their precision is that of the tensor, single at most.

        Raises:
            GridError: if the tensor has another grid or other channels than the site.
        """
        locations = self.reading.locations(tensor)
        height, width = self.grid
        if tuple(locations.shape[1:]) != (height * width, self.channels) or (
            self.reading.layout != "tokens" and self._grid_of(tensor) != self.grid
        ):
            raise GridError(
                f"the maps of {self.label} differ from batch to batch: {self.channels} channels "
                f"and {height} x {width} locations at first, later a tensor of shape "
                f"{tuple(tensor.shape[1:])} for each image; images of one size are needed"
            )
        maps = locations.transpose(1, 2).unflatten(2, self.grid)
        precision = torch.float32 if maps.dtype == torch.float64 else maps.dtype
        if self.kept_grid != self.grid:
            maps = adaptive_avg_pool2d(maps.float(), self.kept_grid)
        return maps.to(precision)

    def _grid_of(self, tensor: Tensor) -> tuple[int, int]:
        start = 2 if self.reading.layout == "first" else 1
        return tensor.shape[start], tensor.shape[start + 1]
