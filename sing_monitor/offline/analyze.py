"""After the fact: the findings of a trained model on a loader, without any training."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal

from lightning.pytorch.utilities.rank_zero import rank_zero_info, rank_zero_warn
from torch import Tensor, nn

from sing_monitor.callbacks.spelling import for_analyze
from sing_monitor.capture.head_tap import no_trace
from sing_monitor.capture.probe import probe_threshold
from sing_monitor.errors import SetupError
from sing_monitor.extra_pass.collect import collect_probe, forward_images
from sing_monitor.extra_pass.lightning_modules import is_setup_fault
from sing_monitor.head.geometry import Invariance
from sing_monitor.inputs.loaders import check_loader, planned_images
from sing_monitor.inputs.resolved import Prompts
from sing_monitor.monitor.analysis import Analysis
from sing_monitor.monitor.model_capture import Watch
from sing_monitor.monitor.options import Settings, cache_folder
from sing_monitor.monitor.remarks import why_nothing
from sing_monitor.space.semantic_space import DEFAULT_SPACE, SemanticSpace, resolve_space
from sing_monitor.translate.ridge import fit_translator

if TYPE_CHECKING:
    import numpy as np
    from pandas import DataFrame

    from sing_monitor.findings import Findings
    from sing_monitor.snapshot import Snapshot
    from sing_monitor.space.texts import Texts
    from sing_monitor.translate.translator import LinearTranslator


@dataclass(frozen=True, eq=False)
class AnalyzedModel:
    """What was found about one model, and what explaining and steering it need.

    Args:
        findings: scalars by key of the catalogue, and tables; what the callback logs.
        snapshot: head, features, labels and embeddings of the probe.
        texts: embeddings of classes, concepts and attribute values.
        thumbnails: pictures (64, 64, 3) of the images that moved most and of their neighbours, by
            image id in 16 hexadecimal digits.
        config: how the findings come about.
        tags: the same in a few words: reference, space, head, model.
    """

    findings: Findings
    snapshot: Snapshot
    texts: Texts
    thumbnails: Mapping[str, np.ndarray]
    config: Mapping[str, Any]
    tags: Mapping[str, str]

    @property
    def scalars(self) -> Mapping[str, float]:
        """The metrics, by key of the catalogue."""
        return self.findings.scalars

    @property
    def tables(self) -> Mapping[str, DataFrame]:
        """``classes``, ``images``, ``spectrum``, ``concepts``, ``class_concepts``."""
        return self.findings.tables

    @cached_property
    def translator(self) -> LinearTranslator:
        """``T(f) = A f + c`` fitted on the whole probe, for images that are not in it.

        Raises:
            ValueError: if the probe is too small to choose its ridge.
        """
        snapshot, ridge = self.snapshot, self.scalars["translator/ridge"]
        return fit_translator(snapshot.features.double(), snapshot.known_embeddings, ridge)


def analyze(
    model: nn.Module,
    loader: Any,
    space: str | SemanticSpace = DEFAULT_SPACE,
    *,
    head: str | None = None,
    class_names: Sequence[str] | Mapping[str, int] | None = None,
    concepts: Mapping[str, str | Sequence[str]] | Sequence[str] | None = None,
    prompt: str | Sequence[str] = "an image of a {}",
    attribute_prompts: Mapping[str, str] | None = None,
    probe_size: int = 10_000,
    pixel_stats: tuple[Any, Any] | None = None,
    batch_adapter: Callable[[Any], Any] | None = None,
    ridge: float | Literal["auto"] = "auto",
    n_images: int = 64,
    invariance: Invariance = "logits",
    cache_dir: str | PathLike[str] | None = "auto",
    epoch: int = 0,
    step: int = 0,
    previous_weight: Tensor | None = None,
) -> AnalyzedModel:
    """Find out what a trained classifier's head ignores, without training it.

    The model runs once over the loader, on its own device, in eval mode and without gradients;
    afterwards it is as it was. Nothing is logged.

    Args:
        model: maps images to logits; any module, or a LightningModule.
        loader: of the images to judge by; the batches that ``SINGCallback`` reads.
        space: ``"<open_clip model>/<tag or file>"`` or any :class:`SemanticSpace`.
        head: as all up to ``cache_dir``: see :class:`SINGCallback`.
        class_names: C words; found by itself in most data sets.
        concepts: vocabulary; None: about 60 everyday concepts; an empty list: none.
        prompt: template for classes, or several that are averaged.
        attribute_prompts: templates for annotated attributes, by name.
        probe_size: the most images that are scored.
        pixel_stats: ``(mean, std)`` that the images were normalised with.
        batch_adapter: turns a batch of another form into a :class:`Batch`, whose ``pictures`` are
            what the space sees where the model sees something else.
        ridge: of the translator, or ``"auto"``.
        n_images: for how many images, those that moved most, neighbours are looked up.
        invariance: what removing the null space must leave unchanged.
        cache_dir: where embeddings are kept.
        epoch: of the weights, where they belong to a training.
        step: the global step of the weights.
        previous_weight: the head's weight (C, m) at the epoch before, for ``head/drift``.

    Returns:
        The findings, with the snapshot, texts and translator that explaining and steering need.

    Raises:
        SetupError: a ValueError, for an argument, a model or a data set that cannot be used; the
            sentence says how to mend it.
        TypeError: for a space that is none.
        RuntimeError: if the weights of the space cannot be had.

    Example::

        >>> found = analyze(model, loader)  # doctest: +SKIP
        >>> found.scalars["sing/image_score_relative"]  # doctest: +SKIP
        0.46
    """
    try:
        settings = Settings(
            space=space,
            head=head,
            class_names=class_names,
            prompts=Prompts(prompt, concepts, attribute_prompts or {}),
            probe_size=probe_size,
            pixel_stats=pixel_stats,
            batch_adapter=batch_adapter,
            ridge=ridge,
            n_images=n_images,
            invariance=invariance,
            cache_dir=cache_folder(cache_dir),
        )
        check_loader(loader, "analyze")
        images = planned_images(loader, math.inf, 1)
        with no_trace():
            watch = Watch(settings, resolve_space(space), None)
        analysis = Analysis(
            epoch=epoch,
            step=step,
            ridge=ridge,
            previous_weight=previous_weight,
            n_images=n_images,
            invariance=invariance,
            images=images,
            probe_size=probe_size,
            is_rehearsal=False,
        )
        return _analyze(watch, settings, analysis, model, loader)
    except SetupError as error:
        raise for_analyze(error) from error
    # Lightning's, of either name, is no ValueError.
    except Exception as error:
        if is_setup_fault(error):
            raise ValueError(str(error)) from error
        raise


def _analyze(
    watch: Watch, settings: Settings, analysis: Analysis, model: nn.Module, loader: Any
) -> AnalyzedModel:
    threshold = probe_threshold(analysis.images, settings.probe_size)
    try:
        watch.start(model, loader, threshold=threshold, images=analysis.images)
        with forward_images(model, settings.batch_adapter) as forward:
            collect_probe(watch, model, loader, forward=forward)
        rows, collector, account = watch.finish(), watch.collector, watch.account
        if rows is None or collector is None or collector.setup is None:
            raise why_nothing(account)
        with no_trace():
            outcome, findings, snapshot = analysis.analyse(collector, rows, account)
        for note in outcome.notes:
            rank_zero_warn(f"analyze: {note}")
        for info in outcome.infos:
            rank_zero_info(f"analyze: {info}")
        images = account.seen if analysis.images is None else analysis.images
        config, tags = watch.describe(threshold=rows.threshold, images=images)
        return AnalyzedModel(
            findings,
            snapshot,
            collector.setup.texts(snapshot.known_embeddings, snapshot.labels),
            watch.embedder.pictures(outcome.wanted),
            config,
            tags,
        )
    finally:
        watch.embedder.end_pass()
        watch.release()
