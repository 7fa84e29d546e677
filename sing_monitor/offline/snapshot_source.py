"""Finished runs whose stored snapshots can be analyzed again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sing_monitor.capture.probe import hashes
from sing_monitor.inputs.resolved_inputs import PROTOTYPE
from sing_monitor.snapshot import Snapshot
from sing_monitor.space.text_embeddings import Texts, prototypes
from sing_monitor.tracking import ArtifactNotFoundError, RunNotFoundError, RunReader, Store
from sing_monitor.tracking.backend import StoredRun
from sing_monitor.tracking.layout import monitor_names

# Scores of runs that differ in one of these tags never compare.
_COMPARABLE = ("space", "reference", "invariance")


@dataclass(frozen=True, eq=False)
class Source:
    """A finished run with a snapshot that can be analyzed again.

    Args:
        run: as its store knows it.
        reader: of the run and its monitor.
        snapshot: with embeddings and texts; all of its images, or those of :meth:`cut`.
        texts: what the scores refer to.
        is_cut: whether images were left out.
    """

    run: StoredRun
    reader: RunReader
    snapshot: Snapshot
    texts: Texts
    is_cut: bool = False

    @property
    def tags(self) -> dict[str, str]:
        """Those of the monitor, by key."""
        return self.reader.layout.tags(self.run.tags)

    def cut(self, images: int) -> Source:
        """The same with the ``images`` images of smallest hash, as a smaller probe would have had.

        The hash is of the content: runs on the same validation images keep the same ones. Class
        prototypes are those of the images that stay.

        Raises:
            ValueError: if there are fewer images, or if their content is not known.
        """
        snapshot, texts = self.snapshot, self.texts
        if images == len(snapshot):
            return self
        if images > len(snapshot):
            raise ValueError(
                f"the snapshot of run {self.run.run_id} holds {len(snapshot)} images, and {images} "
                f"were asked for. Give --images {len(snapshot)} or fewer."
            )
        if snapshot.image_ids is None:
            raise ValueError(
                f"the snapshot of run {self.run.run_id} holds no image_ids, so {images} of its "
                f"{len(snapshot)} images cannot be chosen by content."
            )
        rows = hashes(snapshot.image_ids).argsort(stable=True)[:images].sort().values
        snapshot = snapshot.take(rows)
        if self.tags.get("reference") == PROTOTYPE:
            found = prototypes(snapshot.known_embeddings, snapshot.labels, snapshot.class_names)
            texts = replace(texts, classes=found)
        return replace(self, snapshot=replace(snapshot, texts=texts), texts=texts, is_cut=True)


def chosen_runs(store: Store, known: Sequence[StoredRun], given: Sequence[str]) -> list[StoredRun]:
    """The runs that some words mean, each once.

    Args:
        store: holds them.
        known: all runs of the store that a monitor wrote to.
        given: ids, or names that only one run has.

    Raises:
        RunNotFoundError: if there is no such run.
        ValueError: if several runs have a name.
    """
    found = {}
    for word in given:
        runs = [run for run in known if run.run_id == word]
        runs = runs or [run for run in known if run.run_name == word]
        if not runs:
            raise RunNotFoundError(
                f"{store.place} has no run of the id or name {word!r} that a monitor wrote to."
            )
        if len(runs) > 1:
            ids = ", ".join(run.run_id for run in runs)
            raise ValueError(f"{len(runs)} runs have the name {word!r}. Give the id of one: {ids}.")
        found[runs[0].run_id] = runs[0]
    return list(found.values())


def read_source(store: Store, run: StoredRun, name: str | None) -> Source:
    """Read what a run stored.

    Args:
        store: holds the run.
        run: a finished one.
        name: of the monitor, for runs that have several.

    Raises:
        ArtifactNotFoundError: if the run stored no snapshot.
        ValueError: if the run has no such monitor, if its snapshot holds no embeddings or no
            texts, or if a file is damaged.
        StoreError: if the store cannot be reached.
    """
    names = monitor_names(run.tags)
    if name not in names:
        shown = ", ".join(f"--name {each}" for each in names if each) or "none with a name"
        raise ValueError(
            f"run {run.run_id} has no monitor {'without a name' if name is None else repr(name)}; "
            f"it has {shown}."
        )
    reader = RunReader(store.uri, run.run_id, name)
    try:
        snapshot = reader.snapshot()
    except ArtifactNotFoundError as error:
        raise ArtifactNotFoundError(
            f"{str(error).rstrip('.')}. A run cannot be rescored without a snapshot: train with "
            "save_snapshots=True, or analyze the checkpoints of the run with sing-monitor analyze "
            "--save-snapshots."
        ) from None
    if snapshot.embeddings is None:
        raise ValueError(
            f"run {run.run_id} was monitored without a semantic space, so there is no translator "
            "whose ridge could be another. Leave it out."
        )
    if snapshot.texts is None:
        raise ValueError(
            f"the snapshot of run {run.run_id} holds no texts, because an early version wrote it. "
            "Analyze the checkpoints of the run with sing-monitor analyze --save-snapshots --ridge."
        )
    return Source(run, reader, snapshot, snapshot.texts)


def unlike(sources: Sequence[Source]) -> dict[str, list[str]]:
    """What keeps runs from being compared under any ridge: the values by tag.

    Returns:
        Those of ``space``, ``reference`` and ``invariance`` in which the runs differ.
    """
    values = {
        key: sorted({source.tags.get(key, "unknown") for source in sources}) for key in _COMPARABLE
    }
    return {key: found for key, found in values.items() if len(found) > 1}
