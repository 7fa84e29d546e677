"""Analysis of a trained model on a loader, without any training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from sing_monitor.capture.probe import probe_threshold
from sing_monitor.errors import Option, SetupError
from sing_monitor.extra_pass.collect import collect_probe, forward_images
from sing_monitor.inputs.loaders import check_loader, planned_images
from sing_monitor.keywords import function_with_options
from sing_monitor.lightning_types import is_setup_fault
from sing_monitor.messages import info, warn
from sing_monitor.monitor.first_process import ProbeAnalysis
from sing_monitor.monitor.model_capture import ModelCapture
from sing_monitor.monitor.options import AnalysisOptions, Options, option
from sing_monitor.monitor.remarks import why_nothing
from sing_monitor.monitor.validation import Moment
from sing_monitor.no_trace import no_trace
from sing_monitor.space.semantic_space import resolve_space
from sing_monitor.translate.ridge import fit_translator

if TYPE_CHECKING:
    import numpy as np
    from pandas import DataFrame

    from sing_monitor.findings import Findings
    from sing_monitor.snapshot import Snapshot
    from sing_monitor.space.text_embeddings import Texts
    from sing_monitor.translate.translator import LinearTranslator


@dataclass(frozen=True, eq=False)
class AnalyzedModel:
    """What was found about one model, and what explaining and steering it need.

    Args:
        findings: scalars by key of the catalogue, and tables; what the callback logs.
        snapshot: head, features, labels and embeddings of the probe.
        texts: embeddings of classes, concepts and attribute values; None without a space.
        thumbnails: pictures (64, 64, 3) of the images that moved most and of their neighbours, by
            image id in 16 hexadecimal digits.
        config: how the findings come about.
        tags: the same in a few words: reference, space, head, model.
    """

    findings: Findings
    snapshot: Snapshot
    texts: Texts | None
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
        snapshot, ridge = self.snapshot, self.scalars.get("translator/ridge", math.nan)
        return fit_translator(snapshot.features.double(), snapshot.known_embeddings, ridge)


@dataclass(frozen=True, kw_only=True)
class AnalyzeOptions(AnalysisOptions):
    """Options of :func:`analyze`."""

    epoch: int = option(0, "epoch of the weights, where they belong to a training.")
    step: int = option(0, "the global step of the weights.")
    previous_weight: Tensor | None = option(
        None, "the head's weight (C, m) at the epoch before, for ``head/drift``."
    )
    previous: Mapping[str, Tensor] | None = option(
        None,
        "``findings.kept`` of the analysis of the epoch before, for what compares two epochs.",
    )


@function_with_options(AnalyzeOptions)
def analyze(  # noqa: D417 - the options are documented by their names
    model: nn.Module, loader: Any, options: AnalyzeOptions
) -> AnalyzedModel:
    """Find out what a trained classifier's head ignores, without training it.

    The model runs once over the loader, on its own device, in eval mode and without gradients;
    afterwards it is as it was. Nothing is logged.

    Args:
        model: maps images to logits; any module, or a LightningModule.
        loader: of the images to judge by; the batches that ``SINGCallback`` reads.
        space: ``"<open_clip model>/<tag or file>"`` or any :class:`SemanticSpace`. None: no
            vision-language model and no download; what needs embeddings is left out, and the head's
            geometry, its drift, the null shares and the collapse are measured.
        head: dotted name of the classifier head; found by itself in most models.
        class_names: C words; by default those of the datamodule or the validation data set, in the
            order that its ``target_transform`` gives them.
        concepts: vocabulary for the concept tables: words, or prompts by name. None: about 60
            everyday concepts; an empty list: none.
        prompt: template for classes, or several that are averaged.
        attribute_prompts: templates for annotated attributes, by name.
        probe_size: the most validation images that are scored. Until a validation has ended, their
            features, ``probe_size`` x m numbers, stay on the model's device.
        pixel_stats: ``(mean, std)`` that the images were normalized with; found by itself for the
            ``Normalize`` of torchvision, albumentations and kornia in a data set's transforms,
            timm's prefetching loader, and images in [0, 1]. Numbers above 1 count in 0..255.
        batch_adapter: turns a batch of another form into a :class:`Batch`, whose ``pictures`` are
            what the space sees where the model sees something else, such as 13 bands.
        groups: name under which a batch holds the group of each image (a key of a mapping, an
            attribute of an object): object, patient, video, source file. Images of a group stay on
            one side of every translator. Needed where an image has near copies among the others.
        ridge: of the translator, relative to the mean variance of the features; ``"auto"`` chooses
            it at the first analyzed epoch and keeps it until it costs more than one standard error
            of R2.
        n_images: how many images, those that moved most, are stored as thumbnails (with their
            nearest neighbors). 0: no picture leaves the process.
        n_maps: of how many probe images the feature maps before the head are kept until a
            validation has ended, to compare them part by part; at most 14 x 14 locations each. 0:
            of none.
        hierarchy: what the classes' likeness is compared with: the superclass of each class, or the
            path of its ancestors from the most general on, by class name; or a CSV file with one
            such path a row. None: WordNet, where the classes are ImageNet's.
        analyses: which analyses run, such as ``["sing", "collapse"]``; None: all that the README
            lists. What none of them needs is not captured: the semantic space serves ``sing`` and
            what builds on it, maps ``similarity`` and ``focus``, weights ``dynamics``.
        invariance: what removing the null space must leave unchanged: ``"logits"``, as in the
            paper, or ``"softmax"``, which ignores a constant added to all logits and so has one
            null dimension more. Scores of the two do not compare.
        cache_dir: folder that keeps embeddings; ``"auto"`` for the user's cache folder, None for
            memory only.
        epoch: epoch of the weights, where they belong to a training.
        step: the global step of the weights.
        previous_weight: the head's weight (C, m) at the epoch before, for ``head/drift``.
        previous: ``findings.kept`` of the analysis of the epoch before, for what compares two
            epochs.

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
        check_loader(loader, "analyze")
        images = planned_images(loader, math.inf, 1)
        with no_trace():
            space = resolve_space(options.space)
            capture = ModelCapture(_for_capture(options), space, None)
        analysis = ProbeAnalysis(
            Moment(options.epoch, options.step),
            ridge=options.ridge,
            previous_weight=options.previous_weight,
            n_images=options.n_images,
            n_maps=options.n_maps,
            invariance=options.invariance,
            images=images,
            probe_size=options.probe_size,
            previous=options.previous,
            chosen=options.analyses,
        )
        return _analyze(capture, options, analysis, model, loader)
    except SetupError as error:
        raise for_analyze(error) from error
    # Lightning's, of either name, is no ValueError.
    except Exception as error:
        if is_setup_fault(error):
            raise ValueError(str(error)) from error
        raise


def _analyze(
    capture: ModelCapture,
    options: AnalyzeOptions,
    analysis: ProbeAnalysis,
    model: nn.Module,
    loader: Any,
) -> AnalyzedModel:
    threshold = probe_threshold(analysis.images, options.probe_size)
    try:
        capture.start(model, loader, threshold=threshold, images=analysis.images)
        with forward_images(model, options.batch_adapter) as forward:
            collect_probe(capture, model, loader, forward=forward)
        rows, collector, account = capture.finish(), capture.collector, capture.account
        if rows is None or collector is None or collector.setup is None:
            raise why_nothing(account)
        with no_trace():
            outcome, findings, snapshot = analysis.analyze(collector, rows, account)
        for note in outcome.notes:
            warn(f"analyze: {note}")
        for line in outcome.infos:
            info(f"analyze: {line}")
        images = account.seen if analysis.images is None else analysis.images
        config, tags = capture.describe(threshold=rows.threshold, images=images)
        texts = None
        if snapshot.embeddings is not None:
            texts = collector.setup.texts(snapshot.embeddings, snapshot.labels)
        return AnalyzedModel(
            findings,
            snapshot,
            texts,
            capture.embedder.pictures(outcome.wanted),
            config,
            tags,
        )
    finally:
        capture.embedder.end_pass()
        capture.release()


def _for_capture(options: AnalyzeOptions) -> Options:
    """The same options, and defaults for those of a training; one set of weights has no past."""
    given = {each.name: getattr(options, each.name) for each in fields(AnalysisOptions)}
    return Options(**given, n_weights=0)


def for_analyze(error: SetupError) -> SetupError:
    """The same error, with ``loader`` where a monitored training takes a ``probe``."""
    return SetupError(*map(_of_analyze, error.parts))


def _of_analyze(part: str | Option) -> str | Option:
    if isinstance(part, Option) and part.name == "probe":
        return Option("loader", part.value)
    return part
