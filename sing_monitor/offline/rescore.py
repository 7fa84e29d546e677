"""Stored snapshots analyzed again, so that runs have one ridge and one number of images."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from sing_monitor.analyses import analyze, captured_by, catalogue_of
from sing_monitor.analyses.dynamics.specs import METRICS as DYNAMICS_METRICS
from sing_monitor.analyses.monitor_metrics import MONITOR_METRICS
from sing_monitor.findings import Findings, complete
from sing_monitor.observation import Observation
from sing_monitor.offline.snapshot_source import Source
from sing_monitor.tracking import RunWriter, Store
from sing_monitor.tracking.backend import StoredRun
from sing_monitor.tracking.layout import MARKER_TAG
from sing_monitor.tracking.runs import own_metrics
from sing_monitor.translate.reduced import reduced
from sing_monitor.untrusted.settings import analyses_by_epoch

_RESCORED_FROM = "rescored_from"
# What the training logged, where the snapshot alone does not tell it.
_OF_THE_IMAGES = "similarity/drift"
_SINCE_LAST = ("head/drift", "hierarchy/tree_change", _OF_THE_IMAGES)
_AS_LOGGED = (
    *_SINCE_LAST,
    *(spec.key for spec in DYNAMICS_METRICS),
    *(spec.key for spec in MONITOR_METRICS),
)
# Alerts are about the old numbers; `sing-monitor analyze` finds a run again by its source.
_NOT_TAKEN_OVER = ("alerts", "groups", "schema", "source")


@dataclass(frozen=True, eq=False)
class Rescored:
    """A source under another ridge.

    Args:
        source: what was analyzed.
        ridge: rho.
        findings: scalars and tables, as a training with that ridge would have found them.
        seconds: that the analysis took.
    """

    source: Source
    ridge: float
    findings: Findings
    seconds: float

    @property
    def run_name(self) -> str:
        """Name of the new run."""
        name = f"{self.source.run.run_name}, ridge {self.ridge:.3g}"
        return f"{name}, {len(self.source.snapshot)} images" if self.source.is_cut else name


def best_ridge(source: Source) -> float:
    """Rho of the best held-out R2.

    Raises:
        ValueError: if the images are too few to choose by.
    """
    ridge = Observation(reduced(source.snapshot), source.texts).fit.ridge
    if not math.isfinite(ridge):
        raise ValueError(
            f"the {len(source.snapshot)} images of run {source.run.run_id} are too few to choose a "
            "ridge. Give --ridge a number."
        )
    return ridge


def common_ridge(ridges: Sequence[float]) -> float:
    """Geometric mean of the best rho of several runs: R2 is flat in log rho about its best."""
    return math.exp(math.fsum(map(math.log, ridges)) / len(ridges))


def rescored_before(known: Sequence[StoredRun], source: Source, ridge: float) -> StoredRun | None:
    """The run that holds a source under a ridge already; None if there is none."""
    reader = source.reader
    for run in known:
        if reader.layout.tags(run.tags).get(_RESCORED_FROM) != source.run.run_id:
            continue
        names = own_metrics(reader.store, run, reader.layout)
        logged = {key: run.metrics[metric] for key, metric in names.items()}
        same_ridge = math.isclose(logged.get("translator/ridge", math.nan), ridge, rel_tol=1e-6)
        same_images = logged.get("monitor/samples") == len(source.snapshot)
        if run.status == "FINISHED" and same_ridge and same_images:
            return run
    return None


def rescore(source: Source, ridge: float) -> Rescored:
    """Analyze a snapshot under a ridge.

    Raises:
        ValueError: if the snapshot holds NaN or infinite values.
    """
    started = time.perf_counter()
    config = source.reader.config()
    n_images = int(config.get("n_images", 64))
    found = analyze(
        source.snapshot,
        source.texts,
        ridge=ridge,
        n_images=n_images,
        chosen=analyses_by_epoch(config)[-1].chosen,
    )
    return Rescored(source, ridge, found, time.perf_counter() - started)


def store_rescored(rescored: Rescored, store: Store, spool_dir: Path | None) -> str:
    """Write a new run beside the old one, which stays as it is.

    Args:
        rescored: what the new run holds, at the epoch and steps of the old one.
        store: of both.
        spool_dir: where what cannot be sent waits; None for a store with a place of its own.

    Returns:
        The id of the new run.

    Raises:
        StoreError: if the run cannot be made, or the old one cannot be read.
        DeliveryError: if something could not be sent; it waits in the spool.
    """
    source, snapshot = rescored.source, rescored.source.snapshot
    reader, layout, tags = source.reader, source.reader.layout, source.tags
    at = {"epoch": snapshot.epoch, "step": snapshot.step}
    stored = reader.config()
    config = {**stored, "version": version("sing-monitor"), "ridge": rescored.ridge}
    # The snapshot is of the last epoch.
    config["analyses"] = analyses_by_epoch(stored)[-1].chosen
    config.pop("analyses_since", None)
    if source.is_cut:
        config["probe_size"] = len(snapshot)
    kept = {key: value for key, value in tags.items() if key not in _NOT_TAKEN_OVER}
    kept[_RESCORED_FROM] = source.run.run_id
    logged, tracker_step = _logged(source)
    scalars = _scalars(rescored, logged)
    thumbnails = reader.thumbnails(rescored.findings.tables["images"]["image"])
    run = store.create_run(
        run_name=rescored.run_name,
        experiment=source.run.experiment,
        tags={MARKER_TAG: "true", layout.tag(_RESCORED_FROM): source.run.run_id},
    )
    try:
        writer = RunWriter(run, spool_dir, reader.name)
        with writer.together():
            writer.keep_scalars(
                scalars,
                epoch=snapshot.epoch,
                step=snapshot.step,
                tracker_step=tracker_step,
                metric_prefix=tags.get("metric_prefix", ""),
                by_logger=False,
            )
            writer.describe(config, kept)
            # Their groups are named with the tables: also those of what was logged alone.
            findings = replace(rescored.findings, scalars=scalars)
            writer.write(findings, **at, thumbnails=thumbnails)
            writer.write_snapshot(snapshot)
        run.finish("FINISHED")
    except BaseException:
        # A store that takes nothing more takes no status either.
        with suppress(Exception):
            run.finish("FAILED")
        raise
    return run.run_id


def _logged(source: Source) -> tuple[dict[str, float], int]:
    """What a training logged at the snapshot's validation, and the tracker's step."""
    snapshot = source.snapshot
    history = source.reader.scalars(_AS_LOGGED)
    here = (history["epoch"] == snapshot.epoch) & (history["global_step"] == snapshot.step)
    rows = history[here.fillna(False)]
    if rows.empty:
        return {}, snapshot.step
    last = rows.iloc[-1]
    logged = {key: float(last[key]) for key in _AS_LOGGED}
    if source.is_cut:
        # It was measured on images that may be left out.
        del logged[_OF_THE_IMAGES]
    return logged, int(last["step"])


def _scalars(rescored: Rescored, logged: Mapping[str, float]) -> dict[str, float]:
    """Every key of the catalogue, as a training logs them."""
    snapshot = rescored.source.snapshot
    config = rescored.source.reader.config()
    chosen = analyses_by_epoch(config)[-1].chosen
    specs = catalogue_of(captured_by(config, has_space=True), chosen)
    attributes = tuple(snapshot.attributes)
    own = {
        "monitor/seconds": rescored.seconds,
        "monitor/global_step": float(snapshot.step),
        "monitor/samples": float(len(snapshot)),
        "monitor/accuracy": snapshot.accuracy,
    }
    found = {key: x for key, x in rescored.findings.scalars.items() if math.isfinite(x)}
    # A run without feature maps, or that follows no weights, logs none of their metrics.
    possible = {spec.key for spec in specs}
    taken = {key: value for key, value in logged.items() if key in possible}
    return complete({**taken, **found, **own}, specs, attributes)
