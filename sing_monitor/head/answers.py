"""Comparison of the outputs of linear layers with the answer of the model around them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sing_monitor.head.calls import LayerCall
from sing_monitor.head.layer import Head

# Multiples of eps by which an answer may differ from what it is computed from; fewer for dtypes
# with a coarse eps.
_ROUNDINGS = 64
_COARSE, _COARSE_ROUNDINGS = 1e-4, 4


@dataclass(frozen=True)
class CalledLayer:
    """Linear layer with all its calls in one forward pass.

    Args:
        layer: the layer.
        calls: in their order.
    """

    layer: Head
    calls: tuple[LayerCall, ...]

    @property
    def is_visible(self) -> bool:
        """Whether a module around the layer returned numbers for each image at every call."""
        return all(call.answers for call in self.calls)

    @property
    def is_certain(self) -> bool:
        """Whether these are the numbers that the whole model returned."""
        return all(call.is_certain for call in self.calls)

    @property
    def is_answer(self) -> bool:
        """Whether the model returns the output of the layer, or a step takes it as it is."""
        return self._is_answer_by_call or (len(self.calls) > 1 and self._is_answer_in_mean)

    @property
    def _is_answer_by_call(self) -> bool:
        return all(
            call.logits is not None
            and (
                any(is_derived_from(each, call.logits) for each in call.answers)
                if call.answers
                else not call.is_inner
            )
            for call in self.calls
        )

    @property
    def _is_answer_in_mean(self) -> bool:
        """Whether the model returns the mean over views, as in test-time augmentation."""
        logits = [call.logits for call in self.calls if call.logits is not None]
        if len(logits) < len(self.calls) or len({tuple(each.shape) for each in logits}) > 1:
            return False
        views = torch.stack([each.double() for each in logits])
        mean, size = views.mean(dim=0).to(logits[0].dtype), views.abs().mean(dim=0)
        return any(is_derived_from(each, mean, size) for each in self.calls[-1].answers)


def group_by_layer(calls: Sequence[LayerCall]) -> list[CalledLayer]:
    """Group calls by their layer; layers come in the order of their first calls."""
    grouped: dict[Head, list[LayerCall]] = {}
    for call in calls:
        grouped.setdefault(call.layer, []).append(call)
    return [CalledLayer(layer, tuple(group)) for layer, group in grouped.items()]


def is_derived_from(answer: Tensor, logits: Tensor, size: Tensor | None = None) -> bool:
    """Whether an answer is logits, their softmax, its logarithm, or a positive multiple of them.

    All of these leave the null space of the head unchanged. Images whose logits are not finite are
    not compared.

    Args:
        answer: (N, K).
        logits: (N, C).
        size: magnitude of the numbers that the logits were summed up from, (N, C); by default
            that of the logits.
    """
    if answer.shape != logits.shape:
        return False
    a, z = answer.cpu().double(), logits.cpu().double()
    finite = z.isfinite().all(dim=1)
    a, z = a[finite], z[finite]
    if bool((a == z).all()):
        return True
    fine = _relative_rounding(answer.dtype)
    coarse = max(fine, _relative_rounding(logits.dtype))
    size = z.abs() if size is None else size.cpu().double()[finite]
    log_share = z.log_softmax(dim=1)
    share = log_share.exp()
    scale = float((a * z).sum() / z.square().sum().clamp_min(torch.finfo(z.dtype).tiny))
    derived = [
        (log_share, coarse * (size + log_share.abs())),
        (share, fine * share * (1 + log_share.abs())),
    ]
    if scale > 0:
        derived.append((scale * z, coarse * scale * size))
    return any(bool(((a - each).abs() <= allowed).all()) for each, allowed in derived)


def _relative_rounding(dtype: torch.dtype) -> float:
    eps = torch.finfo(dtype).eps
    return eps * (_COARSE_ROUNDINGS if eps > _COARSE else _ROUNDINGS)
