"""One forward pass of a model outside any training, as its classifier head sees it."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sing_monitor.errors import SetupError
from sing_monitor.head.calls import CallWitness
from sing_monitor.head.choice import choose_head
from sing_monitor.head.layer import Head, check_logits, head_features, head_parameters
from sing_monitor.head.search import check_head, find_head, linear_layers

_logger = logging.getLogger(__name__)


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


@dataclass(frozen=True)
class ModelPass(HeadPass):
    """The same of a model that was run.

    Args:
        head: the layer whose output is the model's answer, or that was named.
    """

    head: Head


def run_head(model: nn.Module, images: Tensor, name: str | None = None) -> ModelPass:
    """Run a model once, in eval mode and without gradients, and look at its head.

    The images go to the model's device; what is returned is on the CPU. Afterwards every module
    is in the mode in which it was, and so are the random number generators.

    Args:
        model: maps images to logits.
        images: what the model takes, (N, c, H, W).
        name: dotted name of the head; by default the layer whose output is the model's answer.

    Raises:
        ValueError: if the head is not found, is not called once, or does not compute ``W f + b``.
        TypeError: if the head cannot be read.
    """
    named = None if name is None else find_head(model, name)
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    witness = CallWitness(model, linear_layers(model))
    with evaluating(model):
        with witness.watching():
            model(images.to(device))
        if witness.error is not None:
            raise witness.error
        choice = choose_head(model, witness.calls, named=named, largest_label=-1)
        check_head(choice.head)
        module = choice.head.module
        weight, bias = head_parameters(module)
    for remark in choice.remarks:
        _logger.warning(str(SetupError(*remark)))
    calls = [call for call in witness.calls if call.layer.module is module]
    if len(calls) != 1 or calls[0].inputs is None or calls[0].logits is None:
        raise ValueError(
            f"the head {choice.head.name!r} was called {len(calls)} times in one forward pass of "
            "the model; one call that maps features to logits is needed."
        )
    features, logits = head_features(module, calls[0].inputs), calls[0].logits
    check_logits(module, weight, bias, features, logits)
    return ModelPass(
        weight.cpu(),
        None if bias is None else bias.cpu(),
        features.cpu(),
        logits.cpu(),
        choice.head,
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
