"""Checkpoints one after the other: each analysed once, and logged as an epoch of a run."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from sing_monitor.errors import Option, SetupError
from sing_monitor.offline.analyze import AnalyzedModel, analyze
from sing_monitor.offline.analyzed_run import History
from sing_monitor.offline.checkpoints import Checkpoint
from sing_monitor.translate.ridge_curve import KeptRidge, ridge_to_keep


@dataclass(frozen=True, eq=False)
class Result:
    """What became of one checkpoint; neither of both: the run held it already.

    Args:
        checkpoint: the file.
        found: what was found and stored.
        failure: why it could not be analysed.
    """

    checkpoint: Checkpoint
    found: AnalyzedModel | None = None
    failure: str | None = None


@dataclass(frozen=True)
class Series:
    """How checkpoints are analysed.

    Args:
        build: the model of a checkpoint, with its weights.
        loader: of the images to judge a model by.
        device: where models run.
        settings: further arguments of :func:`analyze`.
        save_snapshots: whether features and embeddings are stored.
        spell: the sentence of an error, for whoever asked.
    """

    build: Callable[[Checkpoint], nn.Module]
    loader: Callable[[nn.Module], Any]
    device: str | torch.device
    settings: Mapping[str, Any]
    save_snapshots: bool = False
    spell: Callable[[Exception], str] = str

    def fill(self, history: History, checkpoints: Sequence[Checkpoint]) -> Iterator[Result]:
        """Analyse what a run lacks.

        The ridge is chosen at the first epoch and kept until it costs too much, and the drift of
        the head is that since the checkpoint before. Where an earlier call got so far, that one is
        analyzed once more, because the run does not hold what the next is compared with.

        Args:
            history: the run.
            checkpoints: in the order of the training, each with a place of its own.

        Yields:
            One result for each, as soon as it is stored.

        Raises:
            OSError: if the store takes nothing more.
        """
        known = history.analyzed()
        asked: float | Literal["auto"] = self.settings.get("ridge", "auto")
        ridge = _kept(asked, *known.values())
        before: Checkpoint | None = None
        last: _Last | None = None
        for checkpoint in checkpoints:
            if place(checkpoint) in known:
                before, last = checkpoint, None
                ridge = _kept(ridge, known[place(checkpoint)])
                yield Result(checkpoint)
                continue
            started = time.perf_counter()
            try:
                if last is None and before is not None:
                    last = _Last.of(self._analyze(before, ridge, None))
                found = self._analyze(checkpoint, ridge, last)
            except (ValueError, TypeError) as error:
                yield Result(checkpoint, failure=self.spell(error))
                continue
            self._store(history, checkpoint, found, time.perf_counter() - started)
            last = _Last.of(found)
            ridge = _kept(ridge, ridge_to_keep(found.scalars))
            yield Result(checkpoint, found)

    def _analyze(
        self, checkpoint: Checkpoint, ridge: float | Literal["auto"], last: _Last | None
    ) -> AnalyzedModel:
        model = self.build(checkpoint).to(self.device)
        epoch, step = place(checkpoint)
        return analyze(
            model,
            self.loader(model),
            epoch=epoch,
            step=step,
            previous_weight=None if last is None else last.weight,
            previous=None if last is None else last.kept,
            **{**self.settings, "ridge": ridge},
        )

    def _store(
        self, history: History, checkpoint: Checkpoint, found: AnalyzedModel, seconds: float
    ) -> None:
        epoch, step = place(checkpoint)
        history.add(
            found.findings,
            epoch=epoch,
            step=step,
            seconds=seconds,
            config=found.config,
            tags=found.tags,
            thumbnails=found.thumbnails,
            attributes=tuple(found.snapshot.attributes),
            snapshot=found.snapshot if self.save_snapshots else None,
        )


@dataclass(frozen=True, eq=False)
class _Last:
    """What the next checkpoint is compared with.

    Args:
        weight: of the head, (C, m).
        kept: by the analyses.
    """

    weight: Tensor
    kept: Mapping[str, Tensor]

    @classmethod
    def of(cls, found: AnalyzedModel) -> _Last:
        return cls(found.snapshot.weight, found.findings.kept)


def _kept(ridge: float | Literal["auto"], *found: float) -> float | Literal["auto"]:
    """The first ridge that was found, to be kept; a user's own stays."""
    if ridge != "auto" and not isinstance(ridge, KeptRidge):
        return ridge
    return next((KeptRidge(each) for each in found if math.isfinite(each)), ridge)


def place(checkpoint: Checkpoint) -> tuple[int, int]:
    """Epoch and global step, 0 where no epoch is known; it stands in for an unknown step."""
    epoch = checkpoint.epoch or 0
    return epoch, epoch if checkpoint.step is None else checkpoint.step


def in_order(checkpoints: Sequence[Checkpoint]) -> tuple[list[Checkpoint], list[Checkpoint]]:
    """Checkpoints of one training by epoch and step, each pair once.

    Returns:
        The checkpoints, and those that are left out for one of the same epoch and step, such as
        Lightning's ``last.ckpt`` and timm's ``model_best.pth.tar``.

    Raises:
        SetupError: if a checkpoint does not tell its epoch.
    """
    unknown = [each for each in checkpoints if each.epoch is None]
    if unknown:
        others = f", nor do {len(unknown) - 1} others" if len(unknown) > 1 else ""
        raise SetupError(
            f"{unknown[0].path} does not tell its epoch{others}. Put it into the name, as in "
            "epoch=3.pt, or analyze each checkpoint as a model of its own: ",
            Option("each", '"model"'),
            ".",
        )
    firsts: dict[tuple[int, int], Checkpoint] = {}
    for each in checkpoints:
        firsts.setdefault(place(each), each)
    kept = [firsts[at] for at in sorted(firsts)]
    return kept, [each for each in checkpoints if each not in kept]
