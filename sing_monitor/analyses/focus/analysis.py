"""Where in the images of a probe their features stand, and where what the head sees of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sing_monitor.analyses.analysis import Analysis
from sing_monitor.analyses.focus.locations import (
    Part,
    concentration,
    critical_share,
    few_at_a_time,
    located,
    normalized_entropy,
    overlap,
)
from sing_monitor.analyses.focus.specs import FEWEST_IMAGES, IMAGES, MAPS, METRICS
from sing_monitor.analyses.focus.stored_maps import maps_table
from sing_monitor.findings import Findings
from sing_monitor.observation import Observation
from sing_monitor.row_blocks import is_finite, working
from sing_monitor.scores.moments import average
from sing_monitor.snapshot import hex_ids
from sing_monitor.translate.reduced import whole

if TYPE_CHECKING:
    from pandas import DataFrame

# The map, the mean and the feature are each rounded to the precision that they are stored in.
_OF_STORAGE = 2
# The mean of a map is computed in another order than by the model.
_OF_SUMS = 32 * torch.finfo(torch.float32).eps


def analyze_focus(observation: Observation) -> Findings:
    """How the features of images are spread over the locations of their maps.

    Returns:
        Scalars ``focus/*``, NaN with fewer than 8 images; tables ``focus`` and, where pictures of
        the images are stored, ``focus_maps``. A map is no picture, but may show the outline of
        what is on it: where no picture leaves the training, none does.

    Raises:
        ValueError: if there are no maps, or they hold NaN or infinite values.
    """
    snapshot = whole(observation.snapshot)
    rows, known = snapshot.known_maps.among(snapshot.ids)
    ids, maps = known.image_ids, known.values
    if not is_finite(maps):
        raise ValueError(
            "maps hold NaN or infinite values: the training has diverged, or numbers overflowed in "
            "half precision."
        )
    columns = {spec.key: torch.full((len(ids),), math.nan).double() for spec in METRICS}
    parts: dict[Part, Tensor] = {}
    if len(ids) and maps.shape[2:].numel() > 1:
        reads_mean = is_averaged(maps, snapshot.features[rows])
        parts = located(about_mean(maps), snapshot.geometry if reads_mean else None)
        columns |= {
            "focus/entropy": normalized_entropy(parts["all"]),
            "focus/critical_share": critical_share(maps),
            "focus/concentration": concentration(parts["all"]),
        }
        if reads_mean:
            columns |= {
                "focus/entropy_seen": normalized_entropy(parts["seen"]),
                "focus/entropy_null": normalized_entropy(parts["null"]),
                "focus/overlap": overlap(parts["seen"], parts["null"]),
            }
    enough = len(ids) >= FEWEST_IMAGES
    scalars = {key: average(each) if enough else math.nan for key, each in columns.items()}
    tables = {"focus": _table(ids, columns)}
    if observation.n_images > 0 and observation.has_space:
        tables["focus_maps"] = maps_table(ids, parts)
    return Findings(scalars, tables, pictured=frozenset(hex_ids(ids)))


def is_averaged(maps: Tensor, features: Tensor) -> bool:
    """Whether the mean over locations is what enters the head, within the rounding of both.

    Args:
        maps: as they are stored, (M, c, h, w).
        features: of the same images, (M, m).
    """
    if maps.shape[:2] != features.shape:
        return False
    eps = max(torch.finfo(tensor.dtype).eps for tensor in (maps, features))
    start = 0
    for some in few_at_a_time(maps.flatten(2)):
        x = some.double()
        error = (x.mean(dim=2) - features[start : start + len(x)].double()).abs()
        sizes = x.abs()
        most = _OF_SUMS * sizes.amax(dim=(1, 2))[:, None]
        if (error > _OF_STORAGE * eps * sizes.mean(dim=2) + most).any():
            return False
        start += len(x)
    return True


def map_center(maps: Tensor) -> Tensor:
    """Mean over images and locations of maps (M, c, h, w), about which lengths count; (c,)."""
    return working(maps).mean(dim=(0, 2, 3), dtype=torch.float64)


def about_mean(maps: Tensor) -> Tensor:
    """Maps about their mean over images and locations, (M, c, h, w)."""
    x = working(maps)
    return x - map_center(maps)[:, None, None].to(x)


def _table(ids: Tensor, columns: Mapping[str, Tensor]) -> DataFrame:
    from pandas import DataFrame

    numbers = {key.partition("/")[2]: values.numpy() for key, values in columns.items()}
    names = [column.name for column in IMAGES.columns]
    return DataFrame({"image": hex_ids(ids)} | numbers, columns=names)


ANALYSIS = Analysis(
    "focus", analyze_focus, METRICS, (IMAGES, MAPS), needs=frozenset({"labels", "maps"})
)
