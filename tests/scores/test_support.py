from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from sing_monitor.scores.angles import angle, image_score
from sing_monitor.scores.support import Whitening, percentiles, place_among, split_movement
from tests.helpers import normal, orthogonal


def test_whitened_embeddings_have_variance_one_in_every_kept_direction() -> None:
    z = normal(500, 4, seed=0) * torch.tensor([10.0, 5.0, 1.0, 0.1]) + 7
    whitening = Whitening.of(z, variance=1.0)
    white = (z - whitening.mean) @ whitening.directions
    torch.testing.assert_close(white.T.cov(), torch.eye(4).double())
    torch.testing.assert_close(whitening.norm(z), white.norm(dim=1))


@pytest.mark.parametrize(("variance", "kept"), [(0.5, 1), (0.75, 1), (0.76, 2), (0.95, 3), (1, 4)])
def test_the_fewest_directions_that_hold_the_variance_are_kept(variance: float, kept: int) -> None:
    # Variances 75, 19, 5 and 1, exactly, in turned directions.
    z = normal(50, 4, seed=0)
    white = z @ torch.linalg.inv(torch.linalg.cholesky(z.T.cov()).T)
    z = white * torch.tensor([75, 19, 5, 1]).double().sqrt() @ orthogonal(4, seed=1)
    assert Whitening.of(z, variance).directions.shape == (4, kept)


def test_what_lies_off_the_kept_directions_does_not_count() -> None:
    z = normal(300, 3, seed=0) * torch.tensor([10.0, 10.0, 0.01])
    whitening = Whitening.of(z)
    assert whitening.directions.shape[1] == 2
    moved = z + torch.tensor([0.0, 0.0, 5.0])
    torch.testing.assert_close(whitening.norm(moved), whitening.norm(z), atol=0.02, rtol=0)


def test_fewer_embeddings_than_dimensions_will_do() -> None:
    z = normal(5, 40, seed=0)
    whitening = Whitening.of(z, variance=1.0)
    assert whitening.directions.shape[1] == 4
    # Five points whitened by themselves are the corners of a simplex.
    torch.testing.assert_close(whitening.norm(z), torch.full((5,), math.sqrt(4 * 4 / 5)).double())


@pytest.mark.parametrize("z", [torch.zeros(0, 3), torch.ones(1, 3), torch.full((7, 3), 0.3)])
def test_embeddings_that_do_not_vary_are_refused(z: Tensor) -> None:
    with pytest.raises(ValueError, match=f"embeddings that vary; got {len(z)} of them"):
        Whitening.of(z.double())


def test_percentiles_are_shares_of_the_reference() -> None:
    reference = torch.tensor([4.0, 1.0, 3.0, 2.0])
    values = torch.tensor([0.0, 1.0, 2.5, 9.0, math.nan])
    found = percentiles(values, reference)
    assert found[:4].tolist() == [0, 0, 0.5, 1]
    assert found[4].isnan()


def split(original: Tensor, equivalent: Tensor, pole: Tensor) -> tuple[Tensor, Tensor]:
    distance = image_score(original, equivalent)
    return split_movement(angle(original, pole), angle(equivalent, pole), distance)


def test_a_movement_toward_the_pole_is_all_radial() -> None:
    pole = torch.tensor([0.0, 0.0, 2.0])
    original, equivalent = torch.tensor([[1.0, 0.0, 1.0]]), torch.tensor([[1.0, 0.0, 3**0.5]])
    radial, rotation = split(original.double(), equivalent.double(), pole.double())
    assert float(radial) == pytest.approx(15)
    assert float(rotation) == pytest.approx(0, abs=1e-5)
    back, _ = split(equivalent.double(), original.double(), pole.double())
    assert float(back) == pytest.approx(-15)


def test_a_movement_about_the_pole_is_all_rotation() -> None:
    pole = torch.tensor([0.0, 0.0, 2.0]).double()
    original, equivalent = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]]).double().split(1)
    radial, rotation = split(original, equivalent, pole)
    assert float(radial) == pytest.approx(0, abs=1e-12)
    assert float(rotation) == pytest.approx(60)


def test_both_parts_together_are_the_movement() -> None:
    original, equivalent, pole = normal(50, 6, seed=0), normal(50, 6, seed=1), normal(6, seed=2)
    radial, rotation = split(original, equivalent, pole)
    distance = image_score(original, equivalent)
    hav = [torch.sin(torch.deg2rad(part) / 2) ** 2 for part in (radial, rotation, distance)]
    torch.testing.assert_close(hav[0] + hav[1], hav[2])
    assert (radial.abs() <= distance + 1e-9).all()
    assert (rotation <= distance + 1e-9).all()


def test_vectors_are_placed_among_the_real_embeddings_of_their_fold() -> None:
    embeddings, folds = normal(400, 6, seed=0), torch.arange(400) % 2
    vectors = torch.stack((embeddings[folds == 1].mean(dim=0), 100 * torch.ones(6).double()))
    for fold in (0, 1):
        near, far = place_among(vectors, embeddings, folds, fold).tolist()
        assert near < 0.01
        assert far == 1
    whitening = Whitening.of(embeddings[folds == 1])
    norms = whitening.norm(embeddings[folds == 0])
    expected = [float((norms < norm).double().mean()) for norm in norms]
    found = place_among(embeddings[folds == 0], embeddings, folds, 0)
    assert found.tolist() == pytest.approx(expected)


@pytest.mark.parametrize("fold", [0, 1])
def test_beside_an_empty_fold_nothing_is_placed(fold: int) -> None:
    embeddings, folds = normal(20, 6, seed=0), torch.zeros(20, dtype=torch.int64)
    assert place_among(embeddings[:3], embeddings, folds, fold).isnan().all()
