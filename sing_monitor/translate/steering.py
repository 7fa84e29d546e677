"""Steering: movement of features toward a text that changes no logit (SING, eqs. 10-13)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from sing_monitor.head.geometry import HeadGeometry
from sing_monitor.scores.angles import angle, attribute_score, image_score
from sing_monitor.translate.translator import LinearTranslator

# The paper's table 1 compares models at this Image Score, in degrees.
TABLE_IMAGE_SCORE = 40.0
# A null-space part below this share of the gradient is rounding noise without a direction.
_NOISE = 1e-12


@dataclass(frozen=True)
class Steering:
    """Features after a step in the null space toward a text, at a wanted Image Score.

    Args:
        direction: unit step ``d = P_n g / |P_n g|``, (N, m); NaN if the gradient g has no
            null-space part: then no direction in the null space leads toward the text.
        limit: of the Image Score along the ray, ``angle(T f, A d)``, degrees, (N,).
        step: eps at which the Image Score is the wanted one, (N,); NaN if the limit does not exceed
            it.
        features: ``f + eps d``, (N, m), with the logits of f.
        attribute_score: AS toward the text, degrees, (N,).
        image_score: IS, degrees, (N,).
    """

    direction: Tensor
    limit: Tensor
    step: Tensor
    features: Tensor
    attribute_score: Tensor
    image_score: Tensor


def null_direction(
    features: Tensor, translator: LinearTranslator, geometry: HeadGeometry, text: Tensor
) -> Tensor:
    """Compute the unit direction in the null space that raises the cosine with a text fastest.

    ``d = P_n g / |P_n g|`` with ``g = grad_f cos(T f, t)`` (SING, eqs. 10-12). The translator is
    affine, so the gradient is ``A' (t - cos(T f, t) y) / |T f|`` for unit vectors t and
    ``y = T f / |T f|``.

    Args:
        features: (N, m).
        translator: ``T f = A f + c``.
        geometry: of the head.
        text: embedding, (n,) or one for each image, (N, n).

    Returns:
        (N, m), float64; rows of NaN if the gradient has no null-space part.
    """
    translator = _in_double(translator)
    translated = translator(features.double())
    length = torch.linalg.vector_norm(translated, dim=1, keepdim=True)
    image = translated / length
    target = torch.nn.functional.normalize(text.double(), dim=-1)
    cosine = (image * target).sum(dim=1, keepdim=True)
    gradient = ((target - cosine * image) / length) @ translator.weight
    null = geometry.null(gradient)
    sizes = torch.linalg.vector_norm(torch.stack((null, gradient)), dim=2)
    has_direction = sizes[0] > _NOISE * sizes[1]
    return torch.where(has_direction[:, None], null / sizes[0][:, None], torch.nan)


def steer(
    features: Tensor,
    translator: LinearTranslator,
    geometry: HeadGeometry,
    text: Tensor,
    *,
    wanted: float = TABLE_IMAGE_SCORE,
) -> Steering:
    """Move features toward a text, inside the null space, until the Image Score is ``wanted``.

    Along ``f + eps d`` the translation moves on a straight line, ``T f + eps A d``, so the Image
    Score grows monotonically toward ``limit = angle(T f, A d)``, and the law of sines gives the
    step: ``eps = |T f| sin(wanted) / (|A d| sin(limit - wanted))``.

    Args:
        features: (N, m).
        translator: fitted on other images than these, because scores of fitted images are too good.
        geometry: of the head.
        text: embedding, (n,) or one for each image, (N, n).
        wanted: Image Score in degrees, above 0 and below 180.

    Raises:
        ValueError: if ``wanted`` is outside its range.

    Example::

        >>> head = HeadGeometry.from_weight(torch.tensor([[1.0, 0.0]]))
        >>> same = LinearTranslator(torch.eye(2), torch.zeros(2))
        >>> text = torch.tensor([1.0, 1.0])
        >>> moved = steer(torch.tensor([[2.0, 0.0]]), same, head, text, wanted=45)
        >>> moved.features.round(decimals=9).tolist()
        [[2.0, 2.0]]
    """
    if not 0 < wanted < 180:
        raise ValueError(f"a wanted Image Score lies between 0 and 180 degrees, got {wanted}.")
    features, translator = features.double(), _in_double(translator)
    direction = null_direction(features, translator, geometry, text)
    original = translator(features)
    movement = direction @ translator.weight.T
    limit = angle(original, movement)
    length, stride = (torch.linalg.vector_norm(x, dim=1) for x in (original, movement))
    opposite = torch.sin(torch.deg2rad(limit - wanted))
    step = length * math.sin(math.radians(wanted)) / (stride * opposite)
    step = step.where(limit > wanted, torch.nan)
    moved = original + step[:, None] * movement
    return Steering(
        direction,
        limit,
        step,
        features + step[:, None] * direction,
        attribute_score(original, moved, text.double()),
        image_score(original, moved),
    )


def steer_image(
    feature: Tensor,
    translator: LinearTranslator,
    geometry: HeadGeometry,
    text: Tensor,
    *,
    wanted: float = TABLE_IMAGE_SCORE,
) -> Steering:
    """Move the feature of one image toward a text, as :func:`steer`.

    Args:
        feature: (m,).
        translator: ``T f = A f + c``.
        geometry: of the head.
        text: embedding, (n,).
        wanted: Image Score in degrees, above 0 and below 180.

    Returns:
        Fields without the batch axis.

    Raises:
        ValueError: if the wanted Image Score cannot be reached, naming the limit; or as
            :func:`steer`.
    """
    batch = steer(feature[None], translator, geometry, text, wanted=wanted)
    one = Steering(**{name: value[0] for name, value in vars(batch).items()})
    if one.limit.isnan():
        raise ValueError(
            "no direction in the head's null space moves this image toward the text: "
            f"the null space has {geometry.null_dim} dimensions, and none of them changes the "
            "angle to the text to first order."
        )
    if one.step.isnan():
        raise ValueError(
            f"an Image Score of {wanted:g} degrees cannot be reached: in this direction it stays "
            f"below {float(one.limit):.4g}. Choose a smaller one."
        )
    return one


def _in_double(translator: LinearTranslator) -> LinearTranslator:
    """Convert a translator to float64, without a copy if it is float64 already."""
    return LinearTranslator(translator.weight.double(), translator.bias.double())
