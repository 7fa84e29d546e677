"""Passes over a loader: what is known of one, and one that the monitor makes by itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

from sing_monitor.extra_pass.collect import collect_probe, feeding, forward_images
from sing_monitor.extra_pass.quiet import quiet
from sing_monitor.inputs.loaders import ImageOrder, check_loader
from sing_monitor.monitor.model_capture import ModelCapture
from sing_monitor.monitor.plain.wrappers import forward_alone, own_loader, running_module
from sing_monitor.monitor.validation import Source


def known_source(loader: Any, ranks: int) -> Source:
    """What is known of a pass over a loader, whose images the processes share; None: nothing.

    Raises:
        SetupError: if it is no loader.
    """
    if loader is None:
        order = ImageOrder("the monitor was given no loader")
        return Source(None, None, math.inf, None, ranks, order)
    return needed_source(loader, ranks)


def needed_source(loader: Any, ranks: int) -> Source:
    """A whole pass over a loader, whose images the processes share.

    Raises:
        SetupError: if it is no loader.
    """
    own = own_loader(loader)
    check_loader(own, "the monitor")
    return Source.of_loader(own, ranks)


def run_over(
    capture: ModelCapture,
    source: Source,
    *,
    model: nn.Module,
    adapter: Callable[[Any], Any] | None,
    autocast: Sequence[str],
    is_shared: bool,
) -> None:
    """Run a model over a loader, and collect the probe.

    Args:
        capture: started on the module that runs.
        source: of the batches.
        model: as the loop calls it.
        adapter: the user's ``batch_adapter``.
        autocast: kinds of device whose autocast the loop has turned on.
        is_shared: whether other processes take part.
    """
    root, call = running_module(model), forward_alone(model)
    with ExitStack() as stack:
        if call is model and root is model:
            feed = stack.enter_context(forward_images(root, adapter))
        else:
            stack.enter_context(quiet(root))
            feed = feeding(call, adapter)

        def forward(batch: Any) -> object:
            with ExitStack() as own:
                for kind in autocast:
                    own.enter_context(torch.autocast(kind))
                return feed(batch)

        # Where parameters are shared out, every process takes part in every pass.
        collect_probe(capture, model, source.loader, forward=forward, is_shared=is_shared)


def autocast_kinds(model: nn.Module) -> list[str]:
    """Kinds of device on which autocast is on: that of the model, and the CPU."""
    device = next((each.device.type for each in model.parameters()), "cpu")
    return [kind for kind in sorted({device, "cpu"}) if torch.is_autocast_enabled(kind)]


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Run the monitor's own code without gradients and autocast, whatever the loop has turned on.

    Args:
        model: autocast of its device is turned off, and that of the CPU.
    """
    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        for kind in autocast_kinds(model):
            stack.enter_context(torch.autocast(kind, enabled=False))
        yield
