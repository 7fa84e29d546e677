from __future__ import annotations

import pytest
import torch

from sing_monitor.fingerprints import fingerprint
from sing_monitor.random_subspaces import RANDOM_DRAWS, chosen_draw, random_geometries


@pytest.mark.parametrize("rank", [0, 1, 3, 7])
def test_random_geometries_have_the_rank_and_are_orthonormal(rank: int) -> None:
    state = torch.get_rng_state()
    heads = random_geometries(7, rank, draws=3, seed=5)
    again = random_geometries(7, rank, draws=3, seed=5)
    assert torch.equal(torch.get_rng_state(), state)
    assert len(heads) == 3
    for head, same in zip(heads, again, strict=True):
        assert (head.rank, head.null_dim, head.feature_dim) == (rank, 7 - rank, 7)
        torch.testing.assert_close(head.row_basis.T @ head.row_basis, torch.eye(rank).double())
        assert torch.equal(head.row_basis, same.row_basis)


def test_random_geometries_look_everywhere_and_follow_the_seed() -> None:
    first, second = random_geometries(6, 2, draws=2, seed=0)
    assert first.drift_from(second) > 0.01
    assert first.drift_from(random_geometries(6, 2, draws=1, seed=1)[0]) > 0.01
    # Of a uniformly random subspace of dimension r every direction has energy r / m on average.
    mean = torch.stack(
        [h.row_basis.square().sum(dim=1) for h in random_geometries(6, 2, draws=2000, seed=2)]
    ).mean(dim=0)
    torch.testing.assert_close(mean, torch.full((6,), 1 / 3).double(), atol=0.03, rtol=0)


def test_bases_of_single_precision_are_those_of_double_rounded() -> None:
    wide, narrow = (
        random_geometries(6, 2, draws=1, seed=0, dtype=dtype)[0].row_basis
        for dtype in (torch.float64, torch.float32)
    )
    assert torch.equal(wide.float(), narrow)


def test_images_are_shared_out_evenly_whatever_their_fold() -> None:
    g = torch.Generator().manual_seed(0)
    ids = fingerprint(torch.randint(0, 256, (6000, 1, 4, 4), generator=g, dtype=torch.uint8))
    for fold in (0, 1):
        counts = chosen_draw(ids[ids & 1 == fold]).bincount(minlength=RANDOM_DRAWS)
        # 1,000 each, with a standard deviation of 26.
        assert (counts - 1000).abs().max() < 130
    assert [chosen_draw(each) for each in ids[:50].tolist()] == chosen_draw(ids[:50]).tolist()
