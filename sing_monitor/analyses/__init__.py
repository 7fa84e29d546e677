"""The analyses: each is one function from a snapshot to findings. They are listed here."""

from __future__ import annotations

from typing import Literal

from sing_monitor.analyses.collapse import COLLAPSE_METRICS, analyze_collapse
from sing_monitor.analyses.invariants import analyze_invariants
from sing_monitor.analyses.metrics import INVARIANTS_METRICS
from sing_monitor.embeddings import Texts
from sing_monitor.findings import MONITOR_METRICS, Findings, MetricSpec
from sing_monitor.geometry import RANDOM_SEED, HeadGeometry
from sing_monitor.snapshot import Snapshot

__all__ = ["CATALOGUE", "analyze", "analyze_collapse", "analyze_invariants"]

CATALOGUE: tuple[MetricSpec, ...] = (*INVARIANTS_METRICS, *COLLAPSE_METRICS, *MONITOR_METRICS)


def analyze(
    snapshot: Snapshot,
    texts: Texts,
    *,
    ridge: float | Literal["auto"] = "auto",
    previous_head: HeadGeometry | None = None,
    seed: int = RANDOM_SEED,
    n_images: int = 64,
) -> Findings:
    """Every analysis of one snapshot; the arguments are those of :func:`analyze_invariants`."""
    return analyze_invariants(
        snapshot, texts, ridge=ridge, previous_head=previous_head, seed=seed, n_images=n_images
    ) | analyze_collapse(snapshot)
