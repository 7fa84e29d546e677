"""The analysis of a window of trajectories: scalars, tables, and what is undefined."""

from __future__ import annotations

import math
from io import BytesIO
from typing import Any

import numpy as np
import pytest
import torch

from sing_monitor.analyses import CATALOGUE, analyze, catalogue_of
from sing_monitor.analyses.dynamics import correlation_modes
from sing_monitor.analyses.dynamics.analysis import ANALYSIS, analyze_dynamics
from sing_monitor.analyses.dynamics.specs import CLUSTERED
from sing_monitor.analyses.dynamics.stability import stability
from sing_monitor.findings import Findings, check_tables
from sing_monitor.untrusted.tables import check_columns, read_table
from sing_monitor.weights.trajectory import Trajectory
from tests.helpers import make_snapshot, observe

LAYERS = ("stem", "body", "fc")
KEYS = {spec.key for spec in ANALYSIS.metrics}


def trajectory(values: Any, columns: int | None = None) -> Trajectory:
    """A third of the weights in each layer; the last layer is the head."""
    values = torch.as_tensor(values)[:, :columns]
    layer = torch.arange(len(values)) * 3 // len(values)
    epochs = torch.arange(values.shape[1]) + 5
    return Trajectory(epochs, values.float(), LAYERS, layer, layer == 2)


def found_in(values: Any, columns: int | None = None) -> Findings:
    return analyze_dynamics(observe(make_snapshot(), trajectory=trajectory(values, columns)))


def walks(seed: int, count: int = 600, columns: int = 20) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).standard_normal((count, columns)).cumsum(axis=1)


def planted(seed: int, count: int = 600) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    rng = np.random.default_rng(seed)
    group = rng.integers(0, 4, count)
    slopes = rng.uniform(0.5, 2, (count, 1))
    return slopes * rng.standard_normal((4, 20)).cumsum(axis=1)[group], group


@pytest.mark.parametrize("seed", range(5))
def test_random_walks_have_no_excess(seed: int) -> None:
    scalars = found_in(walks(seed)).scalars
    assert scalars["dynamics/explained"] > 0.65
    for name in ("explained_excess", "increments_excess", "head_excess"):
        assert abs(scalars[f"dynamics/{name}"]) < 0.05, name
    assert scalars["dynamics/explained_excess"] == pytest.approx(
        scalars["dynamics/explained"] - scalars["dynamics/explained_surrogate"]
    )


@pytest.mark.parametrize("seed", range(5))
def test_planted_modes_are_found_and_suffice(seed: int) -> None:
    values, group = planted(seed)
    found = found_in(values)
    scalars = found.scalars
    assert scalars["dynamics/explained"] == pytest.approx(1, abs=1e-5)
    assert scalars["dynamics/explained_excess"] > 0.15
    assert scalars["dynamics/increments_excess"] > 0.3
    assert scalars["dynamics/head_excess"] > 0.15
    assert 1 <= scalars["dynamics/modes_95"] <= 4
    assert scalars["dynamics/weights"] == 600
    assert scalars["dynamics/window"] == 20
    sizes = found.tables["modes"].groupby("mode")["size"].first()
    # Modes that are asked for beyond the planted ones divide equals by their rounding.
    assert sizes.sum() == 600
    assert scalars["dynamics/largest_mode"] == sizes.max() / 600
    assert sizes.max() <= np.bincount(group).max()


def test_the_explained_variance_is_that_of_the_published_algorithm() -> None:
    values = np.float32(walks(0) + 3 * planted(1)[0])
    scalars = found_in(values).scalars
    sample = trajectory(values).sample(CLUSTERED)
    expected = correlation_modes(values, sample)
    assert scalars["dynamics/explained"] == pytest.approx(expected.explained, abs=1e-4)


def test_before_eight_validations_nothing_is_known_but_what_moves() -> None:
    found = found_in(walks(0), columns=7)
    known = {key for key, value in found.scalars.items() if math.isfinite(value)}
    assert found.scalars.keys() == KEYS
    assert known == {"dynamics/window", "dynamics/weights", "dynamics/constant"}
    assert not found.tables
    assert not found.kept
    later = found_in(walks(0), columns=8)
    unknown = {key for key, value in later.scalars.items() if math.isnan(value)}
    assert unknown == {"dynamics/stability"}


def test_stability_compares_with_the_window_before_whatever_was_analyzed_last() -> None:
    values = np.float32(walks(0) + 3 * planted(1)[0])
    before, now = trajectory(values[:, 5:15]), trajectory(values[:, 6:16])
    found = found_in(values, columns=16)
    assert found.scalars["dynamics/stability"] == stability(before, now)
    assert not found.kept


def test_older_validations_than_twenty_do_not_count() -> None:
    values = np.concatenate([1000 * walks(3), walks(4)], axis=1)
    assert found_in(values).scalars == pytest.approx(found_in(values[:, 20:]).scalars, nan_ok=True)


def test_weights_that_stand_still_are_counted_apart() -> None:
    values = walks(0)
    values[:200] = 1.5  # the whole stem
    values[300] = math.nan
    found = found_in(values)
    assert found.scalars["dynamics/weights"] == 399
    assert found.scalars["dynamics/constant"] == pytest.approx(201 / 600)
    modes = found.tables["modes"]
    still = modes[modes["mode"] == -1]
    assert still["layer"].tolist() == ["stem", "body"]
    assert still["weights"].tolist() == [200, 1]
    assert still["share"].tolist() == [1.0, 1 / 200]


def test_a_head_that_stands_still_has_no_excess() -> None:
    values = walks(0)
    values[400:] = 0.5
    scalars = found_in(values).scalars
    assert math.isnan(scalars["dynamics/head_excess"])
    assert math.isfinite(scalars["dynamics/explained_excess"])


@pytest.mark.parametrize("count", [0, 1])
def test_of_no_weight_and_of_one_nothing_is_known(count: int) -> None:
    scalars = found_in(walks(0)[:count]).scalars
    assert math.isnan(scalars["dynamics/explained"])
    still = found_in(np.ones((40, 20))).scalars
    assert math.isnan(still["dynamics/explained"])
    assert still["dynamics/constant"] == 1


def test_tables_are_as_their_specs_say() -> None:
    found = found_in(planted(0)[0])
    check_tables(found.tables, ANALYSIS.tables)
    modes, curves, weights = (found.tables[spec.name] for spec in ANALYSIS.tables)
    assert modes.groupby("layer")["share"].sum().to_dict() == pytest.approx(
        dict.fromkeys(LAYERS, 1)
    )
    assert (modes.groupby("mode")["weights"].sum() == modes.groupby("mode")["size"].first()).all()
    assert [LAYERS[depth] for depth in modes["depth"]] == modes["layer"].tolist()
    by_mode = curves.groupby("mode")["value"]
    np.testing.assert_allclose(by_mode.mean(), 0, atol=1e-9)
    np.testing.assert_allclose(by_mode.std(ddof=0), 1, atol=1e-9)
    assert curves[curves["mode"] == 0]["epoch"].tolist() == list(range(5, 25))
    assert len(weights) == 400
    assert weights["mode"].is_monotonic_increasing
    stacked = np.stack(weights["curve"])
    assert stacked.shape == (400, 20)
    references = curves.pivot(index="mode", columns="validation", values="value").to_numpy()
    told = (stacked * references[weights["mode"]]).mean(axis=1)
    np.testing.assert_allclose(told, weights["correlation"], atol=1e-5)


def test_tables_are_read_back_as_they_were_written() -> None:
    for name, table in found_in(planted(0)[0]).tables.items():
        file = BytesIO()
        table.to_parquet(file)
        read = read_table(file.getvalue())
        check_columns(read, list(table.columns))
        assert read.drop(columns="curve", errors="ignore").equals(
            table.drop(columns="curve", errors="ignore")
        ), name


def test_it_is_left_out_where_no_weights_are_followed() -> None:
    snapshot = make_snapshot()
    with_weights = analyze(snapshot, None, trajectory=trajectory(walks(0, 60)), ridge=0.1)
    without = analyze(snapshot, None, ridge=0.1)
    assert with_weights.scalars.keys() - without.scalars.keys() == KEYS
    logged = {spec.key for spec in catalogue_of({"labels", "embeddings", "maps", "stages"})}
    assert {spec.key for spec in CATALOGUE} - logged == KEYS
    with pytest.raises(ValueError, match="this observation has none"):
        analyze_dynamics(observe(snapshot))
