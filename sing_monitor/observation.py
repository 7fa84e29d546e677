"""One validation and everything derived from it, each worked out when it is first asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from sing_monitor.head.geometry import HeadGeometry, check_bias
from sing_monitor.row_blocks import all_blocks, is_finite, working
from sing_monitor.scores.angles import PairScores, Rows, attribute_score, score_pairs
from sing_monitor.scores.pairs import CENTERED, PAIRS, RANDOM, Pair
from sing_monitor.scores.readings import Reading
from sing_monitor.snapshot import Snapshot
from sing_monitor.space.text_embeddings import Texts, TextSet
from sing_monitor.translate.cross_fit import CrossFit, TranslatedPairs, cross_fit
from sing_monitor.translate.kernel import weighed_images
from sing_monitor.translate.parts.probes import Answers, ProbeRequest, judged_images
from sing_monitor.translate.parts.scores import Question
from sing_monitor.translate.random_subspaces import (
    RANDOM_SEED,
    RandomRemoval,
    chosen_draw,
    remove_at_random,
)
from sing_monitor.translate.reduced import ReducedSnapshot, feature_dim
from sing_monitor.translate.ridge_curve import KeptRidge
from sing_monitor.translate.ridge_sample import RidgeSample
from sing_monitor.weights.trajectory import Trajectory

T = TypeVar("T")

# R2 of the translators from which on their ridge serves the probes, too.
_SAYS = 0.05


@dataclass(frozen=True, eq=False)
class Observation:
    """A snapshot with its features and their equivalents in the semantic space.

    Every image is translated by a translator fitted on the other half of the probe.

    Args:
        snapshot: head, features (N, m), labels (N,) and embeddings (N, n) of one validation.
        texts: embeddings of the class texts, in the order of the head's rows, and optionally of
            concepts and of the values of annotated attributes. None: nothing is translated.
        ridge: rho of the translator, or ``"auto"`` to choose it by held-out R2. A
            :class:`~sing_monitor.translate.ridge_curve.KeptRidge` is chosen anew if it costs more
            than one standard error of R2.
        previous_head: the last analyzed head, or None.
        seed: of the random subspaces and of the random perturbations.
        n_images: for how many images, those that moved most, neighbors are looked up.
        previous: what the analyses of the last validation kept, by name.
        trajectory: of some weights of the network, up to this validation; None: it is not known.

    Raises:
        ValueError: if there is no image, if features, embeddings or the head's bias hold NaN or
            infinite values, or if the texts do not fit the snapshot's classes, attributes or
            embeddings.
    """

    snapshot: Snapshot
    texts: Texts | None = None
    ridge: float | Literal["auto"] = "auto"
    previous_head: HeadGeometry | None = None
    seed: int = RANDOM_SEED
    n_images: int = 64
    previous: Mapping[str, Tensor] = field(default_factory=dict)
    trajectory: Trajectory | None = None
    _results: dict[Callable[..., Any], Any] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        _check_samples(self.snapshot)
        check_bias(self.snapshot.bias)
        if self.texts is not None:
            _check_texts(self.snapshot, self.texts)

    def once(self, derive: Callable[[Observation], T]) -> T:
        """The result of a function of this observation, worked out at the first call.

        With it one analysis stands on the findings of another.
        """
        if derive not in self._results:
            self._results[derive] = derive(self)
        found: T = self._results[derive]
        return found

    @property
    def has_space(self) -> bool:
        """Whether features can be translated: there are embeddings and texts of a space."""
        return self.texts is not None

    @property
    def geometry(self) -> HeadGeometry:
        """Row space and null space of the head."""
        return self.snapshot.geometry

    @property
    def center(self) -> Tensor:
        """The mean feature mu of the probe, (m,) float64."""
        return self.snapshot.center

    @property
    def embeddings(self) -> Tensor:
        """Image embeddings z, (N, n); a ValueError where there are none."""
        return self.snapshot.known_embeddings

    @property
    def class_texts(self) -> Tensor:
        """Embeddings t of the class texts, (C, n)."""
        return self.known_texts.classes.embeddings

    @property
    def concepts(self) -> TextSet | None:
        """The vocabulary, if there is one."""
        return self.known_texts.concepts

    @property
    def known_texts(self) -> Texts:
        """The texts; a ValueError where there are none."""
        if self.texts is None:
            raise ValueError("an analysis that translates needs texts; this observation has none.")
        return self.texts

    @cached_property
    def random(self) -> RandomRemoval:
        """What is left of images without a random subspace of the null space's dimension."""
        snapshot = self.snapshot
        return remove_at_random(
            snapshot.features,
            snapshot.center,
            snapshot.geometry.rank,
            chosen_draw(snapshot.draws),
            seed=self.seed,
            span=snapshot.span if isinstance(snapshot, ReducedSnapshot) else None,
        )

    @property
    def varying(self) -> float:
        """``sum |f - mu|^2``."""
        return float(self.random.energies.sum())

    @cached_property
    def sample(self) -> RidgeSample:
        """Images whose scores are derived along the ridge."""
        return RidgeSample.of(self.snapshot, self.random)

    @cached_property
    def fit(self) -> CrossFit:
        """The cross-fitted translators T, with their refits on the seen and the null part."""
        return self._cross_fit(self.embeddings, self.ridge, self.sample.vectors)

    @cached_property
    def probes(self) -> CrossFit:
        """The cross-fit whose probes read class and attributes.

        It is that of the translators, unless there is no space, or the features say so little of
        it that their best ridge tells nothing of the class: then a fit of its own, to the classes
        in place of embeddings.
        """
        is_own = isinstance(self.ridge, float | int) and not isinstance(self.ridge, KeptRidge)
        if self.has_space and (is_own or self.fit.r2(float(self.held_out[1].sum())) >= _SAYS):
            return self.fit
        snapshot = self.snapshot
        classes = one_hot(snapshot.labels, len(snapshot.class_names))
        ridge = "auto" if self.has_space else self.ridge
        return self._cross_fit(classes.to(working(snapshot.features[:0]).dtype), ridge)

    def _cross_fit(
        self,
        embeddings: Tensor,
        ridge: float | Literal["auto"],
        sample: tuple[Tensor, Tensor] | None = None,
    ) -> CrossFit:
        snapshot = self.snapshot
        return cross_fit(
            snapshot.features,
            embeddings,
            snapshot.folds,
            ridge,
            self.geometry,
            sample,
            feature_dim=feature_dim(snapshot),
            seen=snapshot.seen,
            request=self.request,
            weighed=weighed_images(snapshot.folds, self.request.judged, snapshot.groups),
            ids=snapshot.ids if snapshot.groups is None else snapshot.groups,
        )

    @cached_property
    def request(self) -> ProbeRequest:
        """Class and annotated attributes, by prefix of the metrics of the probes that read them."""
        snapshot = self.snapshot
        questions = {"probe/class_": Question(snapshot.labels, len(snapshot.class_names))} | {
            f"attribute/{name}_probe_": Question(labels, len(values))
            for name, (labels, values) in snapshot.attributes.items()
        }
        return ProbeRequest(
            questions, self.judged(sum(question.choices for question in questions.values()))
        )

    def judged(self, numbers: int) -> Tensor:
        """Rows of the images that are judged where each takes so many products with features."""
        snapshot = self.snapshot
        return judged_images(snapshot.ids, snapshot.folds, numbers * snapshot.features.shape[1])

    @property
    def answers(self) -> Mapping[str, Answers]:
        """What the probes answer rightly, by prefix of their metrics."""
        return self.probes.answers

    @cached_property
    def translated(self) -> TranslatedPairs:
        """``T f`` and its equivalents under the head, each (N, n)."""
        snapshot = self.snapshot
        return self.fit.translate(snapshot.features, self.geometry, self.center, snapshot.seen)

    @cached_property
    def scores(self) -> Mapping[Pair, PairScores]:
        """AS toward the true class and IS of every image, by pair."""
        translated = self.translated
        random = self.random.translated(self.fit, translated.original, self.center)
        equivalents: dict[Pair, Rows] = {**translated.equivalents, RANDOM: random}
        scores = score_pairs(
            translated.original,
            [equivalents[pair] for pair in PAIRS],
            self.class_texts,
            self.snapshot.labels,
        )
        return dict(zip(PAIRS, scores, strict=True))

    @cached_property
    def readings(self) -> Mapping[str, Reading]:
        """Class and annotated attributes, read before and after; by prefix of their metrics."""
        original, centered = self.translated.original, self.translated.centered
        own, labels = self.scores[CENTERED].attribute, self.snapshot.labels
        readings = {"sing/": Reading.of(own, original, centered, self.class_texts, labels)}
        for name, (labels, _) in self.snapshot.attributes.items():
            if name in self.known_texts.attributes:
                values = self.known_texts.attributes[name].embeddings.to(original)
                toward = attribute_score(original, centered, values[labels])
                reading = Reading.of(toward, original, centered, values, labels)
                readings[f"attribute/{name}_"] = reading
        return readings

    @cached_property
    def held_out(self) -> tuple[Tensor, Tensor]:
        """``cos(T f, z)`` and ``|z - T f|^2`` of every image, each (N,) float64."""
        translated = self.translated.original
        cosine, error = torch.empty(2, len(translated), dtype=torch.float64)
        for rows in all_blocks(translated):
            found, true = translated[rows], self.embeddings[rows].to(translated)
            cosine[rows] = torch.cosine_similarity(found, true, dim=1).double()
            error[rows] = (true - found).square().sum(dim=1).double()
        return cosine, error


def _check_samples(snapshot: Snapshot) -> None:
    if len(snapshot) == 0:
        raise ValueError("the probe holds no image; validate on at least two.")
    for name in ("features", "embeddings"):
        values = getattr(snapshot, name)
        if values is None or is_finite(values):
            continue
        rows = torch.cat([values[some].isfinite().all(dim=1) for some in all_blocks(values)])
        hint = _why_not_finite(snapshot) if name == "features" else ""
        raise ValueError(
            f"{name} of {int((~rows).sum())} of {len(rows)} images hold NaN or infinite "
            f"values; the scores of this epoch are undefined.{hint}"
        )


def _why_not_finite(snapshot: Snapshot) -> str:
    """Why a model has lost its numbers, as far as the snapshot tells."""
    hint = ""
    if not snapshot.weight.isfinite().all():
        hint = " So does the head's weight: the training itself has diverged."
    if snapshot.features.dtype == torch.float16:
        hint += (
            " In float16 values above 65,504 are infinite, and Adam's eps=1e-8 is 0, so that it "
            "divides by 0: take Adam(eps=1e-4), or Trainer(precision='bf16-true')."
        )
    return hint


def _check_texts(snapshot: Snapshot, texts: Texts) -> None:
    if snapshot.embeddings is None:
        raise ValueError(
            "there are texts but no image embeddings: the snapshot was taken without a semantic "
            "space. Leave the texts out, or take the snapshot with a space."
        )
    expected = {"classes": (texts.classes, snapshot.class_names)} | {
        f"attribute {name!r}": (texts.attributes[name], values)
        for name, (_, values) in snapshot.attributes.items()
        if name in texts.attributes
    }
    for name, (found, names) in expected.items():
        if len(found.names) != len(names):
            raise ValueError(
                f"{name}: the snapshot names {len(names)}, but there are {len(found.names)} texts; "
                "give one text for each, in the same order."
            )
    dims = texts.classes.embeddings.shape[1], snapshot.embeddings.shape[1]
    if dims[0] != dims[1]:
        raise ValueError(
            f"texts have {dims[0]} dimensions, image embeddings {dims[1]}; "
            "embed both with the same semantic space."
        )
