"""The analyses: each is one function of an observation with its specs, listed here."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import reduce
from operator import or_
from typing import Any, Literal

import torch
from torch import Tensor

from sing_monitor.analyses import (
    classes,
    collapse,
    concepts,
    head,
    images,
    intervals,
    invariants,
    monitor_metrics,
    perturbation,
    readings,
    ridge_slopes,
    steering,
    support,
    translator,
)
from sing_monitor.analyses.analysis import Analysis, Need, needs_met
from sing_monitor.analyses.dynamics import analysis as weight_dynamics
from sing_monitor.analyses.focus import analysis as where_focus_lies
from sing_monitor.analyses.hierarchy import analysis as class_hierarchy
from sing_monitor.analyses.hierarchy import text as text_hierarchy
from sing_monitor.analyses.layers import analysis as room_of_features
from sing_monitor.analyses.layers import stages as room_of_stages
from sing_monitor.analyses.monitor_metrics import MONITOR_METRICS
from sing_monitor.analyses.parts import meaning, probes, refits
from sing_monitor.analyses.similarity import analysis as image_similarity
from sing_monitor.findings import (
    Findings,
    MetricGroup,
    MetricSpec,
    TableSpec,
    check_tables,
)
from sing_monitor.head.geometry import HeadGeometry
from sing_monitor.observation import Observation
from sing_monitor.snapshot import Snapshot
from sing_monitor.space.text_embeddings import Texts
from sing_monitor.translate.precision import check_ridge
from sing_monitor.translate.random_subspaces import RANDOM_SEED
from sing_monitor.translate.reduced import reduced
from sing_monitor.weights.trajectory import Trajectory

__all__ = [
    "ANALYSES",
    "CATALOGUE",
    "CHOICES",
    "GROUPS",
    "IN_SPACE",
    "TABLES",
    "Analysis",
    "Need",
    "Observation",
    "analyze",
    "captured_by",
    "catalogue_of",
]

# Features between these have squares, and squares of squares, that single precision holds.
_SMALL, _LARGE = 1e-6, 1e8

# In the order in which readers list the metrics.
ANALYSES: tuple[Analysis, ...] = (
    refits.ANALYSIS,
    invariants.ANALYSIS,
    readings.ANALYSIS,
    head.ANALYSIS,
    translator.ANALYSIS,
    meaning.ANALYSIS,
    probes.ANALYSIS,
    classes.ANALYSIS,
    images.ANALYSIS,
    concepts.ANALYSIS,
    intervals.ANALYSIS,
    ridge_slopes.ANALYSIS,
    support.ANALYSIS,
    collapse.ANALYSIS,
    room_of_features.ANALYSIS,
    room_of_stages.ANALYSIS,
    steering.ANALYSIS,
    perturbation.ANALYSIS,
    class_hierarchy.ANALYSIS,
    text_hierarchy.ANALYSIS,
    image_similarity.ANALYSIS,
    image_similarity.ALIGNMENT,
    where_focus_lies.ANALYSIS,
    weight_dynamics.ANALYSIS,
    monitor_metrics.ANALYSIS,
)

# The names by which users choose among them, with what each needs in all its parts.
CHOICES: Mapping[str, frozenset[Need]] = {
    choice: frozenset.intersection(*(each.needs for each in ANALYSES if each.choice == choice))
    for choice in dict.fromkeys(analysis.choice for analysis in ANALYSES)
}
CATALOGUE: tuple[MetricSpec, ...] = (
    *(spec for analysis in ANALYSES for spec in analysis.metrics),
    *MONITOR_METRICS,
)
TABLES: Mapping[str, TableSpec] = {
    spec.name: spec for analysis in ANALYSES for spec in analysis.tables
}
# Keys of what is measured in a semantic space: runs without one lack it, and values of different
# spaces do not compare.
IN_SPACE: frozenset[str] = frozenset(
    spec.key for analysis in ANALYSES if "embeddings" in analysis.needs for spec in analysis.metrics
)
GROUPS: Mapping[str, MetricGroup] = {spec.group.name: spec.group for spec in CATALOGUE}


def catalogue_of(
    captured: Collection[Need], chosen: Collection[str] | None = None
) -> tuple[MetricSpec, ...]:
    """The metrics that a run logs, the same at every validation.

    Args:
        captured: what a validation captures: as far as it is asked for. A model may have no feature
            maps; then what needs them is NaN.
        chosen: out of :data:`CHOICES`; None: all.
    """
    possible = _possible(captured, chosen)
    return (*(spec for analysis in possible for spec in analysis.metrics), *MONITOR_METRICS)


def captured_by(config: Mapping[str, Any], *, has_space: bool) -> frozenset[Need]:
    """What the validations of a stored run capture.

    Args:
        config: of the run. Earlier versions kept no feature maps, and followed no weights.
        has_space: whether images and texts are embedded.
    """
    return needs_met(
        embeddings=has_space,
        maps=int(config.get("n_maps", 0)) > 0,
        weights=int(config.get("n_weights", 0)) > 0,
        stages=bool(config.get("layers", False)),
    )


def analyze(
    snapshot: Snapshot,
    texts: Texts | None,
    *,
    ridge: float | Literal["auto"] = "auto",
    previous_head: HeadGeometry | None = None,
    seed: int = RANDOM_SEED,
    n_images: int = 64,
    previous: Mapping[str, Tensor] | None = None,
    trajectory: Trajectory | None = None,
    chosen: Collection[str] | None = None,
) -> Findings:
    """Run the analyses of one snapshot whose needs are met, on one observation of it.

    Args:
        snapshot: of one validation.
        texts: as for :class:`~sing_monitor.observation.Observation`; None: the analyses that need
            a semantic space are left out.
        ridge: as for the observation; 1e-6 to 1e3.
        previous_head: as for the observation.
        seed: as for the observation.
        n_images: as for the observation.
        previous: ``kept`` of the findings of the last validation; None: there was none.
        trajectory: as for the observation; None: the analyses that need it are left out.
        chosen: the analyses to run, out of :data:`CHOICES`; None: all.

    Raises:
        ValueError: as the observation does; for another ridge; and if an analysis returns a table
            that is not as its spec says.
    """
    check_ridge(ridge)
    observation = Observation(
        reduced(_in_range(snapshot)),
        texts,
        ridge,
        previous_head,
        seed,
        n_images,
        previous or {},
        trajectory,
    )
    there = needs_met(
        embeddings=observation.has_space,
        maps=snapshot.maps is not None,
        weights=trajectory is not None,
        stages=snapshot.stages is not None,
    )
    possible = _possible(there, chosen)
    found = (observation.once(analysis.run) for analysis in possible)
    findings = reduce(or_, found, Findings())
    check_tables(findings.tables, TABLES.values(), tuple(snapshot.attributes))
    return findings


def _possible(captured: Collection[Need], chosen: Collection[str] | None) -> list[Analysis]:
    return [
        analysis
        for analysis in ANALYSES
        if analysis.needs <= set(captured) and (chosen is None or analysis.choice in chosen)
    ]


def _in_range(snapshot: Snapshot) -> Snapshot:
    """The snapshot, in double precision where squares in single precision vanish or overflow."""
    features = snapshot.features
    # Without a copy of the features, which their absolute values would be.
    largest = float(torch.stack(features.aminmax()).abs().max()) if features.numel() else 0.0
    is_usual = largest == 0 or _SMALL < largest < _LARGE or not math.isfinite(largest)
    if features.dtype == torch.float64 or is_usual:
        return snapshot
    return replace(snapshot, features=features.double())
