"""Features of some probe images before the head: maps, and the means of earlier stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

# Larger grids are averaged down to this.
MOST_ROWS = 14


@dataclass(frozen=True)
class FeatureMaps:
    """Maps of some images of a probe, on the CPU.

    Args:
        image_ids: content fingerprints, (M,) int64, distinct.
        values: maps, (M, c, h, w) floating point; h and w are at most 14, and larger grids were
            averaged down to it. Tokens that stand on no grid are a single row, h = 1.
        layer: the module whose output or input they are, in words.

    Raises:
        ValueError: if a shape or a dtype is another.
    """

    image_ids: Tensor
    values: Tensor
    layer: str = ""

    def __post_init__(self) -> None:
        if self.values.ndim != 4 or not self.values.is_floating_point():
            raise ValueError(
                "maps must be (M, c, h, w) floating point; got "
                f"{tuple(self.values.shape)} {self.values.dtype}."
            )
        if tuple(self.image_ids.shape) != (len(self.values),):
            raise ValueError(
                f"maps of {len(self.values)} images need as many image_ids, (M,); got "
                f"{tuple(self.image_ids.shape)}."
            )

    def __len__(self) -> int:
        """Number of images M."""
        return len(self.image_ids)

    def among(self, image_ids: Tensor) -> tuple[Tensor, FeatureMaps]:
        """The maps of images of a probe, in the order of their ids.

        Args:
            image_ids: of the probe, (N,) int64.

        Returns:
            Rows in the probe, (R,), of copies the first; and the maps of these images.
        """
        ids, order = self.image_ids.sort()
        rows = first_rows(image_ids, ids)
        order = order[rows >= 0]
        maps = FeatureMaps(self.image_ids[order], self.values[order], self.layer)
        return rows[rows >= 0], maps

    @property
    def grid(self) -> tuple[int, int]:
        """Rows h and columns w."""
        height, width = self.values.shape[2:]
        return height, width


@dataclass(frozen=True)
class StageFeatures:
    """What stages of a model give for some images of a probe, on the CPU.

    Args:
        image_ids: content fingerprints, (M,) int64, distinct.
        values: means over all locations, (M, c) floating point, by the name of the module; in the
            order in which the modules are called.

    Raises:
        ValueError: if a shape or a dtype is another.
    """

    image_ids: Tensor
    values: Mapping[str, Tensor]

    def __post_init__(self) -> None:
        if self.image_ids.ndim != 1:
            raise ValueError(f"image_ids must be (M,); got {tuple(self.image_ids.shape)}.")
        for name, values in self.values.items():
            is_matrix = values.ndim == 2 and len(values) == len(self.image_ids)
            if not is_matrix or not values.is_floating_point():
                raise ValueError(
                    f"features of stage {name!r} must be (M, c) floating point, M = "
                    f"{len(self.image_ids)}; got {tuple(values.shape)} {values.dtype}."
                )

    def among(self, image_ids: Tensor) -> StageFeatures:
        """The features of those images that are in a probe, (N,) int64, in the order of their ids.

        Example::

            >>> both = StageFeatures(torch.tensor([7, 5]), {"layer1": torch.eye(2)})
            >>> both.among(torch.tensor([5, 6])).values["layer1"].tolist()
            [[0.0, 1.0]]
        """
        ids, order = self.image_ids.sort()
        kept = order[torch.isin(ids, image_ids)]
        return StageFeatures(
            self.image_ids[kept], {name: values[kept] for name, values in self.values.items()}
        )


def first_rows(image_ids: Tensor, wanted: Tensor) -> Tensor:
    """The first row of each wanted image among others, (M,) int64; -1 where there is none.

    Args:
        image_ids: (N,).
        wanted: (M,).

    Example::

        >>> first_rows(torch.tensor([7, 5, 7]), torch.tensor([7, 6])).tolist()
        [0, -1]
    """
    if not len(image_ids):
        return torch.full_like(wanted, -1)
    is_same = wanted[:, None] == image_ids
    return is_same.int().argmax(dim=1).where(is_same.any(dim=1), -1)
