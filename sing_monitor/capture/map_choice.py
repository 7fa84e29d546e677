"""Choice of a model's map among the tensors of one batch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from sing_monitor.capture.map_search import Candidate, HeadCall, MapSearch
from sing_monitor.capture.map_site import MapSite, NoMapError, Reading
from sing_monitor.head.linear_layers import takes_tokens_first, walk_modules

# Means are computed in another order than by the model, and rounded to its precision.
_SUMMED = 32 * torch.finfo(torch.float32).eps
_STORED = 4
_CLASS_TOKENS = ("cls_token", "class_token", "dist_token", "distillation_token")
_OTHER_TOKENS = ("reg_token", "register_tokens")
# Modules that give a grid of any size, whatever they take.
_RESAMPLED = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.Upsample)


def find_map_site(search: MapSearch, head: nn.Module) -> tuple[MapSite, Candidate]:
    """Find the tensor whose locations the head's features summarize. Waits for the device.

    The last tensor before the head's call whose mean over locations *is* the head's input, which is
    evidence that needs no names. Else the tokens whose first one is the head's input (a class
    token). Else the last tensor before pooling: a norm, a hidden layer or an attention stands
    between it and the head.

    Args:
        search: that has seen one batch.
        head: the layer that answers.

    Returns:
        The site, and the tensor by which it was found.

    Raises:
        NoMapError: if no tensor is surely the map.
    """
    calls = search.heads.get(head, [])
    if not calls:
        raise NoMapError("the head was not seen with one feature vector for each image")
    if len(calls) > 1:
        raise NoMapError(
            f"the head is called {len(calls)} times for each batch, so that an image has several "
            "maps"
        )
    call = calls[0]
    before = _last_calls(search.candidates, call)
    seen = [each for each in before if each.shape[0] == call.images]
    if before and not seen:
        raise NoMapError(
            f"the head takes {call.images} feature vectors where the layers before it take "
            f"{before[-1].shape[0]} images"
        )
    aspect = None if search.image is None else search.image[1] / search.image[2]
    declared = declared_prefix(search.root)
    for candidate, reading in _by_evidence(seen, call, declared):
        site = _site(candidate, reading, aspect)
        if site is not None:
            return site, candidate
    _refuse_tokens_first(before, search, call)
    return _by_place(seen, search, call, declared, aspect)


def declared_prefix(model: nn.Module) -> int | None:
    """How many tokens a model says stand before those of the locations; None if it says nothing.

    timm says it by ``num_prefix_tokens``, transformers by a class token and
    ``config.num_register_tokens``.
    """
    modules = [module for _, module in walk_modules(model)]
    for module in modules:
        number = getattr(module, "num_prefix_tokens", None)
        if isinstance(number, int):
            return number
    names = {name for module in modules for name, _ in module.named_parameters(recurse=False)}
    known = sum(name in names for name in _CLASS_TOKENS)
    for module in modules:
        registers = getattr(getattr(module, "config", None), "num_register_tokens", None)
        if isinstance(registers, int):
            return known + registers
    if names.intersection(_OTHER_TOKENS):
        return None
    return known or None


def _last_calls(candidates: Sequence[Candidate], call: HeadCall) -> list[Candidate]:
    """The candidates of every module's last call before the head's: only that one is taken."""
    last = {(each.module, each.is_input): each for each in candidates if each.order < call.order}
    return sorted(last.values(), key=lambda each: each.order)


def _by_evidence(
    seen: Sequence[Candidate], call: HeadCall, declared: int | None
) -> Iterator[tuple[Candidate, Reading]]:
    """Candidates that the head's features show to be the map, the surest first."""
    features = call.features
    if not bool(features.isfinite().all()) or not bool(features.any()):
        return
    # What leaves a module has the better name.
    latest = [*_outputs(seen)[::-1], *_inputs(seen)[::-1]]
    for is_rectified in (False, True):
        for candidate in latest:
            readings = [each for each in candidate.averages if each.is_rectified is is_rectified]
            # Tokens may all be equal before training.
            readings.sort(key=lambda each: (each.prefix != (declared or 0), each.prefix))
            for reading in readings:
                if _is_mean(candidate.averages[reading], call, candidate):
                    yield candidate, reading
        if not is_rectified:
            for candidate in latest:
                if candidate.first_token is not None and _is_same(candidate.first_token, call):
                    yield candidate, Reading("tokens", declared or 1)


def _refuse_tokens_first(before: Sequence[Candidate], search: MapSearch, call: HeadCall) -> None:
    """Refuse tokens (T, B, c): their rows are no images, and what came before is not the map.

    Raises:
        NoMapError: if the last tensor outside a pooling is, or might be, of that form.
    """
    outside = [
        each
        for each in before
        if not any(pooling.start < each.order < pooling.end for pooling in search.poolings)
    ]
    shape = outside[-1].shape if outside else torch.Size()
    if len(shape) != 3 or shape[1] != call.images:
        return
    if shape[0] != call.images or takes_tokens_first(search.root):
        raise NoMapError(
            f"{outside[-1].name!r} gives {tuple(shape)} for {call.images} images, with the tokens "
            "first; maps need the images first (batch_first=True)"
        )


def _by_place(
    seen: Sequence[Candidate],
    search: MapSearch,
    call: HeadCall,
    declared: int | None,
    aspect: float | None,
) -> tuple[MapSite, Candidate]:
    """The last candidate before pooling."""
    poolings = [each for each in search.poolings if each.end < call.order]
    for pooling in poolings:
        inside = [each for each in seen if pooling.start < each.order < pooling.end]
        # An attention makes tensors of its own out of the map.
        if any(len(each.shape) == 3 for each in inside):
            seen = [each for each in seen if each not in inside]
    resampled = [each for each in seen if isinstance(each.module, _RESAMPLED) and not each.is_input]
    seen = [
        each
        for each in seen
        if not _is_image(each, search.image)
        and not any(_are_equal(each, other) for other in resampled)
    ]
    if not seen:
        raise NoMapError(
            "no layer before the head gives vectors at several locations of an image, so there is "
            "no map"
        )
    last = _named(seen)
    reading = _reading(last, search.root, call, declared, aspect)
    site = _site(last, reading, aspect)
    if site is None:
        raise NoMapError(_not_certain(last))
    return site, last


def _reading(
    candidate: Candidate,
    model: nn.Module,
    call: HeadCall,
    declared: int | None,
    aspect: float | None,
) -> Reading:
    shape = candidate.shape
    if len(shape) == 3:
        if declared is not None:
            return Reading("tokens", declared)
        if _token_grid(shape[1], aspect) is None:
            raise NoMapError(_not_certain(candidate))
        return Reading("tokens")
    sizes = [shape[axis] == call.features.shape[1] for axis in (1, 3)]
    if sizes[0] != sizes[1]:
        return Reading("first" if sizes[0] else "last")
    formats = {getattr(module, "output_fmt", None) for _, module in walk_modules(model)}
    is_last = "NHWC" in {str(getattr(each, "value", each)) for each in formats}
    return Reading("last" if is_last else "first")


def _not_certain(candidate: Candidate) -> str:
    return (
        f"the last layer with several vectors for each image, {candidate.name!r}, gives "
        f"{candidate.shape[1]} tokens, and nothing shows which of them are locations of the image"
    )


def _site(candidate: Candidate, reading: Reading, aspect: float | None) -> MapSite | None:
    """The site for a reading; None if its tokens make no grid."""
    shape = candidate.shape
    grid: tuple[int, int] | None
    if reading.layout == "tokens":
        grid, channels = _token_grid(shape[1] - reading.prefix, aspect), shape[2]
    elif reading.layout == "first":
        grid, channels = (shape[2], shape[3]), shape[1]
    else:
        grid, channels = (shape[1], shape[2]), shape[3]
    if grid is None or grid[0] * grid[1] < 2:
        return None
    return MapSite(candidate.name, candidate.module, candidate.is_input, reading, channels, grid)


def _token_grid(count: int, aspect: float | None) -> tuple[int, int] | None:
    """Grid (h, w) of so many locations in images of this h / w; None if there is none."""
    if count < 2:
        return None
    height = round(math.sqrt(count * (aspect or 1.0)))
    if height == 0 or count % height:
        return None
    width = count // height
    # Sides of an image need not be multiples of the patch.
    is_like_image = abs(height - width * (aspect or 1.0)) < 1
    return (height, width) if is_like_image else None


def _is_image(candidate: Candidate, image: tuple[int, int, int] | None) -> bool:
    """Whether a tensor is no map, but the image, normalized or in gray, or a mask."""
    shape = candidate.shape
    if len(shape) == 3:
        return False
    is_image = image is not None and shape[1] <= image[0] and tuple(shape[2:]) == image[1:]
    return is_image or shape[1] == 1 or shape[2] * shape[3] == 1


def _named(seen: Sequence[Candidate]) -> Candidate:
    """The last candidate; by the module that returned it, where what enters one was returned."""
    last = seen[-1]
    return next((each for each in _outputs(seen)[::-1] if _are_equal(each, last)), last)


def _are_equal(one: Candidate, other: Candidate) -> bool:
    return one.shape == other.shape and torch.equal(one.mark, other.mark)


def _outputs(seen: Sequence[Candidate]) -> list[Candidate]:
    return [each for each in seen if not each.is_input]


def _inputs(seen: Sequence[Candidate]) -> list[Candidate]:
    return [each for each in seen if each.is_input]


def _is_mean(average: Tensor, call: HeadCall, candidate: Candidate) -> bool:
    if average.shape != call.features.shape:
        return False
    features = call.features.to(average.device)
    stored = torch.finfo(call.precision).eps
    allowed = _STORED * stored * features.abs() + _SUMMED * candidate.largest
    return bool(((average - features).abs() <= allowed).all())


def _is_same(token: Tensor, call: HeadCall) -> bool:
    return token.shape == call.features.shape and torch.equal(
        token.to(call.features.device), call.features
    )
