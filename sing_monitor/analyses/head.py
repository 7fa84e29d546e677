"""The head alone: its rank, its null space and how much of the features lies in it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sing_monitor.analyses.analysis import Analysis
from sing_monitor.findings import ColumnSpec, Findings, MetricGroup, MetricSpec, TableSpec
from sing_monitor.head.feature_split import split_energy
from sing_monitor.head.geometry import HeadGeometry
from sing_monitor.observation import Observation
from sing_monitor.row_blocks import energy, squared_norms
from sing_monitor.scores.derived import ratio
from sing_monitor.scores.moments import average
from sing_monitor.scores.pairs import CENTERED, RANDOM
from sing_monitor.translate.reduced import whole

if TYPE_CHECKING:
    from pandas import DataFrame

HEAD = MetricGroup("head", "Head")

HEAD_METRICS: tuple[MetricSpec, ...] = (
    MetricSpec(
        "head/rank",
        "Rank of the head",
        "count",
        "none",
        "singular values of W above eps (sqrt C + sqrt m) |W|_F / sqrt(C m)",
        "SING eq. 1",
        "Number of feature directions that the head reads.",
        group=HEAD,
    ),
    MetricSpec(
        "head/null_dim",
        "Null dimension",
        "count",
        "none",
        "m - rank",
        "SING eq. 2",
        "Number of feature directions that change no logit. 0: there is nothing to see here.",
        group=HEAD,
    ),
    MetricSpec(
        "head/null_energy",
        "Null energy",
        "share",
        "none",
        "sum |P_n f|^2 / sum |f|^2",
        "ours",
        "Share of the features' energy that the head cannot see; mostly the mean feature.",
        group=HEAD,
    ),
    MetricSpec(
        CENTERED.named("head/null_energy"),
        "Null energy, centered",
        "share",
        "none",
        "sum |P_n (f - mu)|^2 / sum |f - mu|^2",
        "ours",
        "Share of the features' variance that the head cannot see.",
        group=HEAD,
        baseline=RANDOM.named("head/null_energy"),
    ),
    MetricSpec(
        RANDOM.named("head/null_energy"),
        "Null energy, random subspace",
        "share",
        "none",
        "sum |R (f - mu)|^2 / sum |f - mu|^2, R drawn for each image",
        "ours",
        "The variance that a random subspace of the null space's size holds: the baseline.",
        group=HEAD,
    ),
    MetricSpec(
        "head/mean_share",
        "Mean's share of null energy",
        "share",
        "none",
        "N |P_n mu|^2 / sum |P_n f|^2",
        "ours",
        "How much of the null energy is one constant vector. Large: read the centered scores.",
        group=HEAD,
    ),
    MetricSpec(
        "head/null_angle",
        "Null angle",
        "deg",
        "none",
        "mean of angle(f, f - P_n f)",
        "ours",
        "How far features stand off the head's row space, before any translation.",
        group=HEAD,
    ),
    MetricSpec(
        "head/drift",
        "Drift of the row space",
        "share",
        "none",
        "0.5 |P - P'|_F^2 / min(r, m - r), r the mean rank, P' of the last analyzed head",
        "ours",
        "How far the head turned since the last analyzed validation: 0 not at all, 1 as far as "
        "possible. NaN at first.",
        group=HEAD,
    ),
    MetricSpec(
        "head/condition",
        "Condition of the head",
        "ratio",
        "none",
        "sigma_1 / sigma_r",
        "ours",
        "Largest over smallest non-zero singular value. Very large: the rank is a matter of taste.",
        group=HEAD,
    ),
)

SPECTRUM = TableSpec(
    "spectrum",
    "Spectrum of the head",
    "A singular value of the head's weight, largest first.",
    (
        ColumnSpec("index", "", "Place in the order, from 0."),
        ColumnSpec("singular_value", "1", "The singular value."),
        ColumnSpec("in_row_space", "", "Whether it counts toward the rank."),
    ),
)


def analyze_head(observation: Observation) -> Findings:
    """Rank, condition and drift of the head, and the energy of features in its null space.

    Returns:
        Scalars ``head/*``; table ``spectrum``.
    """
    snapshot, geometry, center = observation.snapshot, observation.geometry, observation.center
    features, energies = snapshot.features, squared_norms(snapshot.features)
    origin = torch.zeros_like(center)
    invisible, visible = split_energy(
        features, energies, snapshot.seen, geometry, center, about=origin
    )
    raw, varying = float(invisible.sum()), observation.varying
    deviating = observation.random.energies
    centered, _ = split_energy(features, deviating, snapshot.seen, geometry, center)
    head = whole(snapshot).geometry
    scalars = {
        "head/rank": float(head.rank),
        "head/null_dim": float(head.null_dim),
        "head/null_energy": ratio(raw, float(energies.sum())),
        CENTERED.named("head/null_energy"): ratio(float(centered.sum()), varying),
        RANDOM.named("head/null_energy"): ratio(observation.random.energy, varying),
        "head/mean_share": ratio(len(features) * energy(geometry.null(center)), raw),
        "head/null_angle": _null_angle(invisible, visible),
        "head/drift": _drift(head, observation.previous_head),
        "head/condition": head.condition,
    }
    return Findings(scalars, {"spectrum": _spectrum(geometry)})


def _drift(head: HeadGeometry, previous: HeadGeometry | None) -> float:
    """NaN without a previous head, and where that one reads other features."""
    if previous is None or previous.feature_dim != head.feature_dim:
        return math.nan
    return head.drift_from(previous)


def _null_angle(invisible: Tensor, visible: Tensor) -> float:
    """Mean angle(f, P_p f), from the legs of the right triangle that they span with P_n f.

    90 for a feature that is all null; a zero feature has no direction and does not count.

    Args:
        invisible: ``|P_n f|^2``, (N,).
        visible: ``|P_p f|^2``, (N,).
    """
    angles = torch.rad2deg(torch.atan2(invisible.sqrt(), visible.sqrt()))
    return average(angles[(invisible > 0) | (visible > 0)])


def _spectrum(geometry: HeadGeometry) -> DataFrame:
    from pandas import DataFrame

    values = geometry.singular_values.cpu().double().numpy()
    return DataFrame(
        {
            "index": range(len(values)),
            "singular_value": values,
            "in_row_space": [i < geometry.rank for i in range(len(values))],
        }
    )


ANALYSIS = Analysis("head", analyze_head, HEAD_METRICS, (SPECTRUM,))
