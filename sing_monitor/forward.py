"""One forward pass of a model outside any training, as its classifier head sees it."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sing_monitor.head import Head, check_logits, head_features, head_parameters


@dataclass(frozen=True)
class HeadPass:
    """What entered and left a head in one forward pass.

    Args:
        weight: W, (C, m), in the dtype in which it is stored.
        bias: b, (C,), or None.
        features: f, (N, m).
        logits: what the head answered, (N, C).
    """

    weight: Tensor
    bias: Tensor | None
    features: Tensor
    logits: Tensor


def run_head(model: nn.Module, head: Head, images: Tensor) -> HeadPass:
    """Run a model once, in eval mode and without gradients, and look at its head.

    The images go to the model's device; what is returned is on the CPU. Afterwards every module
    is in the mode in which it was, and so are the random number generators.

    Args:
        model: maps images to logits.
        head: of the model.
        images: what the model takes, (N, c, H, W).

    Raises:
        ValueError: if the head is not called once, or does not compute ``W f + b``.
    """
    calls: list[tuple[Tensor, Tensor]] = []

    def look(module: nn.Module, args: tuple[Any, ...], kwargs: Any, output: Tensor) -> None:
        inputs = args[0] if args else kwargs["input"]
        calls.append((inputs.detach().clone(), output.detach().clone()))

    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    with ExitStack() as stack:
        stack.enter_context(evaluating(model))
        handle = head.module.register_forward_hook(look, with_kwargs=True)
        stack.callback(handle.remove)
        model(images.to(device))
        weight, bias = head_parameters(head.module)
    if len(calls) != 1:
        raise ValueError(
            f"the head {head.name!r} was called {len(calls)} times in one forward pass of the "
            "model; one call that maps features to logits is needed."
        )
    features = head_features(head.module, calls[0][0])
    logits = calls[0][1].flatten(1)
    check_logits(head.module, weight, bias, features, logits)
    return HeadPass(
        weight.cpu(), None if bias is None else bias.cpu(), features.cpu(), logits.cpu()
    )


@contextmanager
def evaluating(model: nn.Module) -> Generator[None, None, None]:
    """Eval mode without gradients; modes and random number generators are restored."""
    with torch.random.fork_rng(), torch.no_grad(), eval_mode(model):
        yield


@contextmanager
def eval_mode(model: nn.Module) -> Generator[None, None, None]:
    """Eval mode, and afterwards each module's own mode again."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
