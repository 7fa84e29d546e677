"""R2 along the ridge and with half of the images, and a kept ridge that costs too much."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from sing_monitor.translate import cross_fit as cross_fit_module
from sing_monitor.translate import ridge_curve
from sing_monitor.translate.cross_fit import CrossFit, cross_fit
from sing_monitor.translate.ridge import RidgeStatistics, halved_statistics_of
from sing_monitor.translate.ridge_curve import RHOS, KeptRidge, RidgeCurve, r2_error
from sing_monitor.translate.ridge_search import RIDGE_GRID, choose_ridge
from tests.helpers import generator, normal

close = torch.testing.assert_close


def world(
    samples: int = 240, m: int = 30, n: int = 6, noise: float = 6.0, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """Features of unequal scale, embeddings that are a noisy map of them, and folds."""
    x = normal(samples, m, seed=seed) * torch.logspace(1, -1, m) + 2
    z = x @ normal(m, n, seed=seed + 1) + noise * normal(samples, n, seed=seed + 2) + 1
    return x, z, torch.arange(samples) % 2


def along(world: Sequence[Tensor], ridge: float | str) -> tuple[CrossFit, RidgeCurve]:
    fit = cross_fit(*world, ridge, ids=torch.arange(len(world[0])))
    assert fit.curve is not None
    return fit, fit.curve


def gain(curve: RidgeCurve, rho: float) -> float:
    return float(np.interp(math.log10(rho), RHOS.log10().numpy(), curve.gains.numpy()))


def explicit_r2(world: Sequence[Tensor], rho: float) -> float:
    x, z, folds = world
    error = total = 0.0
    for k in (0, 1):
        own, other = folds == k, (folds != k).nonzero().flatten()
        fit = RidgeStatistics.of(x, z, other).solve(rho).translator
        error += float((z[own] - fit(x[own])).square().sum())
        total += float((z[own] - z[other].mean(dim=0)).square().sum())
    return 1 - error / total


# Primal and dual form.
@pytest.mark.parametrize("m", [30, 300])
@pytest.mark.parametrize("rho", [1e-5, 1e-2, 1.0])
def test_r2_along_the_ridge_is_that_of_explicit_fits(m: int, rho: float) -> None:
    given = world(m=m)
    _, curve = along(given, rho)
    at = explicit_r2(given, rho)
    for decades, tolerance in ((-2, 0.02), (-0.5, 1e-4), (0, 1e-6), (0.5, 1e-4), (2, 0.02)):
        expected = explicit_r2(given, rho * 10**decades) - at
        if RHOS[0] <= rho * 10**decades <= RHOS[-1]:
            assert gain(curve, rho * 10**decades) == pytest.approx(expected, abs=tolerance)


def test_of_many_images_one_translator_tells_the_curve(monkeypatch: pytest.MonkeyPatch) -> None:
    given = world(samples=3000)
    for ridge in (1e-5, 0.1):
        monkeypatch.setattr(cross_fit_module, "_BOTH_FOLDS", 4000)
        _, both = along(given, ridge)
        monkeypatch.setattr(cross_fit_module, "_BOTH_FOLDS", 0)
        _, one = along(given, ridge)
        assert not torch.equal(one.gains, both.gains)
        # By a fraction of the standard error, and of a decade.
        assert float(one.gains.max() - both.gains.max()) == pytest.approx(0, abs=0.4 * both.error)
        for end, expected in zip(one.ends, both.ends, strict=True):
            assert math.log10(end) == pytest.approx(math.log10(expected), abs=0.1)


def test_the_best_is_seen_from_afar() -> None:
    """Far below every eigenvalue R2 is flat, and tells nothing of the better rho beyond."""
    given = world()
    best = along(given, "auto")[0].ridge
    _, curve = along(given, 1e-6)
    assert abs(gain(curve, 1e-5)) < 1e-3
    expected = explicit_r2(given, best) - explicit_r2(given, 1e-6)
    assert expected > 0.01
    assert float(curve.gains.max()) == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("m", [30, 300])
def test_of_many_dimensions_random_combinations_stand_for_all(
    m: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, found = world(m=m, n=100), []
    for seed in range(40):
        monkeypatch.setattr(ridge_curve, "_SEED", seed)
        found.append(gain(along(given, 1e-3)[1], 0.01))
    expected = explicit_r2(given, 0.01) - explicit_r2(given, 1e-3)
    values = torch.tensor(found)
    assert values.std() < 0.25 * abs(expected)
    # Without bias: four standard errors of the mean.
    assert abs(values.mean() - expected) < 4 * values.std() / 40**0.5


@pytest.mark.parametrize("m", [30, 300])
def test_steps_along_the_derivative_are_decades_of_rho_nearby_and_fewer_beyond(m: int) -> None:
    _, curve = along(world(m=m), 0.1)
    places = (RHOS.log10() + 1).mul(100).round().int().tolist()
    steps = dict(zip(places, curve.steps.tolist(), strict=True))
    assert steps[10] == pytest.approx(0.1, rel=0.05)
    assert steps[-10] == pytest.approx(-0.1, rel=0.05)
    # Far below every eigenvalue translations move no more, though log rho does.
    assert steps[-400] == pytest.approx(steps[-300], rel=0.05)


@pytest.mark.parametrize("m", [30, 300])
@pytest.mark.parametrize(("n", "tolerance"), [(6, 1e-9), (300, 0.02)])
def test_what_half_of_the_images_lose_is_that_of_an_explicit_fit(
    m: int, n: int, tolerance: float
) -> None:
    x, z, folds = world(m=m, n=n)
    fit, _ = along((x, z, folds), 0.01)
    own, other = folds == 0, (folds == 1).nonzero().flatten()
    _, half = halved_statistics_of(x, z, other, torch.arange(len(x)))
    assert half.n == 60
    errors = [
        float((z[own] - each.solve(0.01).translator(x[own])).square().sum())
        for each in (half, RidgeStatistics.of(x, z, other))
    ]
    total = float((z[own] - half.mean_z).square().sum())
    assert errors[0] > errors[1]
    assert fit.lost_by_half == pytest.approx((errors[0] - errors[1]) / total, abs=tolerance)


@pytest.mark.parametrize("samples", [1, 2, 3, 40, 41])
@pytest.mark.parametrize("m", [7, 90])
def test_the_half_is_half_of_the_samples_and_both_halves_are_the_whole(
    samples: int, m: int
) -> None:
    x, z, _ = world(samples=60, m=m)
    # Further dimensions tell which images are in a half.
    z = torch.cat([z, torch.eye(60, dtype=torch.float64)], dim=1)
    rows = torch.arange(60)[60 - samples :]
    whole, half = halved_statistics_of(x, z, rows, torch.arange(60))
    form = type(whole)
    expected = form.of(x, z, rows)
    assert (whole.n, half.n) == (samples, math.ceil(samples / 2))
    for rho in (1e-4, 1.0):
        close(whole.solve(rho).translator(x), expected.solve(rho).translator(x))
    assert whole.zz == pytest.approx(expected.zz)
    assert whole.varying == pytest.approx(expected.varying)
    members = (half.mean_z[-60:] > 1e-9).nonzero().flatten()
    assert len(members) == half.n
    alone = form.of(x, z, members)
    close(half.solve(0.1).translator(x), alone.solve(0.1).translator(x))
    assert half.zz == pytest.approx(alone.zz, abs=1e-9)


@pytest.mark.parametrize("scale", [1, 2, -(2**40) + 1])
def test_the_half_hangs_on_the_ids_of_the_images_alone(scale: int) -> None:
    labels = torch.arange(400) % 10
    x = torch.nn.functional.one_hot(labels).double()
    ids, order = scale * torch.arange(400), torch.randperm(400, generator=generator(1))
    _, half = halved_statistics_of(x, x, torch.arange(400), ids)
    _, again = halved_statistics_of(x[order], x[order], torch.arange(400), ids[order])
    assert torch.equal(half.mean_x, again.mean_x)
    # By a hash, so classes in rotation are in either half alike.
    assert (half.mean_x > 0.05).all()


@pytest.mark.parametrize("copies", [1, 5])
def test_the_standard_error_is_the_spread_of_r2_over_probes(copies: int) -> None:
    """600 new probes of 300 images, one translator; with copies, five images an object."""
    x, z, _ = world(samples=200)
    translator = RidgeStatistics.of(x, z).solve(1e-2).translator
    g = torch.Generator().manual_seed(5)
    weight = normal(30, 6, seed=1)
    values, errors, single = [], [], []
    ids = torch.arange(300) // copies
    for _ in range(600):
        new = torch.randn(300, 30, generator=g, dtype=torch.float64) * torch.logspace(1, -1, 30) + 2
        # Some images are much noisier than others.
        scale = 3 + 6 * torch.rand(300, 1, generator=g, dtype=torch.float64)
        true = new @ weight + scale * torch.randn(300, 6, generator=g, dtype=torch.float64) + 1
        new, true = (each[::copies].repeat_interleave(copies, dim=0) for each in (new, true))
        e = (true - translator(new)).square().sum(dim=1)
        t = (true - z.mean(dim=0)).square().sum(dim=1)
        values.append(float(1 - e.sum() / t.sum()))
        errors.append(r2_error(e, t, ids, 300))
        single.append(r2_error(e, t, torch.arange(300), 300))
    spread = float(torch.tensor(values).std())
    assert sum(errors) / len(errors) == pytest.approx(spread, rel=0.1)
    assert sum(single) / len(single) == pytest.approx(spread / copies**0.5, rel=0.1)
    assert math.isnan(r2_error(torch.ones(2), torch.ones(2), torch.zeros(2), 2))


def test_the_error_of_a_cross_fit_goes_by_group() -> None:
    """Embeddings that know nothing, of objects with ten like images: the error of 200 objects."""
    x, z = normal(200, 5, seed=3), normal(200, 4, seed=4)
    groups = torch.arange(200).repeat_interleave(10)
    x, z = x[groups] + 1e-3 * normal(2000, 5, seed=5), z[groups]
    by_group, by_image = (
        cross_fit(x, z, groups % 2, 1e-2, ids=ids).curve for ids in (groups, torch.arange(2000))
    )
    assert by_group is not None
    assert by_image is not None
    # All images by group, 256 of them by image.
    assert by_group.error == pytest.approx(10**0.5 * by_image.error, rel=0.25)


def test_large_groups_are_sampled_whole() -> None:
    x, z = normal(4000, 5, seed=3), normal(4000, 4, seed=4)
    groups = torch.arange(20).repeat_interleave(200)
    error = cross_fit(x, z, groups % 2, 1e-2, ids=groups).curve
    assert error is not None
    assert 0 < error.error < 0.05


@pytest.mark.parametrize("m", [30, 300])
@pytest.mark.parametrize("seed", range(3))
def test_a_kept_ridge_is_chosen_anew_where_it_costs_more_than_one_standard_error(
    m: int, seed: int
) -> None:
    given = world(m=m, seed=10 * seed)
    best = along(given, "auto")[0].ridge
    at_best = explicit_r2(given, best)
    decided = set()
    for decades in (-4.0, -1.5, -0.8, -0.2, 0.2, 0.8, 1.5):
        rho = best * 10**decades
        error = along(given, rho)[1].error
        cost = at_best - explicit_r2(given, rho)
        # What is close to one standard error may be decided either way.
        if not 0.9 < cost / error < 1.1:
            kept = along(given, KeptRidge(rho))[0].ridge
            assert kept == pytest.approx(best if cost > error else rho, rel=1e-9)
            decided.add(cost > error)
    assert decided == {False, True}


def test_a_ridge_of_the_user_is_never_changed() -> None:
    assert along(world(), 10.0)[0].ridge == 10
    assert along(world(), KeptRidge(10.0))[0].ridge < 1


@pytest.mark.parametrize("noise", [0.0, 1e4])
def test_a_ridge_kept_at_the_edge_of_the_grid_stays_there(noise: float) -> None:
    x, z, folds = world(noise=noise)
    edge = choose_ridge([RidgeStatistics.of(x[k::2], z[k::2]) for k in (0, 1)])[0]
    assert edge in (RIDGE_GRID[0], RIDGE_GRID[-1])
    fit, curve = along((x, z, folds), KeptRidge(edge))
    assert fit.ridge == edge
    assert pytest.approx(edge) in curve.ends


def test_the_ends_are_where_r2_is_one_standard_error_below_its_best() -> None:
    decades = RHOS.log10() + 2
    low, high = RidgeCurve(0.01, -0.04 * decades**2, 0.01, decades).ends
    assert (math.log10(low), math.log10(high)) == pytest.approx((-2.5, -1.5), abs=0.02)
    # The same from a rho that is a decade too small.
    curve = RidgeCurve(0.001, 0.04 - 0.04 * decades**2, 0.01, decades + 1)
    assert curve.ends == (low, high)
    assert curve.steps_to_ends == pytest.approx((0.5, 1.5), abs=0.02)
    assert curve.is_too_costly
    assert not replace(curve, error=0.05).is_too_costly


@pytest.mark.parametrize("m", [30, 300])
def test_what_does_not_vary_has_no_curve(m: int) -> None:
    x, z, folds = world(m=m)
    for features, embeddings in ((x[:1].expand_as(x), z), (x, z[:1].expand_as(z))):
        nothing = cross_fit(features, embeddings, folds, KeptRidge(0.1), ids=torch.arange(len(x)))
        assert nothing.translators is None
        assert nothing.curve is None
        assert math.isnan(nothing.lost_by_half)


@pytest.mark.parametrize(("samples", "known"), [(4, False), (6, True)])
def test_a_fold_of_fewer_than_three_images_has_no_half(samples: int, known: bool) -> None:
    fit, _ = along(world(samples=samples, m=3), 0.1)
    assert math.isfinite(fit.lost_by_half) == known


@pytest.mark.parametrize("samples", [120, 900])
def test_more_images_saturate(samples: int) -> None:
    given = world(samples=samples, noise=20)
    fit, _ = along(given, "auto")
    saturation = 1 - fit.lost_by_half / explicit_r2(given, fit.ridge)
    assert (0.9 < saturation < 1.02) == (samples == 900)
