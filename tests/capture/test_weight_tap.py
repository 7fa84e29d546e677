"""Weight tap: what is read of a network, and what is kept of it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm
from torch.optim.swa_utils import AveragedModel

from sing_monitor.capture.weight_tap import COLUMNS, WeightTap


def network() -> nn.Sequential:
    body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    return nn.Sequential(body, nn.Flatten(), nn.Linear(16, 5))


def kept_of(model: nn.Module, count: int = 10**6, head: str = "2") -> tuple[WeightTap, Any]:
    tap = WeightTap(count)
    tap.read(model, head)
    return tap, tap.finish(None, 0, 0)


def flat(model: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def test_all_parameters_of_a_small_network_are_read_and_no_buffer() -> None:
    model = network()
    tap, kept = kept_of(model)
    assert torch.equal(kept["values"], flat(model)[None])
    trajectory = tap.trajectory(kept)
    assert trajectory is not None
    assert trajectory.layers == ("0.0", "0.1", "2")
    assert trajectory.layer_index.bincount().tolist() == [112, 8, 85]
    assert int(trajectory.is_head.sum()) == 85


def test_a_sample_holds_values_of_the_layers_that_it_names() -> None:
    model = network()
    with torch.no_grad():
        for place, parameter in enumerate(model.parameters()):
            parameter.fill_(place)
    tap, kept = kept_of(model, 40)
    trajectory = tap.trajectory(kept)
    assert trajectory is not None
    assert len(trajectory) == 40 + 85
    of_layer = {0: {0, 1}, 1: {2, 3}, 2: {4, 5}}
    for layer, values in of_layer.items():
        found = trajectory.values[trajectory.layer_index == layer]
        assert {int(value) for value in found} <= values


@pytest.mark.parametrize("kind", ["bfloat16", "channels_last", "scalar", "transposed"])
def test_any_layout_and_dtype_is_read_as_single_precision(kind: str) -> None:
    model = network()
    if kind == "bfloat16":
        model = model.bfloat16()
    elif kind == "channels_last":
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    elif kind == "scalar":
        model.register_parameter("scale", nn.Parameter(torch.tensor(3.0)))
    else:
        model[2].weight = nn.Parameter(torch.rand(16, 5).T)
    _, kept = kept_of(model)
    assert kept["values"].dtype == torch.float32
    assert torch.equal(kept["values"][0], flat(model).float())


def test_what_is_read_is_a_copy_of_the_moment() -> None:
    model, tap = network(), WeightTap(10**6)
    before = flat(model)
    tap.read(model, "2")
    with torch.no_grad():
        model[2].weight.add_(1)
    kept = tap.finish(None, 0, 0)
    assert kept is not None
    assert torch.equal(kept["values"][0], before)


def test_copies_of_the_model_tied_weights_and_integers_are_left_out() -> None:
    model = network()
    model.add_module("twin", model[2])
    model.add_module("average", AveragedModel(network()))
    model.register_parameter("code", nn.Parameter(torch.ones(9).long(), requires_grad=False))
    assert kept_of(model)[1]["values"].shape == (1, 205)


def test_what_the_head_shares_with_a_layer_before_it_is_the_heads() -> None:
    model = nn.Sequential(nn.Embedding(5, 16), nn.Flatten(), nn.Linear(16, 5))
    model[2].weight = model[0].weight
    tap, kept = kept_of(model)
    trajectory = tap.trajectory(kept)
    assert trajectory is not None
    assert trajectory.layers == ("2",)
    assert int(trajectory.is_head.sum()) == 85


def test_parametrized_and_attention_weights_belong_to_their_layer() -> None:
    model = nn.Sequential(nn.MultiheadAttention(4, 2), weight_norm(nn.Linear(4, 3)))
    tap, kept = kept_of(model, head="1")
    trajectory = tap.trajectory(kept)
    assert trajectory is not None
    assert trajectory.layers == ("0", "0.out_proj", "1")
    assert trajectory.layer_index.bincount().tolist() == [60, 20, 18]
    assert int(trajectory.is_head.sum()) == 18


def test_the_last_validations_are_kept_in_their_order() -> None:
    model, tap = network(), WeightTap(10)
    kept: Any = None
    for epoch in range(COLUMNS + 3):
        with torch.no_grad():
            model[2].weight.fill_(epoch)
        tap.start_pass()
        tap.read(model, "2")
        kept = tap.finish(kept, epoch, 10 * epoch)
    assert kept["places"].tolist() == [[epoch, 10 * epoch] for epoch in range(3, COLUMNS + 3)]
    trajectory = tap.trajectory(kept)
    assert trajectory is not None
    head = trajectory.values[trajectory.is_head]
    assert head[0].tolist() == list(range(3, COLUMNS + 3))
    assert trajectory.epochs.tolist() == list(range(3, COLUMNS + 3))


def test_a_validation_that_comes_again_takes_the_place_of_the_old_one_and_later_ones() -> None:
    model, tap = network(), WeightTap(10)
    kept: Any = None
    for epoch, step in [(0, 5), (1, 10), (2, 15), (1, 10), (1, 12)]:
        tap.start_pass()
        tap.read(model, "2")
        kept = tap.finish(kept, epoch, step)
    assert kept["places"].tolist() == [[0, 5], [1, 10], [1, 12]]


def test_weights_of_another_network_start_anew() -> None:
    tap, kept = kept_of(network())
    other = network()
    other[2] = nn.Linear(16, 6)
    tap.start_pass()
    tap.read(other, "2")
    assert len(tap.finish(kept, 1, 1)["values"]) == 1  # type: ignore[index]
    assert WeightTap(5).trajectory(kept) is None


def test_a_layer_that_takes_the_place_of_one_of_as_many_numbers_is_read_whole() -> None:
    model = network()
    tap, kept = kept_of(model)
    model[0][0] = nn.Conv2d(3, 4, (1, 9))
    tap.start_pass()
    tap.read(model, "2")
    kept = tap.finish(kept, 1, 1)
    assert kept is not None
    assert torch.equal(kept["values"][1], flat(model))


def test_what_was_kept_stays_where_nothing_is_read() -> None:
    tap, kept = kept_of(network())
    tap.start_pass()
    assert tap.finish(kept, 1, 1) == kept
    assert WeightTap(0).finish(None, 0, 0) is None


def test_the_largest_state_is_below_ten_megabytes() -> None:
    model = nn.Sequential(nn.Linear(300, 500), nn.Linear(499, 100))
    tap, kept = kept_of(model, 20_000, head="1")
    for epoch in range(1, 30):
        tap.start_pass()
        tap.read(model, "1")
        kept = tap.finish(kept, epoch, epoch)
    assert kept["values"].shape == (20, 70_000)
    assert sum(each.untyped_storage().nbytes() for each in (kept["values"], kept["places"])) < 6e6


def test_a_process_without_weights_says_so() -> None:
    with pytest.raises(ValueError, match="holds no weight that can be read without gathering"):
        WeightTap(5).read(nn.Sequential(nn.LazyLinear(3)), "0")
