"""AttributeMaps: energies and the Attribute Score, split over the locations of an image.

Only for heads that read a globally averaged feature map, ``f = mean over locations of F``.
Projectors and mean commute, so scores of the feature split exactly over locations. Ours; the paper
scores whole images.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from sing_monitor.head.forward import run_head
from sing_monitor.head.geometry import HeadGeometry
from sing_monitor.head.linear_layers import linear_layers
from sing_monitor.scores.angles import angle
from sing_monitor.translate.translator import in_float64

# At IS = 70 degrees 4 nodes leave up to 0.07 degrees of AS unassigned, 16 less than 1e-8.
_NODES = 16
# The mean of a map is computed in another order than by the model.
_ROUNDINGS = 32


class NotAveragedError(ValueError):
    """Error for a head that reads no globally averaged map, so that scores cannot be split."""


@dataclass(frozen=True)
class AttributeMaps:
    """Maps of some images, each (N, h, w), about a center mu (0 for the paper's pair).

    Args:
        principal_energy: ``|P_p (F - mu)|^2`` at every location, seen by the head.
        null_energy: ``|P_n (F - mu)|^2`` at every location, invisible to the head.
        attribute_score: contribution of every location to AS, degrees; their sum is AS. Positive:
            the removal at this location brings the image nearer to the text.
    """

    principal_energy: Tensor
    null_energy: Tensor
    attribute_score: Tensor


def attribute_maps(
    feature_maps: Tensor,
    geometry: HeadGeometry,
    translator: nn.Module,
    text: Tensor,
    *,
    center: Tensor | None = None,
) -> AttributeMaps:
    """Split energies and the Attribute Score over the locations of a feature map.

    With ``f~ = f - P_n (f - mu)`` and ``h(f) = angle(T f, t)``, the score is the path integral
    ``AS = h(f) - h(f~) = (int grad h(f~ + s (f - f~)) ds) . (f - f~)``, and ``f - f~`` is the mean
    over locations of ``P_n (F - mu)`` (integrated gradients, Sundararajan et al. 2017, along the
    removed part alone). Gauss-Legendre nodes give the integral.

    Args:
        feature_maps: F, (N, m, h, w), as from :func:`find_feature_maps`.
        geometry: of the head.
        translator: of any kind; maps features (N, m) to embeddings (N, n).
        text: embedding, (n,) or one for each image, (N, n).
        center: mu, (m,); None for the paper's pair.

    Raises:
        ValueError: if ``feature_maps`` is not (N, m, h, w) with the head's m features.
    """
    if feature_maps.ndim != 4 or feature_maps.shape[1] != geometry.feature_dim:
        raise ValueError(
            f"feature maps must be (N, {geometry.feature_dim}, h, w), as the head's features are; "
            f"got {tuple(feature_maps.shape)}."
        )
    locations = feature_maps.detach().double().permute(0, 2, 3, 1)
    if center is not None:
        locations = locations - center.double()
    null = geometry.null(locations)
    removed = null.mean(dim=(1, 2))
    features = feature_maps.detach().double().mean(dim=(2, 3))
    gradient = _mean_gradient(features, removed, in_float64(translator), text.double())
    count = locations.shape[1] * locations.shape[2]
    return AttributeMaps(
        principal_energy=(locations - null).square().sum(dim=3),
        null_energy=null.square().sum(dim=3),
        attribute_score=torch.einsum("nhwm,nm->nhw", null, gradient) / count,
    )


def find_feature_maps(model: nn.Module, images: Tensor, head: str | None = None) -> Tensor:
    """Find the feature map that a model averages to get the input of its head.

    The model runs once. The result is the last four-dimensional output of a module whose mean over
    locations *is* the head's input, so names and pooling layers do not matter.

    Args:
        model: maps images to logits.
        images: input of the model, (N, c, H, W).
        head: dotted name of the head; None: the layer whose output is the model's answer.

    Returns:
        F, (N, m, h, w), on the CPU.

    Raises:
        NotAveragedError: if the head reads no global average, as with class tokens, a norm behind
            the pooling, a hidden layer, or a map of a single location.
        ValueError: if the head is not found, or does not compute ``W f + b``.
    """
    sizes = {layer.feature_dim for layer in linear_layers(model)}
    outputs: list[Tensor] = []

    def keep(module: nn.Module, args: object, output: object) -> None:
        if isinstance(output, Tensor) and output.ndim == 4:
            by_axis = (output, output.permute(0, 3, 1, 2))
            outputs.extend(each for each in by_axis if each.shape[1] in sizes)

    with ExitStack() as stack:
        for module in model.modules():
            stack.callback(module.register_forward_hook(keep).remove)
        seen = run_head(model, images, head)
    for output in reversed(outputs):
        candidate = output.detach().cpu()
        if candidate.shape[1] != seen.head.feature_dim:
            continue
        if candidate[0, 0].numel() > 1 and _averages_to(candidate, seen.features):
            return candidate
    raise NotAveragedError(
        f"the head {seen.head.name!r} does not stand on a global average: no module of the model "
        f"returns a map (N, {seen.head.feature_dim}, h, w) of several locations whose mean enters "
        "the head (class tokens, attention pooling, a norm or a layer behind the pooling?). What "
        "such a head ignores cannot be split over locations exactly."
    )


def _averages_to(feature_map: Tensor, features: Tensor) -> bool:
    error = (feature_map.double().mean(dim=(2, 3)) - features.double()).abs().amax()
    eps = max(torch.finfo(tensor.dtype).eps for tensor in (feature_map, features))
    return bool(error <= _ROUNDINGS * eps * feature_map.abs().amax())


def _mean_gradient(
    features: Tensor, removed: Tensor, translator: nn.Module, text: Tensor
) -> Tensor:
    """Mean over the segment from f~ to f of the gradient of ``angle(T f, t)``, (N, m)."""
    positions, weights = np.polynomial.legendre.leggauss(_NODES)
    total = torch.zeros_like(features)
    for position, weight in zip(positions.tolist(), weights.tolist(), strict=True):
        point = (features - (1 - position) / 2 * removed).requires_grad_()
        with torch.enable_grad():
            away = angle(translator(point), text).sum()
        total += weight / 2 * torch.autograd.grad(away, point)[0]
    return total
