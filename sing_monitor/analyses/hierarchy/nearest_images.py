"""Images of one class that stand nearest to another one, by the directions of the templates."""

from __future__ import annotations

from itertools import islice

import numpy as np
import torch
from torch.nn.functional import normalize

from sing_monitor.analyses.hierarchy.matrices import Floats, Integers
from sing_monitor.row_blocks import working
from sing_monitor.snapshot import Snapshot, hex_id

_SHOWN = 2


def nearest_images(
    snapshot: Snapshot, units: Floats, pairs: Integers
) -> list[tuple[list[str], list[str]]]:
    """For each pair of classes the images of either that stand nearest to the other.

    Nearest by ``cos(f, w_b) - cos(f, w_a)`` of an image of class a, with centered templates.

    Args:
        snapshot: its features and labels.
        units: directions of the templates, (C, m).
        pairs: of classes, (P, 2).

    Returns:
        For each pair ids of images of its first class, and of its second, nearest first, at most 2
        each.
    """
    named = np.unique(pairs).tolist()
    column = {name: place for place, name in enumerate(named)}
    templates, ids = torch.from_numpy(units[named]), snapshot.ids.numpy()
    rows, cosines = {}, {}
    for name in named:
        some = (snapshot.labels == name).nonzero().flatten()
        features, rows[name] = normalize(working(snapshot.features[some]), dim=1), some.numpy()
        found = (features @ templates.T.to(features)).numpy()
        cosines[name] = np.nan_to_num(found - found[:, [column[name]]], nan=-np.inf)

    def of(own: int, other: int) -> list[str]:
        nearest = np.argsort(-cosines[own][:, column[other]], kind="stable")
        found = ids[rows[own][nearest]].tolist()
        # Copies of one image would show the same picture twice.
        return [hex_id(each) for each in islice(dict.fromkeys(found), _SHOWN)]

    return [(of(first, second), of(second, first)) for first, second in pairs.tolist()]
