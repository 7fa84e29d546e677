"""Correlation modes: the authors' numbers, planted groups, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sing_monitor.analyses.dynamics import CorrelationModes, correlation_modes
from sing_monitor.analyses.dynamics.agreement import adjusted_rand_index
from sing_monitor.analyses.dynamics.tree import ModeTree

REFERENCE = Path(__file__).parents[2] / "data" / "cmd_reference.npz"
SEEDS = range(5)


@pytest.fixture(scope="module")
def published() -> dict[str, NDArray[Any]]:
    """What the authors' functions give for a network trained on digits."""
    with np.load(REFERENCE) as file:
        return {key.partition("/")[2]: file[key] for key in file.files}


@pytest.fixture(scope="module")
def found(published: dict[str, NDArray[Any]]) -> CorrelationModes:
    return correlation_modes(
        torch.from_numpy(published["trajectories"]),
        torch.from_numpy(published["sample"]),
        int(published["max_modes"]),
    )


def moves(published: dict[str, NDArray[Any]]) -> NDArray[np.bool_]:
    return np.ptp(published["trajectories"], axis=1) > 0


def test_references_and_modes_are_the_published_ones(
    found: CorrelationModes, published: dict[str, NDArray[Any]]
) -> None:
    assert found.reference_index.tolist() == published["reference_index"].tolist()
    moving = moves(published)
    assert found.mode.numpy()[moving].tolist() == published["mode"][moving].tolist()
    assert found.explained == pytest.approx(float(published["explained_variance"]), abs=1e-8)


def test_slopes_and_intercepts_are_the_published_ones(
    found: CorrelationModes, published: dict[str, NDArray[Any]]
) -> None:
    moving = moves(published)
    for name in ("a", "b"):
        # The intercept of a reference is 0, up to rounding.
        np.testing.assert_allclose(
            getattr(found, name).numpy()[moving], published[name][moving], rtol=1e-6, atol=1e-11
        )


def test_constant_weights_belong_to_no_mode_and_keep_their_value(
    found: CorrelationModes, published: dict[str, NDArray[Any]]
) -> None:
    still = ~moves(published)
    assert found.constant == int(still.sum()) == 77
    assert (found.mode.numpy()[still] == -1).all()
    assert (found.a.numpy()[still] == 0).all()
    values = published["trajectories"][still, 0].astype(np.float64)
    np.testing.assert_array_equal(found.b.numpy()[still], values)


def planted(seed: int, groups: int = 4, noise: float = 0.0) -> tuple[NDArray[Any], NDArray[Any]]:
    """Affine images of a few curves, of either sign, and the curve that each is of."""
    rng = np.random.default_rng(seed)
    curves = rng.standard_normal((groups, 30)).cumsum(axis=1)
    group = rng.integers(0, groups, 600)
    slopes = rng.uniform(0.1, 3, 600) * rng.choice([-1, 1], 600)
    values = slopes[:, None] * curves[group] + rng.standard_normal((600, 1))
    return values + noise * rng.standard_normal(values.shape), group


@pytest.mark.parametrize("seed", SEEDS)
def test_planted_modes_are_found(seed: int) -> None:
    values, group = planted(seed)
    found = correlation_modes(values, np.arange(0, 600, 3), max_modes=4)
    assert adjusted_rand_index(found.mode.numpy(), group) == 1
    assert found.explained == pytest.approx(1, abs=1e-9)
    references = values[found.reference_index.numpy()][found.mode.numpy()]
    rebuilt = found.a.numpy()[:, None] * references + found.b.numpy()[:, None]
    np.testing.assert_allclose(rebuilt, values, atol=1e-9)


def test_the_explained_variance_is_that_of_the_rebuilt_trajectories() -> None:
    values, _ = planted(0, noise=2.0)
    found = correlation_modes(values, np.arange(100), max_modes=3)
    references = values[found.reference_index.numpy()][found.mode.numpy()]
    rebuilt = found.a.numpy()[:, None] * references + found.b.numpy()[:, None]
    varying = values - values.mean(axis=1, keepdims=True)
    expected = 1 - ((values - rebuilt) ** 2).sum() / (varying**2).sum()
    assert 0.3 < expected < 0.98
    assert found.explained == pytest.approx(expected, rel=1e-9)


def test_scale_sign_and_offset_of_a_weight_change_no_mode() -> None:
    values, _ = planted(1, noise=0.5)
    sample = np.arange(200)
    found = correlation_modes(values, sample, 4)
    factors = np.random.default_rng(2).choice([-4.0, 0.25, 8.0], (600, 1))
    other = correlation_modes(factors * values + 3, sample, 4)
    assert other.mode.tolist() == found.mode.tolist()
    assert other.reference_index.tolist() == found.reference_index.tolist()


def test_a_cluster_of_constant_weights_is_no_mode() -> None:
    curves = np.random.default_rng(0).standard_normal((2, 9))
    values = np.concatenate([curves, 2 * curves, np.full((5, 9), 0.1)])
    found = correlation_modes(values, np.arange(9), max_modes=3)
    assert sorted(found.reference_index.tolist()) == [0, 1]
    assert found.mode.tolist()[4:] == [-1] * 5
    assert found.explained == pytest.approx(1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_of_two_weights_alone_in_a_cluster_the_first_is_the_reference(dtype: Any) -> None:
    pairs = np.random.default_rng(0).standard_normal((40, 2, 9)).astype(dtype)
    trees = [ModeTree.grow(pair.T, np.arange(2)) for pair in pairs]
    assert [tree.references(1).tolist() for tree in trees] == [[0]] * 40


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_tensors_with_gradients_and_of_any_precision_are_read(dtype: torch.dtype) -> None:
    values = torch.from_numpy(VALUES).to(dtype)
    expected = correlation_modes(values.double().numpy(), SAMPLE, 2)
    found = correlation_modes(values.requires_grad_(), SAMPLE, 2)
    assert torch.equal(found.mode, expected.mode)
    assert found.explained == expected.explained


VALUES, SAMPLE = np.random.default_rng(0).standard_normal((6, 5)), np.arange(4)


@pytest.mark.parametrize(
    ("values", "sample", "max_modes", "said"),
    [
        (VALUES[0], SAMPLE, 2, r"\(N, T\) floating point; got \(5,\)"),
        (VALUES.astype(np.int64), SAMPLE, 2, "floating point; got .* int64"),
        (VALUES[:, :2], SAMPLE, 2, "at least 3 validations.*got 2"),
        (np.where(VALUES > 1, np.nan, VALUES), SAMPLE, 2, "NaN or infinite"),
        (VALUES, SAMPLE[:1], 2, "at least two weights"),
        (VALUES, SAMPLE.astype(np.int32), 2, "int64; got .* int32"),
        (VALUES, SAMPLE + 3, 2, "rows from 0 to 5.*got 3 to 6"),
        (VALUES, SAMPLE - 1, 2, "rows from 0 to 5.*got -1 to 2"),
        (VALUES, SAMPLE // 2, 2, "names 2 rows twice"),
        (VALUES, SAMPLE, 0, "max_modes must be an integer of at least 1; got 0"),
        (VALUES, SAMPLE, 2.0, "max_modes must be an integer"),
        (np.ones((6, 5)), SAMPLE, 2, "none of the 4 weights of the sample moves"),
    ],
)
def test_wrong_arguments_are_refused(values: Any, sample: Any, max_modes: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        correlation_modes(values, sample, max_modes)
