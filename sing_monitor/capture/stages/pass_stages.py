"""PassStages: features of stages that one process took in one pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from sing_monitor.capture.map_rows import joined_maps
from sing_monitor.capture.pass_maps import PassMaps
from sing_monitor.errors import SetupError
from sing_monitor.feature_maps import FeatureMaps, StageFeatures


@dataclass(frozen=True)
class PassStages:
    """Features of stages, of one pass and one process.

    Args:
        features: of the images of smallest hash; None where there are none.
        left_out: why a stage has none, by its name; "" for all of them.
        fault: the error that cost them, or None.
        was_asked: whether there was to be anything.
    """

    features: StageFeatures | None = None
    left_out: Mapping[str, str] = field(default_factory=dict)
    fault: SetupError | None = None
    was_asked: bool = True


def joined_stages(parts: Sequence[PassStages], count: int, image_ids: Tensor) -> PassStages:
    """Stages of all processes as those of one; a stage that one of them lacks is left out.

    Args:
        parts: of the processes that have seen images of the probe.
        count: the most images.
        image_ids: of the probe, (N,).
    """
    left_out: dict[str, str] = {}
    for part in parts:
        if part.fault is not None:
            return part
        left_out |= {name: why for name, why in part.left_out.items() if name not in left_out}
    found = [part.features for part in parts if part.features is not None]
    if not found or "" in left_out:
        return PassStages(left_out=left_out, was_asked=any(part.was_asked for part in parts))
    widths = [{name: values.shape[1] for name, values in each.values.items()} for each in found]
    names = []
    for name, width in widths[0].items():
        if all(each.get(name) == width for each in widths):
            names.append(name)
        else:
            left_out.setdefault(name, "its output differs from process to process")
    if not names:
        return PassStages(left_out=left_out)
    # A vector is a map of one location.
    side_by_side = [
        FeatureMaps(
            each.image_ids, torch.cat([each.values[name] for name in names], 1)[..., None, None]
        )
        for each in found
    ]
    joined = joined_maps([PassMaps(each) for each in side_by_side], count, image_ids).maps
    if joined is None:
        return PassStages(left_out=left_out | {"": "none of the images belongs to the probe"})
    columns = joined.values.flatten(1).split([widths[0][name] for name in names], dim=1)
    values = {name: part.clone() for name, part in zip(names, columns, strict=True)}
    return PassStages(StageFeatures(joined.image_ids, values), left_out)
