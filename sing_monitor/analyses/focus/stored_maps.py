"""Maps of importance as a validation stores them: in 256 levels, a row for an image and a part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sing_monitor.analyses.focus.locations import Part
from sing_monitor.analyses.focus.specs import MAPS
from sing_monitor.snapshot import hex_ids

if TYPE_CHECKING:
    from pandas import DataFrame

LEVELS = 255


def maps_table(ids: Tensor, maps: Mapping[Part, Tensor]) -> DataFrame:
    """Table ``focus_maps``, sorted by image and, within it, in the order of the parts.

    Args:
        ids: of the images, (M,) int64.
        maps: importance of the locations by part, each (M, h, w). One that is 0 everywhere, or not
            finite, has no row.
    """
    from pandas import DataFrame

    levels = {part: _levels(values) for part, values in maps.items()}
    rows = [
        (image, part, *maps[part].shape[1:], values[number])
        for number, image in enumerate(hex_ids(ids))
        for part, (values, is_shown) in levels.items()
        if is_shown[number]
    ]
    return DataFrame(rows, columns=[column.name for column in MAPS.columns])


def _levels(maps: Tensor) -> tuple[NDArray[np.uint8], list[bool]]:
    """Levels of maps (M, h, w), each by its largest value, (M, P); and whether there are any."""
    x = maps.double().flatten(1)
    largest = x.amax(dim=1, keepdim=True)
    is_shown = x.isfinite().all(dim=1) & (largest[:, 0] > 0)
    levels = (x / largest * LEVELS).round().where(is_shown[:, None], 0)
    return levels.byte().numpy(), is_shown.tolist()
