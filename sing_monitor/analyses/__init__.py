"""The analyses: each is one function from a translated snapshot to findings, listed here."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import torch

from sing_monitor.analyses.classes import CLASS_METRICS, add_support
from sing_monitor.analyses.collapse import COLLAPSE_METRICS, analyze_collapse
from sing_monitor.analyses.intervals import analyze_intervals
from sing_monitor.analyses.invariants import analyze_invariants
from sing_monitor.analyses.invariants_metrics import INVARIANTS_METRICS
from sing_monitor.analyses.perturbation import PERTURBATION_METRICS, analyze_perturbations
from sing_monitor.analyses.ridge import analyze_ridge
from sing_monitor.analyses.steering import STEERING_METRICS, analyze_steering
from sing_monitor.analyses.support import SUPPORT_METRICS, analyze_support
from sing_monitor.findings import MONITOR_METRICS, Findings, MetricSpec
from sing_monitor.head.geometry import HeadGeometry
from sing_monitor.observation import Translation, translate
from sing_monitor.snapshot import Snapshot
from sing_monitor.space.text_embeddings import Texts
from sing_monitor.translate.random_subspaces import RANDOM_SEED
from sing_monitor.translate.reduced import reduced

__all__ = [
    "CATALOGUE",
    "Translation",
    "analyze",
    "analyze_collapse",
    "analyze_intervals",
    "analyze_invariants",
    "analyze_perturbations",
    "analyze_ridge",
    "analyze_steering",
    "analyze_support",
    "translate",
]

# Features between these have squares, and squares of squares, that single precision holds.
_SMALL, _LARGE = 1e-6, 1e8

CATALOGUE: tuple[MetricSpec, ...] = (
    *INVARIANTS_METRICS,
    *CLASS_METRICS,
    *SUPPORT_METRICS,
    *COLLAPSE_METRICS,
    *STEERING_METRICS,
    *PERTURBATION_METRICS,
    *MONITOR_METRICS,
)


def analyze(
    snapshot: Snapshot,
    texts: Texts,
    *,
    ridge: float | Literal["auto"] = "auto",
    previous_head: HeadGeometry | None = None,
    seed: int = RANDOM_SEED,
    n_images: int = 64,
) -> Findings:
    """Every analysis of one snapshot, on one translation of it.

    Args:
        snapshot: of one validation.
        texts: as for :func:`translate`.
        ridge: as for :func:`translate`.
        previous_head: as for :func:`analyze_invariants`.
        seed: as for :func:`translate`.
        n_images: as for :func:`analyze_invariants`.

    Raises:
        ValueError: as :func:`translate` does.
    """
    snapshot = reduced(_in_range(snapshot))
    translation = translate(snapshot, texts, ridge=ridge, seed=seed)
    invariants = analyze_invariants(translation, previous_head=previous_head, n_images=n_images)
    support = analyze_support(translation)
    classes = add_support(invariants.tables["classes"], support.tables["class_support"])
    return (
        Findings(invariants.scalars, {**invariants.tables, "classes": classes})
        | analyze_intervals(translation, invariants.scalars)
        | support
        | analyze_ridge(translation)
        | analyze_collapse(snapshot)
        | analyze_steering(translation)
        | analyze_perturbations(translation, seed=seed)
    )


def _in_range(snapshot: Snapshot) -> Snapshot:
    """The snapshot, in double precision where squares in single precision vanish or overflow."""
    features = snapshot.features
    largest = float(features.abs().max()) if features.numel() else 0.0
    is_usual = largest == 0 or _SMALL < largest < _LARGE or not math.isfinite(largest)
    if features.dtype == torch.float64 or is_usual:
        return snapshot
    return replace(snapshot, features=features.double())
