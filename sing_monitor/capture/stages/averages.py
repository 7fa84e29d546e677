"""The mean over the locations of what a stage gives: a vector for each image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sing_monitor.capture.stages.sites import Stage


class NoStageError(ValueError):
    """Error for a stage whose output gives no vector for each image; the sentence says why."""


def averaged(output: object, stage: Stage) -> Tensor:
    """Mean of a stage's output over all locations, (B, c), in single precision.

    Args:
        output: (B, c), (B, c, h, w), (B, h, w, c), tokens (B, T, c), or of more axes, the channels
            first; of tokens all count, those of the class and registers too.
        stage: whose.

    Raises:
        NoStageError: for anything else.
    """
    if not isinstance(output, Tensor):
        raise NoStageError(f"it gives a {type(output).__name__}, not one tensor")
    if hasattr(output, "to_local") or output.is_sparse or output.is_nested:
        raise NoStageError("its output is sharded, sparse or nested")
    if not output.is_floating_point():
        raise NoStageError(f"it gives whole numbers ({output.dtype})")
    if output.ndim < 2 or 0 in output.shape[1:]:
        raise NoStageError(f"it gives a tensor of shape {tuple(output.shape)}, no channels")
    if output.ndim == 3 and len(output) == output.shape[1] and stage.takes_tokens_first:
        raise NoStageError(
            f"it is not clear which axis of {tuple(output.shape)} are the images: a layer of the "
            "model takes tokens first (batch_first=False); another batch size tells"
        )
    axis = channel_axis(output.shape, stage)
    locations = [each for each in range(1, output.ndim) if each != axis]
    precision = torch.promote_types(output.dtype, torch.float32)
    rows = output.detach()
    # A copy in either case: the step may change what it has.
    means = rows.mean(dim=locations, dtype=precision) if locations else rows.clone()
    return means.float()


def channel_axis(shape: Sequence[int], stage: Stage) -> int:
    """The axis of the channels in an output.

    Of the second and the last axis the one that has as many entries as the stage has channels: as
    timm says, else as the last of its layers that fits one of both alone. Where nothing decides,
    the last axis of tokens and of maps of a model that calls them NHWC, else the second.

    A layer's width may be that of another axis by chance, where the output is joined of several:
    so layers do not decide against the form of a map, which most often is square.

    Args:
        shape: of the output, (B, ...).
        stage: whose.

    Raises:
        NoStageError: for a map of which both may be the channels.

    Example::

        >>> from torch import nn
        >>> swin = Stage("layers.0", nn.Identity(), sizes=(96,))
        >>> channel_axis((8, 56, 56, 96), swin), channel_axis((8, 96, 56, 56), swin)
        (3, 1)
    """
    last = len(shape) - 1
    for size in stage.sizes:
        fitting = {axis for axis in (1, last) if shape[axis] == size}
        if len(fitting) == 1:
            axis = fitting.pop()
            if size != stage.declared and len(shape) == 4 and _looks_other(shape, axis):
                raise _unclear(shape)
            return axis
    if len(shape) == 3 or (len(shape) == 4 and stage.is_channels_last):
        return last
    if len(shape) == 4:
        fits_both = stage.sizes[:1] == (shape[1],) and shape[1] == shape[3]
        if (fits_both and stage.ends_linear) or _looks_other(shape, 1):
            raise _unclear(shape)
    return 1


def _looks_other(shape: Sequence[int], axis: int) -> bool:
    """Whether a map (B, ...) is square only if its channels are not on this axis, 1 or 3."""
    first, middle, end = shape[1:]
    is_square = {1: middle == end, 3: first == middle}
    return is_square[4 - axis] and not is_square[axis]


def _unclear(shape: Sequence[int]) -> NoStageError:
    return NoStageError(f"it is not clear which axis of {tuple(shape)[1:]} are its channels")
