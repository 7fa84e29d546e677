"""The class and attributes, read by translators refitted on what the head sees and what not.

A translator of whole features reads the seen and the null part together; with one part removed it
is left with half a sentence. A refit on one part tells what that part alone says.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from sing_monitor.analyses.analysis import Analysis
from sing_monitor.analyses.invariants import SING
from sing_monitor.analyses.readings import ATTRIBUTE
from sing_monitor.findings import Findings, MetricSpec
from sing_monitor.observation import Observation
from sing_monitor.row_blocks import deviations, row_blocks
from sing_monitor.scores.angles import unit, zero_shot_correct
from sing_monitor.scores.choices import Choice
from sing_monitor.scores.derived import constant_reader, retention
from sing_monitor.scores.hidden_classes import HiddenClasses, find_hidden
from sing_monitor.scores.moments import average
from sing_monitor.scores.readings import Reading

_SOURCE = "ours; held out as in Newton, Spurrell 1967"

REFIT_METRICS: tuple[MetricSpec, ...] = (
    MetricSpec(
        "sing/class_hidden",
        "Hidden from the head",
        "share",
        "lower",
        "zero_shot - zero_shot_seen",
        _SOURCE,
        "The share of images whose class only the invisible part tells. 0: all that the feature "
        "says of the class stands where the head can see it.",
        group=SING,
        short="Class hidden",
    ),
    MetricSpec(
        "sing/retention_seen",
        "Retention of the class, refitted",
        "ratio",
        "higher",
        "(zero_shot_seen - p) / (zero_shot - p), p the share of the commonest class",
        _SOURCE,
        "How much of the class is still read when a translator may learn what the head sees alone, "
        "chance apart. 1: all of it; 0: none. NaN when zero_shot is not above chance.",
        group=SING,
        short="Class seen",
    ),
    MetricSpec(
        "sing/zero_shot_seen",
        "Zero-shot class, seen part",
        "share",
        "higher",
        "share of images with argmax_c cos(T_s V_p'(f - mu), t_c) = label, T_s refitted",
        _SOURCE,
        "How often the class is read rightly from what the head sees, by a translator that was "
        "fitted on nothing else.",
        group=SING,
    ),
    MetricSpec(
        "sing/zero_shot_null",
        "Zero-shot class, null part",
        "share",
        "none",
        "share of images with argmax_c cos(T_n P_n(f - mu), t_c) = label, T_n refitted",
        _SOURCE,
        "How often the class is read rightly from the invisible part alone. High beside a "
        "class_hidden near 0: the class stands in both parts. NaN without a null space.",
        group=SING,
    ),
    MetricSpec(
        "sing/hidden_classes",
        "Hidden classes",
        "count",
        "lower",
        "classes with q < 0.02 and (lost - gained) / n >= 0.2, whole translator against seen refit",
        "test: McNemar 1947, exact; q: Benjamini, Hochberg 1995; rule ours",
        "Classes of which many images are read rightly from the whole feature and wrongly from "
        "what the head sees. Each is judged by its own images alone. The table of classes names "
        "them.",
        group=SING,
    ),
    MetricSpec(
        "attribute/{attribute}_hidden",
        "Hidden attribute",
        "share",
        "none",
        "zero_shot - zero_shot_seen",
        _SOURCE,
        "The share of images whose value of the attribute only the invisible part tells. Large "
        "for something the class does not depend on is good.",
        group=ATTRIBUTE,
    ),
    MetricSpec(
        "attribute/{attribute}_retention_seen",
        "Retention of the attribute, refitted",
        "ratio",
        "none",
        "(zero_shot_seen - p) / (zero_shot - p), p the share of the commonest value",
        _SOURCE,
        "How much of an attribute can be read from what the head sees, chance apart. Near 0 for "
        "something the class does not depend on is good; near 1 hints at a shortcut.",
        group=ATTRIBUTE,
    ),
    MetricSpec(
        "attribute/{attribute}_zero_shot_seen",
        "Zero-shot attribute, seen part",
        "share",
        "none",
        "share of images with argmax_v cos(T_s V_p'(f - mu), t_v) = true value, T_s refitted",
        _SOURCE,
        "How often the attribute is read rightly from what the head sees, by a translator that "
        "was fitted on nothing else.",
        group=ATTRIBUTE,
    ),
    MetricSpec(
        "attribute/{attribute}_zero_shot_null",
        "Zero-shot attribute, null part",
        "share",
        "none",
        "share of images with argmax_v cos(T_n P_n(f - mu), t_v) = true value, T_n refitted",
        _SOURCE,
        "How often the attribute is read rightly from the invisible part alone. NaN without a "
        "null space.",
        group=ATTRIBUTE,
    ),
)


@dataclass(frozen=True)
class Rereading:
    """A question read again from either part of the features.

    Args:
        first: the same question read from whole features.
        by_seen: answers whose texts are nearest to translations by the seen refit, (N,). Margins
            are those of products with unit texts: of cosines, times the length.
        null: whether the null refit reads the judged images rightly, (J,); NaN without a null
            space.
        chance: of a refit that knows nothing of the image and always gives one answer: the share of
            the commonest true one among the images that were read, which is at least 1/K.
    """

    first: Reading
    by_seen: Choice
    null: Tensor
    chance: float

    @property
    def seen(self) -> Tensor:
        """Whether the seen refit reads an image rightly, (N,) of 1 and 0; NaN where first is."""
        return self.by_seen.right.where(~self.first.before.isnan(), math.nan)

    @property
    def hidden(self) -> Tensor:
        """1 for an image that only the whole reads rightly, -1 for the reverse, else 0, (N,)."""
        return self.first.before - self.seen


def analyze_refits(observation: Observation) -> Findings:
    """What the seen and the null part of the features say of the class and of attributes.

    The null part is read on all images, or on a fixed sample of both folds where many features
    and a large embedding make that dear (:func:`judged_images`).

    Returns:
        Scalars ``sing/class_hidden``, ``sing/retention_seen``, ``sing/zero_shot_seen``,
        ``sing/zero_shot_null``, ``sing/hidden_classes``, and all but the last of attributes.
    """
    scalars = {"sing/hidden_classes": observation.once(hidden_classes).count}
    for prefix, reread in observation.once(rereadings).items():
        before, seen = average(reread.first.before), average(reread.seen)
        chance, samples = reread.chance, reread.first.samples
        scalars |= {
            hidden_key(prefix): before - seen,
            f"{prefix}retention_seen": retention(before, seen, chance=chance, samples=samples),
            f"{prefix}zero_shot_seen": seen,
            f"{prefix}zero_shot_null": average(reread.null),
        }
    return Findings(scalars)


def hidden_key(prefix: str) -> str:
    """Metric of the share that is hidden, by prefix of the readings."""
    return "sing/class_hidden" if prefix == "sing/" else f"{prefix}hidden"


def hidden_classes(observation: Observation) -> HiddenClasses:
    """The test of every class, read by the whole translator and by the seen refit."""
    reread, snapshot = observation.once(rereadings)["sing/"], observation.snapshot
    classes, groups = len(snapshot.class_names), snapshot.groups
    return find_hidden(reread.first.before, reread.seen, snapshot.labels, classes, groups)


def rereadings(observation: Observation) -> Mapping[str, Rereading]:
    """Class and annotated attributes, read again; by prefix of their metrics."""
    asked = questions(observation)
    rows = observation.judged(observation.embeddings.shape[1])
    null = _null_translations(observation, rows)
    found = {}
    for prefix, first in observation.readings.items():
        embeddings, labels = asked[prefix]
        directions = unit(embeddings.to(null)).T
        by_null = zero_shot_correct(null @ directions, labels[rows]).double()
        by_null = by_null.where(~first.before[rows].isnan(), math.nan)
        by_seen = _by_seen(observation, first, directions, labels)
        chance = constant_reader(labels[~first.before.isnan()])
        found[prefix] = Rereading(first, by_seen, by_null, chance)
    return found


def questions(observation: Observation) -> dict[str, tuple[Tensor, Tensor]]:
    """Texts (K, n) and true answers (N,) of class and annotated attributes, by prefix."""
    snapshot, texts = observation.snapshot, observation.known_texts
    return {"sing/": (texts.classes.embeddings, snapshot.labels)} | {
        f"attribute/{name}_": (texts.attributes[name].embeddings, labels)
        for name, (labels, _) in snapshot.attributes.items()
        if name in texts.attributes
    }


def _null_translations(observation: Observation, rows: Tensor) -> Tensor:
    """Translations of some images by the null refit, (J, n); NaN where there is none."""
    features, folds, fit = (
        observation.snapshot.features,
        observation.snapshot.folds,
        observation.fit,
    )
    translated = observation.translated.original.new_full((len(rows), fit.means.shape[1]), math.nan)
    for fold, translator in enumerate(fit.null or ()):
        weight = translator.weight.T.to(translated)
        base = translator(observation.center).to(translated)
        for places in row_blocks((folds[rows] == fold).nonzero().flatten()):
            away = deviations(features, observation.center, rows[places])
            translated[places] = torch.addmm(base, away, weight)
    return translated


def _by_seen(
    observation: Observation, first: Reading, directions: Tensor, labels: Tensor
) -> Choice:
    """Answers whose texts are nearest to the seen refit, (N,).

    The length of a translation does not matter for the nearest text, so the texts are multiplied
    with the translator first.
    """
    fit, seen, folds = observation.fit, observation.snapshot.seen, observation.snapshot.folds
    if observation.geometry.null_dim == 0:
        return first.first
    if fit.seen is None:
        return Choice.undefined(len(folds))
    halves = []
    for fold, translator in enumerate(fit.seen):
        weight = translator.weight.T.to(directions) @ directions
        base = translator.bias.to(directions) @ directions
        found = [Choice.undefined(0)]
        for rows in row_blocks((folds == fold).nonzero().flatten()):
            cosines = torch.addmm(base, seen.index_select(0, rows), weight)
            found.append(Choice.of(cosines, labels[rows]))
        halves.append(Choice.joined(found))
    return Choice.woven(folds == 1, *halves)


ANALYSIS = Analysis(
    "refits",
    analyze_refits,
    REFIT_METRICS,
    needs=frozenset({"labels", "embeddings"}),
    part_of="sing",
)
