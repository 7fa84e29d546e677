"""Maps of importance as a validation stores them: in 256 levels, a row for an image and a part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

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

    rows = []
    for number, image in enumerate(hex_ids(ids)):
        for part, values in maps.items():
            one = values[number]
            if one.isfinite().all() and (largest := one.max()) > 0:
                levels = (one.double() / largest * LEVELS).round().byte()
                rows.append((image, part, *one.shape, levels.flatten().numpy()))
    return DataFrame(rows, columns=[column.name for column in MAPS.columns])
