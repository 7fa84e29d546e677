"""The metrics of the monitor itself: what it cost and on how many images the others stand."""

from __future__ import annotations

from sing_monitor.findings import MetricGroup, MetricSpec

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
        "Above 0 when an epoch was skipped or images were lost. The warning says why.",
        group=MONITOR,
    ),
)
