from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from scipy.stats import ks_2samp
from torch import Tensor

from sing_monitor.scores.angles import image_score
from sing_monitor.space.fingerprints import fingerprint
from sing_monitor.translate.random_subspaces import (
    RANDOM_DRAWS,
    RandomRemoval,
    chosen_draw,
    remove_at_random,
)
from tests.helpers import generator, normal

SEEDS = 30


def removed(deviations: Tensor, rank: int, seed: int = 0) -> tuple[RandomRemoval, Tensor]:
    """What is left of deviations d, P d, with every draw in turn."""
    center = normal(deviations.shape[1], seed=9)
    features, draws = center + deviations, torch.arange(len(deviations)) % RANDOM_DRAWS
    removal = remove_at_random(features, center, rank, draws, seed=seed)
    return removal, removal.equivalents(features, center) - center


def haar_projections(feature_dim: int, rank: int) -> Iterator[Tensor]:
    """Projections on uniformly random subspaces, as one draws them by the book."""
    g = generator(7)
    for _ in range(RANDOM_DRAWS * SEEDS):
        basis = torch.linalg.qr(torch.randn(feature_dim, rank, generator=g, dtype=torch.float64)).Q
        yield basis @ basis.T


@pytest.mark.parametrize(
    ("feature_dim", "rank"), [(1, 0), (1, 1), (2, 1), (7, 0), (7, 1), (7, 3), (7, 7), (300, 20)]
)
def test_what_is_left_is_a_projection(feature_dim: int, rank: int) -> None:
    state = torch.get_rng_state()
    deviations = 1 + normal(3000, feature_dim, seed=1)
    removal, left = removed(deviations, rank)
    assert torch.equal(torch.get_rng_state(), state)
    squared = removal.shares * deviations.square().sum(dim=1)
    torch.testing.assert_close(left.square().sum(dim=1), squared, rtol=1e-8, atol=1e-9)
    torch.testing.assert_close((left * deviations).sum(dim=1), squared, rtol=1e-8, atol=1e-9)
    gone = deviations - left
    assert removal.energy == pytest.approx(float(gone.square().sum()), rel=1e-10, abs=1e-12)
    if rank == 0:
        assert left.abs().max() == 0
    if rank == feature_dim:
        assert torch.equal(removal.keep, torch.ones(3000).double())
        assert torch.equal(removal.add, torch.zeros(3000).double())


@pytest.mark.parametrize(("feature_dim", "rank"), [(2, 1), (6, 1), (6, 4), (40, 10)])
def test_it_is_left_as_by_subspaces_drawn_by_the_book(feature_dim: int, rank: int) -> None:
    """All that can differ in law: the length, and the part along directions at any angle to d."""
    feature = normal(feature_dim, seed=2)
    copies = feature.expand(RANDOM_DRAWS, -1)
    found = torch.cat([removed(copies, rank, seed)[1] for seed in range(SEEDS)])
    expected = torch.stack([each @ feature for each in haar_projections(feature_dim, rank)])
    across = torch.linalg.qr(torch.stack([feature, normal(feature_dim, seed=3)], dim=1)).Q[:, 1]
    for direction in (feature, across, feature + across, torch.eye(feature_dim).double()[0]):
        assert ks_2samp(found @ direction, expected @ direction).pvalue > 1e-3
    assert ks_2samp(found.norm(dim=1), expected.norm(dim=1)).pvalue > 1e-3


def test_scores_are_those_of_subspaces_drawn_by_the_book() -> None:
    deviations, weight = normal(RANDOM_DRAWS * 4, 12, seed=4), normal(5, 12, seed=5)
    base = normal(5, seed=6)

    def scores(left: Tensor) -> Tensor:
        return image_score(base + deviations @ weight.T, base + left @ weight.T)

    ours = torch.cat([scores(removed(deviations, 4, seed)[1]) for seed in range(SEEDS)])
    projections = haar_projections(12, 4)
    theirs = torch.cat([scores(deviations @ next(projections)) for _ in range(800)])
    assert float(ours.mean()) == pytest.approx(float(theirs.mean()), rel=0.01)
    assert float(ours.std()) == pytest.approx(float(theirs.std()), rel=0.02)


@pytest.mark.parametrize("rank", [1, 10, 64, 127])
def test_shares_are_spread_over_their_law(rank: int) -> None:
    removal, _ = removed(normal(RANDOM_DRAWS, 128, seed=0), rank)
    # As many independent ones would miss the mean by 0.07 (rank 1) to 0.0004 of it (rank 127).
    spread = (rank * (128 - rank) / (128**2 * 65)) ** 0.5
    assert abs(float(removal.shares.mean()) - rank / 128) < 0.02 * spread
    assert float(removal.shares.std()) == pytest.approx(spread, rel=0.05)


def test_draws_follow_the_seed_and_an_image_its_draw() -> None:
    features, center = normal(50, 6, seed=0), normal(6, seed=1)
    draws = torch.randint(RANDOM_DRAWS, (50,), generator=generator(2))

    def equivalents(order: Tensor, seed: int = 0) -> Tensor:
        some = features[order]
        return remove_at_random(some, center, 2, draws[order], seed=seed).equivalents(some, center)

    order = torch.randperm(50, generator=generator(3))
    expected = equivalents(torch.arange(50))
    assert torch.equal(equivalents(order), expected[order])
    assert torch.equal(equivalents(order[:5]), expected[order[:5]])
    assert (equivalents(torch.arange(50), seed=1) - expected).norm(dim=1).min() > 0.01
    removal = remove_at_random(features, center, 2, draws)
    assert torch.equal(removal.equivalents(features, center, order), expected[order])


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_what_is_as_the_mean_is_left_there(rank: int) -> None:
    center = torch.tensor([1e3, -2.0, 3.0])[: max(rank, 1)].double()
    features = center.expand(4, -1)
    removal = remove_at_random(features, center, rank, torch.arange(4))
    assert torch.equal(removal.equivalents(features, center), features)
    assert removal.energy == 0


def test_single_precision_is_as_good_as_its_features() -> None:
    features = 100 + normal(300, 40, seed=0).float()
    center, draws = features.double().mean(dim=0), torch.arange(300) % RANDOM_DRAWS
    narrow, wide = (
        remove_at_random(each, center, 9, draws).equivalents(each, center)
        for each in (features, features.double())
    )
    torch.testing.assert_close(narrow, wide, rtol=0, atol=4 * 100 * 2**-24)


def test_images_are_shared_out_evenly_whatever_their_fold() -> None:
    pixels = torch.randint(0, 256, (51_200, 1, 4, 4), generator=generator(0), dtype=torch.uint8)
    ids = fingerprint(pixels)
    for fold in (0, 1):
        counts = chosen_draw(ids[ids & 1 == fold]).bincount(minlength=RANDOM_DRAWS)
        # 100 each, with a standard deviation of 10.
        assert len(counts) == RANDOM_DRAWS
        assert (counts - 100).abs().max() < 50
    assert [chosen_draw(each) for each in ids[:50].tolist()] == chosen_draw(ids[:50]).tolist()
