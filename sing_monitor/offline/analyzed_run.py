"""Runs that no trainer writes: analyzed weights, found again by where they come from."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sing_monitor.analyses import captured_by, catalogue_of
from sing_monitor.findings import Findings, complete
from sing_monitor.inputs.resolved_inputs import NONE
from sing_monitor.tracking import (
    NoStoreError,
    NotFoundError,
    Run,
    RunReader,
    RunWriter,
    Store,
    StoreError,
)
from sing_monitor.tracking.errors import reason
from sing_monitor.tracking.layout import MARKER_TAG, Layout

if TYPE_CHECKING:
    from sing_monitor.snapshot import Snapshot

_SOURCE = "source"


class History:
    """One run whose epochs are analyzed after its training; taken up again where it ended.

    Args:
        store: holds the run, or gets it.
        experiment: created when it is new.
        source: where the weights come from; the same source leads to the same run again.
        run_name: of a new run.
        spool_dir: where what cannot be sent waits; None for a store with a place of its own.

    Raises:
        StoreError: if the store cannot be reached.
    """

    def __init__(
        self, store: Store, experiment: str, source: str, run_name: str, spool_dir: Path | None
    ) -> None:
        self._run = _find_or_create(store, experiment, source, run_name)
        self.run_id = self._run.run_id
        self._source = source
        self._writer = RunWriter(self._run, spool_dir)
        self._reader = RunReader(store.uri, self.run_id)

    def analyzed(self) -> dict[tuple[int, int], float]:
        """The (epoch, global step) of what the run holds already, each with its ridge."""
        keys = ["translator/ridge", "probe/ridge"]
        curves = self._reader.scalars(keys).dropna(subset=["epoch", "global_step"])
        ridges = curves["translator/ridge"].fillna(curves["probe/ridge"])
        places = zip(curves["epoch"], curves["global_step"], strict=True)
        return {
            (int(epoch), int(step)): float(ridge)
            for (epoch, step), ridge in zip(places, ridges, strict=True)
        }

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
            step: their global step, which is the tracker's step too.
            seconds: that the analysis took.
            config: how the findings come about.
            tags: the same in a few words.
            thumbnails: pictures by image id.
            attributes: names of the annotated attributes.
            snapshot: stored if it is given; a later one takes its place.

        Raises:
            DeliveryError: if tables could not be sent; they wait in the spool.
            StoreError: if the curves could not be sent.
        """
        with self._writer.together():
            way = {"way": "analyze"}
            tags = {**tags, **way, _SOURCE: self._source}
            self._writer.describe({**config, **way}, tags, since=epoch)
            self._writer.write(findings, epoch=epoch, step=step, thumbnails=thumbnails)
            if snapshot is not None:
                self._writer.write_snapshot(snapshot)
        own = {
            "monitor/seconds": seconds,
            "monitor/global_step": float(step),
            # Weights of a training stand in its history, whenever they are analysed.
            "monitor/stage": 0.0,
        }
        captured = captured_by(config, has_space=tags.get("reference") != NONE)
        specs = catalogue_of(captured, config.get("analyses"))
        values = complete({**findings.scalars, **own}, specs, attributes)
        logged = {"epoch": float(epoch), **values}
        try:
            self._run.put_scalars(logged, step, round(1000 * time.time()))
        # Every kind of store has exceptions of its own.
        except Exception as error:
            raise StoreError(
                f"the curves of epoch {epoch} cannot be sent to {self._run.store.place}: "
                f"{reason(error, self._run.store.uri)}."
            ) from None

    def finish(self, status: str = "FINISHED") -> None:
        """Say how it ended: FINISHED, FAILED or KILLED."""
        self._run.finish(status)


def _find_or_create(store: Store, experiment: str, source: str, run_name: str) -> Run:
    tag = Layout().tag(_SOURCE)
    try:
        known = store.runs(experiment)
    except (NoStoreError, NotFoundError):
        known = []
    for run in known:
        if run.tags.get(tag) == source:
            return store.resume_run(run.run_id)
    return store.create_run(
        run_name=run_name, experiment=experiment, tags={tag: source, MARKER_TAG: "true"}
    )
