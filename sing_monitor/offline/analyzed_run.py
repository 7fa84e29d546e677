"""Runs that no trainer writes: analysed weights, found again by where they come from."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sing_monitor.analyses import CATALOGUE
from sing_monitor.findings import Findings, complete
from sing_monitor.tracking import RunReader, RunWriter
from sing_monitor.tracking.kept_scalars import KeptScalars
from sing_monitor.tracking.layout import MARKER_TAG, Layout
from sing_monitor.tracking.runs import monitored_runs
from sing_monitor.tracking.store import (
    ArtifactNotFoundError,
    StoreError,
    check_answers,
    reason,
    redact,
    short_waits,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from sing_monitor.snapshot import Snapshot

_SOURCE = "source"


class History:
    """One run whose epochs are analysed after its training; taken up again where it ended.

    Args:
        client: knows the tracking URI.
        experiment: created when it is new.
        source: where the weights come from; the same source leads to the same run again.
        run_name: of a new run.
        spool_dir: where what cannot be sent waits.

    Raises:
        StoreError: if the store cannot be reached.
    """

    def __init__(
        self, client: MlflowClient, experiment: str, source: str, run_name: str, spool_dir: Path
    ) -> None:
        self._client = client
        uri = str(client.tracking_uri)
        try:
            check_answers(uri)
            with short_waits():
                self.run_id = _find_or_create(client, experiment, source, run_name)
        # Every kind of store has exceptions of its own.
        except Exception as error:
            raise StoreError(f"MLflow at {redact(uri)} cannot be used: {reason(error)}.") from None
        self._source = source
        self._writer = RunWriter(client, self.run_id, spool_dir)
        self._reader = RunReader(uri, self.run_id)

    def analyzed(self) -> dict[tuple[int, int], float]:
        """The (epoch, global step) of what the run holds already, each with its ridge."""
        curves = self._reader.scalars(["translator/ridge"]).dropna(subset=["epoch", "global_step"])
        keys = zip(curves["epoch"], curves["global_step"], strict=True)
        return {
            (int(epoch), int(step)): float(ridge)
            for (epoch, step), ridge in zip(keys, curves["translator/ridge"], strict=True)
        }

    def head_name(self) -> str | None:
        """The dotted name of the head that was analysed; None where the run does not tell."""
        try:
            return self._reader.config().get("head")
        except ArtifactNotFoundError:
            return None

    def add(
        self,
        findings: Findings,
        *,
        epoch: int,
        step: int,
        seconds: float,
        config: Mapping[str, Any],
        tags: Mapping[str, str],
        thumbnails: Mapping[str, NDArray[np.uint8]],
        attributes: tuple[str, ...] = (),
        snapshot: Snapshot | None = None,
    ) -> None:
        """Store tables, pictures and curves of one epoch; the curves last, which mark it as done.

        Args:
            findings: of one set of weights.
            epoch: theirs.
            step: their global step, which is MLflow's step too.
            seconds: that the analysis took.
            config: how the findings come about.
            tags: the same in a few words.
            thumbnails: pictures by image id.
            attributes: names of the annotated attributes.
            snapshot: stored if it is given; a later one takes its place.

        Raises:
            DeliveryError: if tables could not be sent; they wait in the spool.
        """
        with self._writer.together():
            self._writer.describe(config, {**tags, _SOURCE: self._source})
            self._writer.write(findings, epoch=epoch, step=step, thumbnails=thumbnails)
            if snapshot is not None:
                self._writer.write_snapshot(snapshot)
        own = {
            "monitor/seconds": seconds,
            "monitor/global_step": float(step),
            # Weights of a training stand in its history, whenever they are analysed.
            "monitor/stage": 0.0,
        }
        values = complete({**findings.scalars, **own}, CATALOGUE, attributes)
        logged = {"epoch": float(epoch), **values}
        kept = KeptScalars(logged, step, round(1000 * time.time()), "monitor/global_step")
        kept.send(self._client, self.run_id)

    def finish(self, status: str = "FINISHED") -> None:
        """Say how it ended: FINISHED, FAILED or KILLED."""
        self._client.set_terminated(self.run_id, status)


def _find_or_create(client: MlflowClient, experiment: str, source: str, run_name: str) -> str:
    tag = Layout().tag(_SOURCE)
    known = client.get_experiment_by_name(experiment)
    experiment_id = known.experiment_id if known else client.create_experiment(experiment)
    for run in monitored_runs(client, [experiment_id]):
        if run.data.tags.get(tag) == source:
            client.update_run(run.info.run_id, status="RUNNING")
            return str(run.info.run_id)
    created = client.create_run(
        experiment_id, run_name=run_name, tags={tag: source, MARKER_TAG: "true"}
    )
    return str(created.info.run_id)
