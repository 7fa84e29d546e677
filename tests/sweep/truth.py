"""Which layer gives a model's answer, by running it: nothing of the monitor's search is used."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

# Single precision, summed in another order, leaves far less than this.
_ROUNDING = 1e-4


@dataclass(frozen=True)
class Truth:
    """What a model answers and the layers that compute it.

    Args:
        answer: (B, C), at the model's own initialization.
        heads: the names of the layers whose W f + b is the answer; empty where no one layer is.
        is_zero: the head is zero at its own initialization, so that it answers nothing yet.
    """

    answer: Tensor
    heads: tuple[str, ...]
    is_zero: bool


@dataclass
class _Calls:
    """The last input and output of every layer with a matrix."""

    seen: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def reader(self, name: str) -> Any:
        def read(_module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            entered = args[0] if args else next(iter(kwargs.values()), None)
            if isinstance(entered, Tensor) and isinstance(output, Tensor):
                self.seen[name] = entered.detach().clone(), output.detach().clone()

        return read


def find_truth(model: nn.Module, images: Tensor) -> Truth:
    """Run a model in eval mode and compare every layer's output with the answer.

    Raises:
        ValueError: if the answer holds no (B, C) tensor.
    """
    model.eval()
    own, _ = _run(model, images)
    # Of zeros, every layer that answers zeros would be the head.
    is_zero = bool((own == own[:1]).all())
    with _noise_for_zeros(model) if is_zero else _as_it_is():
        answer, calls = _run(model, images)
        heads = [
            name
            for name, (entered, output) in calls.seen.items()
            if _is_answer(output, answer)
            and _is_linear_map(model.get_submodule(name), entered, answer)
        ]
    return Truth(own, tuple(heads), is_zero)


def answer_of(output: Any, *, detach: bool = True) -> Tensor:
    """The logits in what a model returns: a tensor, ``.logits``, or the first of several."""
    if not isinstance(output, Tensor):
        output = getattr(output, "logits", output)
    while not isinstance(output, Tensor):
        values = list(output.values()) if isinstance(output, dict) else list(output)
        output = values[0]
    if output.ndim < 2:
        raise ValueError(f"the answer has the shape {tuple(output.shape)}")
    return (output.detach() if detach else output).flatten(1)


def matrix_of(module: nn.Module) -> Tensor | None:
    """The (C, m) weight of a layer, also of a 1x1 convolution; None for any other module."""
    weight = getattr(module, "weight", None)
    if not isinstance(weight, Tensor) or isinstance(module, nn.Embedding):
        return None
    if weight.ndim == 4 and weight.shape[2:] == (1, 1):
        weight = weight.flatten(1)
    return weight.detach() if weight.ndim == 2 else None


def same(left: Tensor, right: Tensor) -> bool:
    """Whether two tensors hold the same numbers but for the rounding of their sums."""
    scale = right.double().abs().max().clamp(min=1e-30)
    return bool((left.double() - right.double()).abs().max() <= _ROUNDING * scale)


def _run(model: nn.Module, images: Tensor) -> tuple[Tensor, _Calls]:
    calls = _Calls()
    handles = [
        module.register_forward_hook(calls.reader(name), with_kwargs=True)
        for name, module in model.named_modules()
        if matrix_of(module) is not None
    ]
    try:
        torch.manual_seed(0)
        with torch.no_grad():
            return answer_of(model(images)), calls
    finally:
        for handle in handles:
            handle.remove()


def _is_answer(output: Tensor, answer: Tensor) -> bool:
    if output.numel() != answer.numel():
        return False
    return torch.equal(output.reshape(len(answer), -1).to(answer.dtype), answer)


def _is_linear_map(module: nn.Module, entered: Tensor, answer: Tensor) -> bool:
    weight, bias = matrix_of(module), getattr(module, "bias", None)
    if weight is None or entered.numel() != len(answer) * weight.shape[1]:
        return False
    expected = entered.reshape(len(answer), -1).double() @ weight.double().T
    if isinstance(bias, Tensor):
        expected = expected + bias.detach().double()
    return same(expected, answer)


@contextmanager
def _as_it_is() -> Generator[None, None, None]:
    yield


@contextmanager
def _noise_for_zeros(model: nn.Module) -> Generator[None, None, None]:
    """Give every matrix of zeros some noise, and take it away again."""
    zeros = [p for p in model.parameters() if p.ndim > 1 and not p.detach().any()]
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad(), suppress(RuntimeError):
        for parameter in zeros:
            parameter.copy_(0.02 * torch.randn(parameter.shape, generator=generator))
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter in zeros:
                parameter.zero_()
