"""The metrics of the monitor itself: what it cost and on which images the others stand."""

from __future__ import annotations

from sing_monitor.analyses.analysis import Analysis
from sing_monitor.findings import Findings, MetricGroup, MetricSpec
from sing_monitor.observation import Observation
from sing_monitor.scores.near_copies import BOUND, near_copies

MONITOR = MetricGroup("monitor", "Monitor")

MONITOR_METRICS: tuple[MetricSpec, ...] = (
    MetricSpec(
        "monitor/seconds",
        "Seconds spent by the monitor",
        "s",
        "lower",
        "wall time inside the callback's hooks, from one logged validation to the next",
        "ours",
        "What the monitor cost this epoch. The first epoch also embeds the probe images, once.",
        group=MONITOR,
    ),
    MetricSpec(
        "monitor/samples",
        "Samples in the probe",
        "count",
        "none",
        "N",
        "ours",
        "How many validation images every score of this epoch stands on.",
        group=MONITOR,
    ),
    MetricSpec(
        "monitor/accuracy",
        "Accuracy on the probe",
        "share",
        "higher",
        "mean of [argmax(W f + b) = label]",
        "ours",
        "Share of probe images the model classifies correctly, from the same features.",
        group=MONITOR,
        short="Accuracy",
    ),
    MetricSpec(
        "monitor/global_step",
        "Trainer's global step",
        "count",
        "none",
        "trainer.global_step",
        "Lightning",
        "Joins a point of a curve to the tables of the same validation, together with the epoch.",
        group=MONITOR,
    ),
    MetricSpec(
        "monitor/stage",
        "Stage",
        "1",
        "none",
        "0 inside fit, 1 for a validation outside fit",
        "ours",
        "Tells points of the training history from a later call of trainer.validate.",
        group=MONITOR,
    ),
    MetricSpec(
        "monitor/skipped",
        "Skipped images",
        "count",
        "lower",
        "images that belong to the probe and could not be used",
        "ours",
        "Above 0 when an epoch was skipped or images were lost. The warning says why. NaN when an "
        "epoch was skipped and nothing tells how many images it would have had.",
        group=MONITOR,
    ),
)

NEAR_COPIES = MetricSpec(
    "monitor/near_copies",
    "Near copies across the folds",
    "share",
    "lower",
    f"share of images with cos(z - mean z, z' - mean z) > {BOUND} for an image z' of the other "
    "fold; from at most 512 images",
    "ours",
    "Images that a translator knows from a copy: several photographs of one object, frames of one "
    "video. Above 0.05 no score can be trusted: tell the monitor the groups, "
    'groups="patient_id", say.',
    group=MONITOR,
)


def analyze_near_copies(observation: Observation) -> Findings:
    """Look for near copies across the folds, also where groups are given: they may be too small.

    Returns:
        Scalar ``monitor/near_copies``.
    """
    share = near_copies(observation.embeddings, observation.snapshot.folds)
    return Findings({NEAR_COPIES.key: share})


ANALYSIS = Analysis(
    "near_copies",
    analyze_near_copies,
    (NEAR_COPIES,),
    needs=frozenset({"embeddings"}),
    part_of="sing",
)
