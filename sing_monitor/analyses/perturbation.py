"""A health check: null-space perturbations move no logit, others of the same size do.

SING, supplement, section 2, eqs. 16-17.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sing_monitor.analyses.analysis import Analysis
from sing_monitor.findings import Findings, MetricGroup, MetricSpec
from sing_monitor.head.geometry import effective_weight
from sing_monitor.observation import Observation
from sing_monitor.row_blocks import NOISE
from sing_monitor.scores.derived import ratio
from sing_monitor.translate.cross_fit import CrossFit
from sing_monitor.translate.reduced import feature_dim, in_its_coordinates

DRAWS = 8

_SOURCE = "SING eqs. 16-17, size ours"
_DIRECTIONS = {
    "null": ("in the null space", "What the head should not notice: about 0."),
    "random": ("in any direction", "What a step of this size does to the head in general."),
    "principal": ("in the row space", "What the head notices most."),
}

PERTURB = MetricGroup("perturb", "Perturbations")

PERTURBATION_METRICS: tuple[MetricSpec, ...] = (
    MetricSpec(
        "perturb/logits_ratio",
        "Logit change, null over random",
        "ratio",
        "lower",
        "logits_null / logits_random",
        "ours",
        "Health check: about 0. Above 0.01, what is called the head's null space is not one; look "
        "at the condition and the rank of the head. NaN without a null space.",
        group=PERTURB,
    ),
    *(
        MetricSpec(
            f"perturb/logits_{name}",
            f"Logit change, {name}",
            "1",
            "none",
            f"mean of |W d|, d random {where}, |d|^2 = mean of |f - mu|^2",
            _SOURCE,
            f"How far the logits move when a feature takes a step {where} as large as features "
            f"vary. {reading}",
            group=PERTURB,
        )
        for name, (where, reading) in _DIRECTIONS.items()
    ),
    *(
        MetricSpec(
            f"perturb/image_score_{name}",
            f"IS of a perturbation, {name}",
            "deg",
            "none",
            f"mean of angle(T f, T (f + d)), d random {where}, |d|^2 = mean of |f - mu|^2",
            _SOURCE,
            f"How far the meaning moves in a random step {where} as large as features vary.",
            group=PERTURB,
        )
        for name, (where, _) in _DIRECTIONS.items()
    ),
)


def analyze_perturbations(observation: Observation) -> Findings:
    """Logit change and Image Score of null, random and principal perturbations of equal norm.

    The directions are the parts of the same few Gaussian draws, brought to the length by which
    features differ from their mean. The logits are linear, so their change ``|W d|`` is the same
    for every image (under ``"softmax"``, that of the class-centered head).

    The seed is the observation's, of a CPU generator of their own.

    Returns:
        Scalars ``perturb/*``; NaN where there is no such direction, where features do not vary, or
        where an image has no translation.
    """
    snapshot, geometry = observation.snapshot, observation.geometry
    generator = torch.Generator().manual_seed(observation.seed)
    shape = DRAWS, feature_dim(snapshot)
    draws = torch.randn(shape, generator=generator, dtype=torch.float64)
    draws = in_its_coordinates(snapshot, draws)
    size = _spread(observation)
    weight = effective_weight(snapshot.weight.double(), snapshot.invariance)
    # In the order of _DIRECTIONS. The part in an empty space is exactly 0, and 0 / 0 is NaN.
    parts = torch.stack((geometry.null(draws), draws, geometry.principal(draws)))
    steps = size * parts / torch.linalg.vector_norm(parts, dim=2, keepdim=True)
    changes = torch.linalg.vector_norm(steps @ weight.T, dim=2).mean(dim=1)
    scores = _image_scores(observation.translated.original, observation.fit, steps.flatten(0, 1))
    moved = scores.unflatten(1, (len(steps), DRAWS)).mean(dim=(0, 2))
    scalars = {
        f"perturb/{quantity}_{name}": float(value)
        for quantity, values in (("logits", changes), ("image_score", moved))
        for name, value in zip(_DIRECTIONS, values, strict=True)
    }
    change = ratio(scalars["perturb/logits_null"], scalars["perturb/logits_random"])
    return Findings({"perturb/logits_ratio": change, **scalars})


def _spread(observation: Observation) -> float:
    """Root of the mean of ``|f - mu|^2``; NaN where it is rounding."""
    variance = observation.varying / len(observation.snapshot)
    energy = variance + float(observation.center.square().sum())
    return math.sqrt(variance) if variance > NOISE * energy else math.nan


def _image_scores(original: Tensor, fit: CrossFit, steps: Tensor) -> Tensor:
    """``angle(T f, T (f + d))`` of every image and step, (N, D), from one product a fold.

    With ``y = T f`` and ``a = A d`` the angle is ``atan2(|y x a|, |y|^2 + y.a)``.
    """
    scores = steps.new_full((len(original), len(steps)), math.nan)
    for translator, rows in fit.halves(fit.folds):
        images, moves = original[rows], steps @ translator.weight.T
        length = torch.linalg.vector_norm(images, dim=1, keepdim=True, dtype=torch.float64)
        squared = length.square()
        along = (images @ moves.to(images).T).double()
        across = (squared * moves.square().sum(dim=1) - along.square()).clamp(min=0).sqrt()
        scores[rows] = torch.rad2deg(torch.atan2(across, squared + along))
    return scores


ANALYSIS = Analysis(
    "perturb",
    analyze_perturbations,
    PERTURBATION_METRICS,
    needs=frozenset({"labels", "embeddings"}),
)
