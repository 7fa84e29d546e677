"""MapSearch: hooks that note, in one batch, every tensor that could be the map of a model."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from sing_monitor.capture.map_site import Layout, Reading
from sing_monitor.head.layer import head_features
from sing_monitor.head.linear_layers import is_closed, linear_layers, walk_modules
from sing_monitor.head.torch_internals import is_dynamo_loaded
from sing_monitor.head.weak_hook import WeakHook

# So many images show which tensor is averaged.
_ROWS = 4
# So many tokens may stand before those of the locations.
_MAX_PREFIX = 8
# So many of the last tensors are kept whole until the batch has ended.
_HELD = 8


@dataclass(frozen=True, eq=False)
class Candidate:
    """A tensor with vectors at several locations that enters or leaves a module.

    Args:
        name: dotted name of the module.
        module: the module.
        is_input: whether the tensor enters it.
        shape: of the tensor.
        order: when it came.
        averages: mean over the locations of the first images, (R, c), by reading.
        first_token: of the first images, (R, c); None if these are no tokens.
        largest: magnitude of the tensor's largest value there, ().
        mark: two numbers of each of the first images, by which tensors are told apart, (R, 2).
    """

    name: str
    module: nn.Module
    is_input: bool
    shape: torch.Size
    order: int
    averages: Mapping[Reading, Tensor]
    first_token: Tensor | None
    largest: Tensor
    mark: Tensor


@dataclass(frozen=True, eq=False)
class HeadCall:
    """The call of a linear layer.

    Args:
        order: when it came.
        features: of the first images, (R, m).
        images: how many there were.
        precision: of the features.
    """

    order: int
    features: Tensor
    images: int
    precision: torch.dtype


@dataclass(frozen=True)
class Pooling:
    """Call of a module that takes vectors at several locations and returns one for each image.

    Args:
        start: when it began.
        end: when it ended.
    """

    start: int
    end: int


@dataclass(eq=False)
class MapSearch:
    """Notes in one batch which tensors could be the map, and when the linear layers were called.

    Of every tensor only means over the locations of four images are kept, and the last few tensors
    whole, so that the maps of this batch can be had too. The hooks exist between :meth:`open` and
    :meth:`close`; they change nothing, never raise and never wait for the device.

    Args:
        root: the model.

    Attributes:
        candidates: in the order in which they came.
        heads: calls of every linear layer that took one vector for each image.
        poolings: modules between a map and a vector.
        image: shape of the first image that the model took, (C, H, W); None before.
        error: the exception of a hook, or None.
    """

    root: nn.Module
    candidates: list[Candidate] = field(default_factory=list)
    heads: dict[nn.Module, list[HeadCall]] = field(default_factory=dict)
    poolings: list[Pooling] = field(default_factory=list)
    image: tuple[int, int, int] | None = None
    error: Exception | None = None

    def __post_init__(self) -> None:
        self._stack = ExitStack()
        self._order = 0
        self._frames: list[tuple[nn.Module, int, bool]] = []
        self._held: deque[tuple[Tensor, list[int]]] = deque(maxlen=_HELD)
        layers = linear_layers(self.root, copies=True)
        self._linear = {layer.module for layer in layers}
        self._sizes = {layer.feature_dim for layer in layers}

    def open(self) -> None:
        """Listen to the next forward pass; compiled parts of the model run eagerly there."""
        self.close()
        self.candidates.clear()
        self.heads.clear()
        self.poolings.clear()
        self._held.clear()
        self._frames.clear()
        for name, module in walk_modules(self.root, copies=True):
            if is_closed(module):
                continue
            for handle in (
                module.register_forward_pre_hook(
                    WeakHook(self, "_enter", name, module), with_kwargs=True
                ),
                module.register_forward_hook(
                    WeakHook(self, "_leave", name, module), with_kwargs=True
                ),
            ):
                self._stack.callback(handle.remove)
        if is_dynamo_loaded():
            self._stack.enter_context(torch.compiler.set_stance("force_eager"))

    def close(self) -> None:
        """Take the hooks off."""
        self._stack.close()

    def whole(self, candidate: Candidate, reading: Reading) -> Tensor | None:
        """The tensor of all images; None if it is not kept, or reads otherwise now. Waits."""
        for tensor, orders in self._held:
            if candidate.order not in orders:
                continue
            first, before, now = tensor[:_ROWS].float(), candidate.mark, _mark(tensor[:_ROWS])
            if reading.is_rectified:
                # A function that rectifies in place changes nothing of what is read.
                before, now = candidate.averages[reading], reading.locations(first).mean(dim=1)
            return tensor if torch.equal(now, before) else None
        return None

    def forget(self) -> None:
        """Let go of the tensors that are kept whole."""
        self._held.clear()

    def _enter(
        self, name: str, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> None:
        given = args[0] if args else next(iter(kwargs.values()), None)
        self._order += 1
        self._frames.append((module, self._order, False))
        if not isinstance(given, Tensor) or not given.is_floating_point():
            return
        if module in self._linear:
            self._note_call(module, given)
        if self.image is None and given.ndim == 4:
            self.image = (given.shape[1], given.shape[2], given.shape[3])
        is_map = self._note(name, module, given, is_input=True)
        self._frames[-1] = module, self._order, is_map

    def _leave(
        self, name: str, module: nn.Module, _args: object, _kwargs: object, output: object
    ) -> None:
        start, takes_map = 0, False
        while self._frames:
            entered, start, takes_map = self._frames.pop()
            if entered is module:
                break
        self._order += 1
        if not isinstance(output, Tensor) or not output.is_floating_point():
            return
        self._note(name, module, output, is_input=False)
        if takes_map and output.numel() == output.shape[0] * max(output.shape[1:], default=1):
            self.poolings.append(Pooling(start, self._order))

    def _note_call(self, module: nn.Module, inputs: Tensor) -> None:
        try:
            features = head_features(module, inputs[:_ROWS])
        except ValueError:  # several vectors for each image: no head
            return
        call = HeadCall(self._order, features.float().clone(), len(inputs), inputs.dtype)
        self.heads.setdefault(module, []).append(call)

    def _note(self, name: str, module: nn.Module, tensor: Tensor, *, is_input: bool) -> bool:
        """Keep what shows whether a tensor is the map; whether it could be."""
        if not is_candidate(tensor.shape) or tensor.shape[1:] == self.image:
            return False
        first = tensor.detach()[:_ROWS].float()
        self.candidates.append(
            Candidate(
                name,
                module,
                is_input,
                tensor.shape,
                self._order,
                _averages(first, self._sizes),
                first[:, 0].clone() if tensor.ndim == 3 else None,
                first.abs().amax(),
                _mark(first),
            )
        )
        self._hold(tensor)
        return True

    def _hold(self, tensor: Tensor) -> None:
        for held, orders in self._held:
            if held is tensor:
                orders.append(self._order)
                return
        self._held.append((tensor, [self._order]))


def is_candidate(shape: torch.Size) -> bool:
    """Whether a tensor holds vectors at several locations of every image."""
    if len(shape) == 4:
        return shape[0] > 0 and shape[1] * shape[2] * shape[3] > max(shape[1:]) and min(shape) > 0
    return len(shape) == 3 and shape[0] > 0 and shape[1] > 1 and shape[2] > 1


def _averages(first: Tensor, sizes: set[int]) -> dict[Reading, Tensor]:
    """Means over the locations by which a tensor's rows, (R, ...), could enter a linear layer."""
    shape = first.shape
    if len(shape) == 3:
        return _token_averages(first) if shape[2] in sizes else {}
    layouts: list[Layout] = []
    if shape[1] in sizes and shape[2] * shape[3] > 1:
        layouts.append("first")
    if shape[3] in sizes and shape[1] * shape[2] > 1:
        layouts.append("last")
    readings = [Reading(layout, 0, each) for layout in layouts for each in (False, True)]
    return {reading: reading.locations(first).mean(dim=1) for reading in readings}


def _token_averages(first: Tensor) -> dict[Reading, Tensor]:
    """Mean over all tokens, over all but the first one, the first two and so on."""
    tokens = first.shape[1]
    prefixes = min(_MAX_PREFIX, tokens - 2) + 1
    sums = first.sum(dim=1, keepdim=True) - first[:, :prefixes].cumsum(dim=1)
    sums += first[:, :prefixes]
    counts = torch.arange(tokens, tokens - prefixes, -1, device=first.device)
    means = sums / counts[:, None]
    return {Reading("tokens", prefix): means[:, prefix] for prefix in range(prefixes)}


def _mark(rows: Tensor) -> Tensor:
    flat = rows.detach().float().flatten(1)
    return torch.stack([flat.mean(dim=1), flat.abs().mean(dim=1)], dim=1)
