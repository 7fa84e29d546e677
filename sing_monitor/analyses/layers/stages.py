"""How much room the features keep at several depths of a network."""

from __future__ import annotations

import math

from torch import Tensor

from sing_monitor.analyses.analysis import Analysis
from sing_monitor.analyses.layers.ranks import dimension_of, principal_variances, rank_of
from sing_monitor.analyses.layers.specs import SHARE, STAGE_METRICS, STAGES
from sing_monitor.findings import Findings
from sing_monitor.observation import Observation


def analyze_stages(observation: Observation) -> Findings:
    """In how many directions the features of each stage vary, and how many of them are left.

    Images are those of the probe whose features were kept.

    Returns:
        Scalar ``layers/rank_drop``, and table ``layers``. NaN where features do not vary, or hold
        NaN or infinite values.
    """
    import pandas as pd

    snapshot = observation.snapshot
    stages = snapshot.known_stages.among(snapshot.ids).values
    rows = [_row(name, depth, stages[name]) for depth, name in enumerate(stages, start=1)]
    drop = float(rows[-1]["rank"]) / float(rows[0]["rank"]) if len(rows) > 1 else math.nan
    (key,) = (spec.key for spec in STAGE_METRICS)
    table = pd.DataFrame(rows, columns=[column.name for column in STAGES.columns])
    return Findings({key: drop}, {STAGES.name: table})


def _row(name: str, depth: int, values: Tensor) -> dict[str, str | int | float]:
    samples, channels = values.shape
    rank = components = math.nan
    if bool(values.isfinite().all()):
        variances = principal_variances(values)
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
