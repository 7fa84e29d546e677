"""The maps of one image out of the tables of a validation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from sing_monitor.analyses.focus.locations import Part, normalized_entropy, overlap

PARTS: tuple[Part, ...] = ("all", "seen", "null")
ENTROPIES: Mapping[Part, str] = {"all": "entropy", "seen": "entropy_seen", "null": "entropy_null"}
_MOST_SIDE = 256


@dataclass(frozen=True, eq=False)
class ImageFocus:
    """Where the features of an image stand.

    Args:
        shares: of every place, (h, w), by part; each sums to 1.
        entropies: normalized, by part.
        overlap: cosine of the maps of the seen and the null part; NaN without one of them.
    """

    shares: Mapping[Part, NDArray[np.float64]]
    entropies: Mapping[Part, float]
    overlap: float = math.nan

    @classmethod
    def of(cls, importance: Mapping[Part, torch.Tensor]) -> ImageFocus:
        """Of the importance of its places by part, each (1, h, w); a part that is 0 is left out."""
        known = {part: each for part, each in importance.items() if bool(each.sum() > 0)}
        both = "seen" in known and "null" in known
        return cls(
            {part: (each / each.sum())[0].numpy() for part, each in known.items()},
            {part: float(normalized_entropy(each)) for part, each in known.items()},
            float(overlap(known["seen"], known["null"])) if both else math.nan,
        )

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the maps."""
        height, width = next(iter(self.shares.values())).shape
        return height, width


def focus_of(maps: pd.DataFrame) -> ImageFocus | None:
    """The maps of one image; None where the rows hold none that can be read.

    Args:
        maps: rows of ``focus_maps`` of this image.
    """
    importance: dict[Part, torch.Tensor] = {}
    for part in PARTS:
        for row in maps[maps["part"] == part].head(1).to_dict("records"):
            levels = np.asarray(row["levels"] if row["levels"] is not None else [])
            height, width = _side(row["height"]), _side(row["width"])
            if levels.dtype.kind in "ui" and levels.shape == (height * width,) and levels.any():
                values = torch.from_numpy(levels.astype(np.float64).clip(0))
                importance[part] = values.view(1, height, width)
    grids = {each.shape for each in importance.values()}
    return ImageFocus.of(importance) if "all" in importance and len(grids) == 1 else None


def _side(number: float) -> int:
    """Rows or columns of a map; 0 where the table does not tell."""
    return 0 if pd.isna(number) or not 1 <= number <= _MOST_SIDE else int(number)


def spread_history(tables: Mapping[int, pd.DataFrame]) -> pd.DataFrame:
    """Normalized entropies of one image at every epoch: columns epoch, part and entropy.

    Args:
        tables: rows of ``focus`` of this image, by epoch.
    """
    rows = [
        (epoch, part, float(row[name]))
        for epoch, table in sorted(tables.items())
        for row in table.head(1).to_dict("records")
        for part, name in ENTROPIES.items()
        if name in row and math.isfinite(row[name])
    ]
    return pd.DataFrame(rows, columns=["epoch", "part", "entropy"])
