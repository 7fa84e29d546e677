"""Blocks in an odd order, and what stays of them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from sing_monitor import Monitor
from sing_monitor.monitor import Watch
from tests.helpers import tiny
from tests.helpers.disturbed import said_by_the_monitor
from tests.helpers.loops import images, quick, validate, watched

BATCHES = list(images())


@pytest.fixture
def model() -> nn.Module:
    return tiny.Classifier().network.eval()


def hooks(model: nn.Module) -> int:
    return sum(len(x._forward_hooks) + len(x._forward_pre_hooks) for x in model.modules())


def test_a_block_that_was_never_entered_costs_no_other(model: nn.Module) -> None:
    watching = quick(model)
    with torch.no_grad(), pytest.warns(UserWarning, match="belongs into the block of `with"):
        validate(model, images(), watching.epoch(0))  # without `with`
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for epoch in (0, 1):
            assert watched(watching, model, epoch)["monitor/samples"] == 48


def test_a_watch_is_of_one_block(model: nn.Module) -> None:
    watching = quick(model)
    watch = watching.epoch(0)
    with said_by_the_monitor() as said, torch.no_grad():
        for _ in range(2):
            with watch:
                validate(model, images(), watch)
    assert len(said) == 1
    assert "Call monitor.epoch(...) anew for every validation" in said[0]
    assert watch.scalars == {}  # and not those of the first block
    assert hooks(model) == 0
    assert watched(watching, model, 1)["monitor/samples"] == 48


def test_of_two_blocks_at_once_the_second_is_refused(model: nn.Module) -> None:
    watching = quick(model)
    first, second = watching.epoch(0), watching.epoch(1)
    with said_by_the_monitor() as said, torch.no_grad(), first, second:
        validate(model, images(), first)
    assert ["the block of epoch 0 has not ended" in line for line in said] == [True]
    assert (first.scalars["monitor/samples"], second.scalars) == (48, {})


@pytest.mark.parametrize(("steps", "is_said"), [((3, 3, 3), True), ((9, 3), True), ((3, 6), False)])
def test_steps_that_do_not_go_forward_are_said_once(
    steps: tuple[int, ...], is_said: bool, model: nn.Module
) -> None:
    watching = quick(model)
    with said_by_the_monitor() as said:
        for epoch, step in enumerate(steps):
            watched(watching, model, epoch, step=step)
    assert ["the curves of the run do not go forward" in line for line in said] == [True] * is_said


def broken_off(watching: Monitor, model: nn.Module, epoch: int) -> dict[str, float]:
    with torch.no_grad(), watching.epoch(epoch) as watch:
        for inputs, labels in list(images())[:2]:
            model(inputs)
            watch.add(inputs, labels)
    return watch.scalars


@pytest.mark.parametrize("is_named", [True, False])
def test_a_block_that_breaks_off_is_said(is_named: bool, model: nn.Module) -> None:
    watching = quick(model, loader=images() if is_named else None)
    with said_by_the_monitor() as said:
        watched(watching, model, 0)
        assert broken_off(watching, model, 1)["monitor/samples"] == 32
        watched(watching, model, 2)
    told = [line for line in said if "went over 32 images, and not over 48" in line]
    assert len(told) == 1


def test_a_loader_that_drops_its_last_images_is_whole(model: nn.Module) -> None:
    loader = DataLoader(tiny.Blobs(), 20, drop_last=True)
    watching = quick(model, loader=loader)
    with said_by_the_monitor() as said:
        assert watched(watching, model, 0, loader=loader)["monitor/samples"] == 40
    assert not any("went over" in line for line in said)


def late(model: nn.Module, watch: Watch) -> None:
    """Hands over every batch one pass too late, as a loop that prefetches may."""
    before = None
    for batch in BATCHES:
        model(batch[0])
        if before is not None:
            watch.add(*before)
        before = batch


def early(model: nn.Module, watch: Watch) -> None:
    """Hands over every batch before its pass, and has warmed the model up."""
    model(torch.zeros(16, 3, tiny.SIDE, tiny.SIDE))
    for inputs, labels in BATCHES:
        watch.add(inputs, labels)
        model(inputs)


def early_once(model: nn.Module, watch: Watch) -> None:
    model(torch.zeros(16, 3, tiny.SIDE, tiny.SIDE))
    watch.add(*BATCHES[0])
    model(BATCHES[0][0])


@pytest.mark.parametrize("loop", [late, early, early_once])
def test_features_of_other_images_are_not_taken(
    loop: Callable[[nn.Module, Watch], None], model: nn.Module
) -> None:
    watching = quick(model)
    watched(watching, model, 0)
    with (
        torch.no_grad(),
        pytest.warns(UserWarning, match="other images than those of the last forward pass"),
        watching.epoch(1) as watch,
    ):
        loop(model, watch)
    assert math.isnan(watch.scalars["head/null_energy"])


def test_a_model_may_get_the_images_changed_or_in_one_buffer(model: nn.Module) -> None:
    watching, buffer = quick(model), torch.empty_like(BATCHES[0][0])
    expected = watched(watching, model, 0)
    with torch.no_grad(), watching.epoch(1) as changed:
        for inputs, labels in BATCHES:
            model(inputs.clone())
            changed.add(inputs, labels)
    with torch.no_grad(), watching.epoch(2) as reused:
        for inputs, labels in BATCHES:
            model(buffer.copy_(inputs))
            reused.add({"image": buffer, "label": labels})
    for watch in (changed, reused):
        assert watch.scalars["head/null_energy"] == expected["head/null_energy"]


def test_a_function_that_is_compiled_whole_runs_in_a_block(model: nn.Module) -> None:
    watching = quick(model)
    expected = watched(watching, model, 0)
    compiled = torch.compile(lambda inputs: model(inputs), backend="eager", fullgraph=True)
    with torch.no_grad(), watching.epoch(1) as watch:
        validate(compiled, images(), watch)
    assert watch.scalars["head/null_energy"] == expected["head/null_energy"]
