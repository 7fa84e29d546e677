"""Calls of linear layers in a forward pass: order, inputs, outputs and the model's answer."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from sing_monitor.head.layer import Head, has_one_position
from sing_monitor.head.torch_internals import is_dynamo_loaded
from sing_monitor.head.weak_hook import WeakHook


@dataclass(eq=False)
class LayerCall:
    """One call of a linear layer.

    Args:
        layer: the called layer.
        shape: of its input.
        inputs: its input, if that is one vector for each image, (N, m) with any further axes of
            length 1; None for dense input, as in a transformer's block.
        logits: its output for such an input, (N, C).
        answers: tensors (N, K) that the outermost module around the layer returned: the model's
            logits, or several where it returns a tuple or a mapping. Empty if no module lies around
            the layer, or none returns numbers for each image.
        is_certain: whether the whole model returned the answers.
        is_inner: whether a module around the layer returned a map or tokens.
    """

    layer: Head
    shape: torch.Size
    inputs: Tensor | None = None
    logits: Tensor | None = None
    answers: tuple[Tensor, ...] = ()
    is_certain: bool = False
    is_inner: bool = False


@dataclass
class _Frame:
    """Module that is running, and the number of calls before it. A step returns no answer."""

    module: nn.Module
    first: int
    is_step: bool


@dataclass(eq=False)
class CallWitness:
    """Records the calls of a model's linear layers, and the answers around them, in one pass.

    Its hooks exist only inside :meth:`watching`, change nothing and never raise.

    Args:
        root: the model.
        layers: its linear layers.

    Attributes:
        calls: in the order in which they ended.
        error: the exception of a hook, or None.
    """

    root: nn.Module
    layers: Sequence[Head]
    calls: list[LayerCall] = field(default_factory=list)
    error: Exception | None = None

    def __post_init__(self) -> None:
        self._frames: list[_Frame] = []
        self._open: list[LayerCall] = []

    @contextmanager
    def watching(self) -> Generator[None, None, None]:
        """Record the calls inside the block; compiled parts of the model run eagerly there."""
        self.calls.clear()
        self._frames.clear()
        self._open.clear()
        with ExitStack() as stack:
            for module in modules_around(self.root, [layer.module for layer in self.layers]):
                self._hook(stack, module, "_enter", "_leave", module)
            for layer in self.layers:
                self._hook(stack, layer.module, "_called", "_returned", layer)
            # A compiled model ignores hooks that were added later, or compiles anew.
            if is_dynamo_loaded():
                stack.enter_context(torch.compiler.set_stance("force_eager"))
            yield

    def _hook(
        self, stack: ExitStack, module: nn.Module, before: str, after: str, about: object
    ) -> None:
        for handle in (
            module.register_forward_pre_hook(WeakHook(self, before, about), with_kwargs=True),
            module.register_forward_hook(WeakHook(self, after, about), with_kwargs=True),
        ):
            stack.callback(handle.remove)

    def _enter(self, module: nn.Module, _args: object, _kwargs: object) -> None:
        # Strategies for several processes run the module's steps through its forward.
        is_step = module is self.root and "forward" in vars(module)
        self._frames.append(_Frame(module, len(self.calls), is_step))

    def _leave(self, module: nn.Module, _args: object, _kwargs: object, output: object) -> None:
        while self._frames:
            frame = self._frames.pop()
            if frame.module is module:
                break
        else:
            return
        if frame.is_step:
            return
        answers = tuple(answers_in(output))
        for call in self.calls[frame.first :]:
            call.answers = answers or call.answers
            call.is_certain = bool(answers) and module is self.root
            call.is_inner |= not answers and _is_dense(output)

    def _called(self, layer: Head, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        inputs = args[0] if args else next(iter(kwargs.values()))
        call = LayerCall(layer, inputs.shape)
        if has_one_position(layer.module, inputs):
            call.inputs = inputs.detach().clone()
        self._open.append(call)

    def _returned(self, layer: Head, _args: object, _kwargs: object, output: Tensor) -> None:
        while self._open:
            call = self._open.pop()
            if call.layer is layer:
                break
        else:
            return
        if call.inputs is not None:
            call.logits = output.detach().flatten(1).clone()
        self.calls.append(call)


def modules_around(root: nn.Module, layers: Sequence[nn.Module]) -> list[nn.Module]:
    """List the modules that contain one of the layers, the root included, each once."""
    wanted = set(map(id, layers))
    holds: dict[int, bool] = {}

    def holds_one(module: nn.Module) -> bool:
        if id(module) not in holds:
            holds[id(module)] = False  # ends the recursion in a module that contains itself
            inner = [holds_one(child) or id(child) in wanted for child in module.children()]
            holds[id(module)] = any(inner)
        return holds[id(module)]

    holds_one(root)
    return [module for module in root.modules() if holds[id(module)]]


def answers_in(output: object) -> list[Tensor]:
    """Find the tensors with numbers for each image in the output of a module.

    Args:
        output: an object with ``.logits``, a mapping, a tuple, a list or a tensor.

    Returns:
        Floating point matrices, (N, K) each.
    """
    logits = output.get("logits") if isinstance(output, Mapping) else None
    logits = getattr(output, "logits", None) if logits is None else logits
    found = [logits] if isinstance(logits, Tensor) else _tensors(output)
    return [
        each.detach().flatten(1).clone()
        for each in found
        if each.is_floating_point() and each.ndim >= 2 and not _has_positions(each)
    ]


def _tensors(output: object) -> list[Tensor]:
    if isinstance(output, Mapping):
        output = tuple(output.values())
    several = output if isinstance(output, (tuple, list)) else (output,)
    return [each for each in several if isinstance(each, Tensor)]


def _has_positions(output: Tensor) -> bool:
    """Whether a tensor, (N, ...), holds more than one vector for each image."""
    return output.ndim > 2 and output.numel() > output.shape[0] * max(output.shape[1:])


def _is_dense(output: object) -> bool:
    return any(_has_positions(each) for each in _tensors(output))
