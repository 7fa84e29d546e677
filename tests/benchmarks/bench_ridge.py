"""How the ridge is chosen and kept, on planted features: prints figures, each with its seeds.

Two like runs are the same features with other noise in the embeddings: by how much do their ridges
differ, from the grid alone and with the parabola? A training is thirty epochs in which the features
drift a little: how often is a kept ridge chosen anew, if it may cost one standard error of R2, and
if it may cost one standard error of the difference of two R2 of the same images?
"""

from __future__ import annotations

import math
import statistics

import torch
from torch import Tensor

from sing_monitor.translate.cross_fit import CrossFit, cross_fit
from sing_monitor.translate.ridge import statistics_of
from sing_monitor.translate.ridge_curve import KeptRidge, r2_error
from sing_monitor.translate.ridge_search import RIDGE_GRID, choose_ridge
from tests.benchmarks.machine import describe

PAIRS, EPOCHS, RUNS = 40, 30, 6


def world(seed: int, samples: int = 600, m: int = 64, n: int = 20) -> tuple[Tensor, ...]:
    """Features with variances that fall as 1/k, an exact embedding of them, and folds."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(samples, m, generator=g).double() / torch.arange(1, m + 1).sqrt()
    return x, x @ torch.randn(m, n, generator=g).double(), torch.arange(samples) % 2


def noisy(z: Tensor, seed: int) -> Tensor:
    """Embeddings with as much noise as signal."""
    noise = torch.randn(z.shape, generator=torch.Generator().manual_seed(seed)).double()
    return z + z.std() * noise


def of_the_grid(rho: float) -> float:
    """The nearest candidate."""
    return min(RIDGE_GRID, key=lambda each: abs(math.log10(each / rho)))


def like_runs() -> None:
    """Decades between the ridges of two like runs."""
    by_grid, by_parabola = [], []
    for seed in range(PAIRS):
        x, z, folds = world(seed)
        rhos = []
        for other in (1000 + seed, 2000 + seed):
            halves = [
                statistics_of(x, noisy(z, other), folds.eq(k).nonzero()[:, 0]) for k in (0, 1)
            ]
            rhos.append(choose_ridge(halves)[0])
        by_parabola.append(abs(math.log10(rhos[1] / rhos[0])))
        by_grid.append(abs(math.log10(of_the_grid(rhos[1]) / of_the_grid(rhos[0]))))
    for name, found in (("nearest of the grid", by_grid), ("parabola", by_parabola)):
        print(
            f"decades between {PAIRS} pairs of like runs, {name}: "
            f"mean {statistics.mean(found):.3f}, largest {max(found):.2f}"
        )


def errors(fit: CrossFit, x: Tensor, z: Tensor) -> Tensor:
    """``|z - T f|^2`` of every image."""
    return (z - fit.original(x, x.mean(dim=0))).square().sum(dim=1)


def kept_ridges() -> None:
    """Changes of the ridge in a training, and what a kept one costs in the mean."""
    changes: dict[str, list[int]] = {"R2": [], "the difference": []}
    paired, single = [], []
    for run in range(RUNS):
        x0, z0, folds = world(100 + run)
        z = noisy(z0, 3000 + run)
        g = torch.Generator().manual_seed(4000 + run)
        x, kept = x0, {}
        for name in changes:
            kept[name], count = cross_fit(x0, z, folds, "auto").ridge, 0
            changes[name].append(count)
        for _ in range(EPOCHS):
            x = x + 0.05 * x0.std(dim=0) * torch.randn(x.shape, generator=g).double()
            fit = cross_fit(x, z, folds, KeptRidge(kept["R2"]), ids=torch.arange(len(x)))
            changes["R2"][-1] += fit.ridge != kept["R2"]
            kept["R2"] = fit.ridge
            best = cross_fit(x, z, folds, "auto")
            held = cross_fit(x, z, folds, kept["the difference"])
            e, better = errors(held, x, z), errors(best, x, z)
            error = float((e - better).std()) * math.sqrt(len(x)) / best.total
            paired.append(error)
            deviation = (z - z.mean(dim=0)).square().sum(dim=1)
            single.append(r2_error(better, deviation, torch.arange(len(x)), len(x)))
            if float((e - better).sum()) / best.total > error:
                kept["the difference"] = best.ridge
                changes["the difference"][-1] += 1
    for name, counts in changes.items():
        print(f"changes in {EPOCHS} epochs, one standard error of {name}: {counts}")
    print(
        f"standard error of R2 {statistics.mean(single):.4f}, of the difference "
        f"{statistics.mean(paired):.5f} (means)"
    )


if __name__ == "__main__":
    print(describe())
    like_runs()
    kept_ridges()
