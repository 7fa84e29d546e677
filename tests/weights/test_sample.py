"""Stratified sample: shares of the layers, and the same weights every time."""

from __future__ import annotations

import pytest
import torch

from sing_monitor.weights.sample import MOST_OF_HEAD, WeightSample, spread

SIZES = {
    "stem.weight": 400,
    "stem.bias": 20,
    "body.0.weight": 9000,
    "body.0.parametrizations.weight.original0": 60,
    "fc.weight": 300,
    "fc.bias": 10,
}


def test_half_is_spread_equally_and_half_by_size() -> None:
    expected = [50 + 15, 50 + 15, 50 + 120]
    assert spread([1000, 1000, 8000], 300) == pytest.approx(expected, abs=1)


@pytest.mark.parametrize("count", [0, 1, 7, 50, 999, 1109, 1110, 5000])
def test_no_layer_gives_more_than_it_has_and_none_is_lost(count: int) -> None:
    sizes = [3, 1000, 0, 7, 100]
    shares = spread(sizes, count)
    assert sum(shares) == min(count, sum(sizes))
    assert all(0 <= share <= size for share, size in zip(shares, sizes, strict=True))


def test_a_small_head_is_taken_whole_beside_the_others() -> None:
    sample = WeightSample.of(SIZES, "fc", 1000)
    assert sample.picked["fc.weight"].tolist() == list(range(300))
    assert int(sample.is_head.sum()) == 310
    assert len(sample.is_head) == len(sample.layer_index) == 1310
    assert sample.layers == ("stem", "body.0", "fc")
    counts = sample.layer_index.bincount().tolist()
    assert counts == [*spread([420, 9060], 1000), 310]


def test_a_large_head_is_sampled_like_any_layer() -> None:
    sample = WeightSample.of({**SIZES, "fc.weight": MOST_OF_HEAD}, "fc", 300)
    assert len(sample.is_head) == 300
    assert int(sample.is_head.sum()) == spread([420, 9060, MOST_OF_HEAD + 10], 300)[2]


def test_rows_are_distinct_and_of_their_parameter() -> None:
    sample = WeightSample.of(SIZES, "fc", 2000)
    for name, rows in sample.picked.items():
        assert rows.tolist() == sorted(set(rows.tolist()))
        assert 0 <= int(rows[0])
        assert int(rows[-1]) < SIZES[name]
    assert sum(map(len, sample.picked.values())) == 2310


def test_names_and_sizes_alone_choose_the_weights() -> None:
    torch.manual_seed(1)
    one = WeightSample.of(SIZES, "fc", 500)
    state = torch.get_rng_state()
    torch.manual_seed(2)
    same = WeightSample.of(SIZES, "fc", 500)
    assert one.network == same.network
    assert all(torch.equal(rows, same.picked[name]) for name, rows in one.picked.items())
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    "other",
    [
        WeightSample.of({**SIZES, "fc.bias": 11}, "fc", 500),
        WeightSample.of({**SIZES, "more": 1}, "fc", 500),
        WeightSample.of(SIZES, "body.0", 500),
        WeightSample.of(SIZES, "fc", 501),
    ],
)
def test_another_network_has_another_fingerprint(other: WeightSample) -> None:
    assert WeightSample.of(SIZES, "fc", 500).network != other.network


def test_a_model_that_is_its_own_head_has_a_layer_with_a_name() -> None:
    sample = WeightSample.of({"weight": 12, "bias": 3}, "", 4)
    assert sample.layers == ("(the module itself)",)
    assert bool(sample.is_head.all())
    assert len(sample.is_head) == 15
