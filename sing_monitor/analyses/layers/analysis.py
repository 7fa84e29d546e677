"""How much room the features of the head keep: ranks about their mean."""

from __future__ import annotations

import math

from torch import Tensor

from sing_monitor.analyses.analysis import Analysis
from sing_monitor.analyses.layers.ranks import (
    PrincipalComponents,
    classification_dimension,
    dimension_of,
    principal_components,
    rank_of,
)
from sing_monitor.analyses.layers.specs import METRICS, MOST_IMAGES, SHARE
from sing_monitor.findings import Findings
from sing_monitor.observation import Observation
from sing_monitor.row_blocks import mean
from sing_monitor.snapshot import Snapshot
from sing_monitor.translate.reduced import feature_dim

_ROUNDING = 1e-9


def analyze_layers(observation: Observation) -> Findings:
    """In how many directions the head's features vary, and how many of them it needs.

    Images are those with the smallest draws, which hardly depends on how many there are and not on
    their order. The coordinates of a reduced snapshot have the same singular values.

    Returns:
        Scalars ``layers/*``; NaN where features do not vary.
    """
    snapshot = observation.snapshot
    rows, components = head_rows(snapshot), observation.once(head_components)
    if not len(components.variances):
        return Findings(dict.fromkeys((spec.key for spec in METRICS), math.nan))
    most = min(len(rows), feature_dim(snapshot))
    ranks = {
        "effective_rank": rank_of(components.variances),
        "pca_95": float(dimension_of(components.variances, SHARE)),
        "classification_dimension": _needed(snapshot, rows, components),
    }
    scalars = {f"layers/{name}": value for name, value in ranks.items()}
    shares = {f"layers/{name}_share": value / most for name, value in ranks.items()}
    return Findings(scalars | shares)


def head_rows(snapshot: Snapshot) -> Tensor:
    """The images with the smallest draws, at most 1,024; their rows, (N,)."""
    return snapshot.draws.argsort(stable=True)[:MOST_IMAGES]


def head_components(observation: Observation) -> PrincipalComponents:
    """In which directions the features of these images vary."""
    snapshot = observation.snapshot
    return principal_components(snapshot.features[head_rows(snapshot)])


def _needed(snapshot: Snapshot, rows: Tensor, components: PrincipalComponents) -> float:
    """The classification dimension of some images; NaN where the head has none right."""
    labels = snapshot.labels[rows]
    right = int((snapshot.predictions[rows] == labels).sum())
    if right == 0:
        return math.nan
    weight = snapshot.weight.double()
    at_mean = weight @ mean(snapshot.features, rows)
    if snapshot.bias is not None:
        at_mean = at_mean + snapshot.bias.double()
    # 0.95 in binary digits may ask for one image more.
    fewest = math.ceil(SHARE * right - _ROUNDING)
    return float(classification_dimension(components, weight, at_mean, labels, fewest))


ANALYSIS = Analysis("layers", analyze_layers, METRICS, needs=frozenset({"labels"}))
