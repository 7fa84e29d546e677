"""Ranks by layer: known answers on features that were taken, and on networks that train."""

from __future__ import annotations

import math
from dataclasses import replace

import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from sing_monitor.analyses import analyze
from sing_monitor.analyses.layers.analysis import analyze_layers
from sing_monitor.analyses.layers.ranks import effective_rank, pca_dimension
from sing_monitor.analyses.layers.stages import analyze_stages
from sing_monitor.feature_maps import StageFeatures
from sing_monitor.observation import Observation
from sing_monitor.snapshot import Snapshot
from tests.helpers import generator, make_snapshot, normal, reorder, with_stages

DROP = "layers/rank_drop"


def found_in(snapshot: Snapshot) -> tuple[float, pd.DataFrame]:
    found = analyze_stages(Observation(snapshot))
    return found.scalars[DROP], found.tables["layers"]


def of_stages(*values: Tensor) -> Snapshot:
    return with_stages_of(make_snapshot(samples=len(values[0])), *values)


def with_stages_of(snapshot: Snapshot, *values: Tensor) -> Snapshot:
    assert snapshot.image_ids is not None
    named = {f"layer{i}": each for i, each in enumerate(values, start=1)}
    return replace(snapshot, stages=StageFeatures(snapshot.image_ids, named))


def test_a_row_holds_the_ranks_of_its_features() -> None:
    snapshot = with_stages(make_snapshot(), count=30)
    drop, table = found_in(snapshot)
    stages = snapshot.known_stages.values
    assert table["layer"].tolist() == ["layer1", "layer2"]
    assert table["depth"].tolist() == [1, 2]
    assert table["channels"].tolist() == [20, 6]
    assert table["samples"].tolist() == [30, 30]
    for name, row in table.set_index("layer").iterrows():
        assert row["rank"] == pytest.approx(effective_rank(stages[str(name)]))
        assert row["pca_95"] == pca_dimension(stages[str(name)])
        assert row["rank_share"] == row["rank"] / row["channels"]
        assert row["pca_95_share"] == row["pca_95"] / row["channels"]
    assert drop == pytest.approx(table["rank"].iloc[1] / table["rank"].iloc[0])
    # The second stage holds 3 directions.
    assert table["rank"].iloc[1] < 3.001
    assert table["pca_95"].iloc[1] <= 3


def test_a_stage_that_enters_the_head_has_the_ranks_of_its_features() -> None:
    snapshot = make_snapshot()
    other = snapshot.features.clone()
    other[0] *= 2
    snapshot = with_stages_of(snapshot, snapshot.features, other)
    snapshot = reorder(snapshot, torch.randperm(len(snapshot), generator=generator(1)))
    observation = Observation(snapshot)
    of_head, table = (
        analyze_layers(observation).scalars,
        analyze_stages(observation).tables["layers"],
    )
    assert table["rank"][0] == of_head["layers/effective_rank"]
    assert table["pca_95"][0] == of_head["layers/pca_95"]
    assert table["rank"][1] == pytest.approx(effective_rank(other))
    assert abs(table["rank"][1] / table["rank"][0] - 1) > 1e-3


def test_a_wider_layer_that_holds_the_same_has_the_same_rank() -> None:
    features = normal(60, 5, seed=1)
    wider = (
        torch.cat([features, torch.zeros(60, 15)], dim=1)
        @ torch.linalg.qr(normal(20, 20, seed=2)).Q
    )
    drop, table = found_in(of_stages(features, wider))
    assert drop == pytest.approx(1)
    assert table["rank_share"].iloc[1] == pytest.approx(table["rank_share"].iloc[0] / 4)


def test_few_images_bound_the_rank() -> None:
    _, table = found_in(of_stages(normal(8, 20, seed=1)))
    assert table["rank"].iloc[0] <= 7
    assert table["rank_share"].iloc[0] == table["rank"].iloc[0] / 8


def test_only_images_of_the_probe_count_whatever_their_order() -> None:
    snapshot = with_stages(make_snapshot(), count=40)
    expected = found_in(snapshot)
    shuffled = reorder(snapshot, torch.randperm(60, generator=generator(1)))
    assert found_in(shuffled)[0] == pytest.approx(expected[0])
    pd.testing.assert_frame_equal(found_in(shuffled)[1], expected[1])
    fewer = found_in(snapshot.take(torch.arange(25)))[1]
    assert fewer["samples"].tolist() == [25, 25]


@pytest.mark.parametrize("value", [0.3, math.nan, math.inf])
def test_a_stage_that_does_not_vary_has_no_rank(value: float) -> None:
    drop, table = found_in(of_stages(normal(30, 4, seed=1), torch.full((30, 4), value)))
    assert math.isnan(drop)
    assert table["rank"].isna().tolist() == [False, True]
    assert table["pca_95_share"].isna().tolist() == [False, True]


def test_one_stage_alone_has_no_drop() -> None:
    drop, table = found_in(of_stages(normal(30, 4, seed=1)))
    assert math.isnan(drop)
    assert table["rank"].notna().all()


def test_without_stages_neither_the_number_nor_the_table_is_there() -> None:
    snapshot = replace(make_snapshot(), embeddings=None)
    found = analyze(snapshot, None)
    assert DROP not in found.scalars
    assert "layers" not in found.tables
    assert DROP in analyze(with_stages(snapshot), None).scalars


def deep_linear(width: int, depth: int) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = [nn.Linear(width, width, bias=False) for _ in range(depth)]
        for layer in layers:
            nn.init.orthogonal_(layer.weight, 0.7)
        return nn.Sequential(*layers)


def outputs(network: nn.Sequential, x: Tensor) -> list[Tensor]:
    found = []
    with torch.no_grad():
        for layer in network:
            x = layer(x)
            found.append(x)
    return found


def test_a_deep_linear_network_loses_rank_with_depth_and_with_training() -> None:
    """Of ten inputs three answers are asked; each layer hands on less of the others."""
    x = normal(120, 10, seed=1).float()
    target = x @ normal(10, 3, seed=2).float() @ normal(3, 10, seed=3).float() / 3
    network = deep_linear(10, 4)
    optimizer = torch.optim.SGD(network.parameters(), 0.03)
    before, _ = found_in(of_stages(*outputs(network, x)))
    assert before == pytest.approx(1, abs=0.01)
    drops = []
    for _ in range(3):
        for _ in range(200):
            optimizer.zero_grad()
            mse_loss(network(x), target).backward()
            optimizer.step()
        drop, table = found_in(of_stages(*outputs(network, x)))
        drops.append(drop)
    assert table["rank"].is_monotonic_decreasing
    assert before > drops[0] > drops[1] > drops[2]
    assert table["rank"].iloc[-1] < 5 < 8 < table["rank"].iloc[0]
