"""One forward pass of a model outside any training, with the features and logits of its head."""

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
from sing_monitor.head.linear_layers import linear_layers
from sing_monitor.head.search import check_head, find_head

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class HeadPass:
    """Features and logits of one forward pass, with the weight and bias of the head.

    Args:
        weight: W, (C, m), in the dtype in which it is stored.
        bias: b, (C,), or None.
        features: f, (N, m).
        logits: output of the head, (N, C).
    """

    weight: Tensor
    bias: Tensor | None
    features: Tensor
    logits: Tensor


@dataclass(frozen=True)
class ModelPass(HeadPass):
    """Features and logits of one forward pass, with the layer that is the head.

    Args:
        head: the layer whose output is the model's answer, or that was named.
    """

    head: Head


def run_head(model: nn.Module, images: Tensor, name: str | None = None) -> ModelPass:
    """Run a model once, in eval mode and without gradients, and read features and logits.

    The images go to the model's device; the result is on the CPU. Afterwards the mode of every
    module and the random number generators are as before.

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
            f"the head {choice.head.name!r} was called {len(calls)} times in one forward pass. The "
            "model must call it once, with one feature vector for each image."
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
    """Context manager that runs a model in eval mode and without gradients.

    Restores the mode of every module and the random number generators.
    """
    with torch.random.fork_rng(), torch.no_grad(), eval_mode(model):
        yield


@contextmanager
def eval_mode(model: nn.Module) -> Generator[None, None, None]:
    """Context manager that sets eval mode, and restores the mode of every module."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
