"""How much room the features keep at several depths of a network."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sing_monitor.analyses.analysis import Analysis
from sing_monitor.analyses.layers.analysis import head_components, head_rows
from sing_monitor.analyses.layers.ranks import dimension_of, principal_variances, rank_of
from sing_monitor.analyses.layers.specs import SHARE, STAGE_METRICS, STAGES
from sing_monitor.findings import Findings
from sing_monitor.observation import Observation
from sing_monitor.row_blocks import is_finite


def analyze_stages(observation: Observation) -> Findings:
    """In how many directions the features of each stage vary, and how many of them are left.

    Images are those of the probe whose features were kept.

    Returns:
        Scalar ``layers/rank_drop``, and table ``layers``. NaN where features do not vary, or hold
        NaN or infinite values.
    """
    import pandas as pd

    snapshot = observation.snapshot
    stages = snapshot.known_stages.among(snapshot.ids)
    rows = [
        _row(name, depth, values, _known(observation, stages.image_ids, values))
        for depth, (name, values) in enumerate(stages.values.items(), start=1)
    ]
    drop = float(rows[-1]["rank"]) / float(rows[0]["rank"]) if len(rows) > 1 else math.nan
    (key,) = (spec.key for spec in STAGE_METRICS)
    table = pd.DataFrame(rows, columns=[column.name for column in STAGES.columns])
    return Findings({key: drop}, {STAGES.name: table})


def _known(observation: Observation, ids: Tensor, values: Tensor) -> Tensor | None:
    """Variances of a stage whose averages enter the head as they are, as those of a ResNet do.

    Args:
        observation: its head's features.
        ids: of the stage's images, sorted, (M,).
        values: of the stage, (M, c).

    Returns:
        Those of the features of the same images, (R,); None where they are others.
    """
    snapshot = observation.snapshot
    features, rows = snapshot.features, head_rows(snapshot)
    own, order = snapshot.ids[rows].sort()
    if values.dtype != features.dtype or values.shape[1] != features.shape[1]:
        return None
    if not torch.equal(own, ids) or not torch.equal(features[rows[order]], values):
        return None
    return observation.once(head_components).variances


def _row(
    name: str, depth: int, values: Tensor, known: Tensor | None
) -> dict[str, str | int | float]:
    samples, channels = values.shape
    rank = components = math.nan
    if is_finite(values):
        variances = principal_variances(values) if known is None else known
        if len(variances):
            rank, components = rank_of(variances), float(dimension_of(variances, SHARE))
    most = min(samples, channels) or math.nan
    return {
        "layer": name,
        "depth": depth,
        "channels": channels,
        "samples": samples,
        "rank": rank,
        "rank_share": rank / most,
        "pca_95": components,
        "pca_95_share": components / most,
    }


ANALYSIS = Analysis(
    "stages",
    analyze_stages,
    STAGE_METRICS,
    (STAGES,),
    needs=frozenset({"labels", "stages"}),
    part_of="layers",
)
