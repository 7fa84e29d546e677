from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

from sing_monitor.analyses.similarity import similarity_matrices
from sing_monitor.capture.map_site import NoMapError
from sing_monitor.explain.comparison import compare_images, compare_maps
from tests.helpers import generator, normal


def test_a_moved_map_is_found_again() -> None:
    a = normal(6, 3, 4, seed=0).relu()
    order = torch.randperm(12, generator=generator(1))
    b = 2 * a.flatten(1)[:, order].view(6, 3, 4)
    found = compare_maps(a, b)
    assert found.grid == (3, 4)
    assert found.semantic == pytest.approx(1)
    assert found.spatial < 0.95
    assert order[found.positions_b].equal(found.positions_a)
    energies = a.flatten(1).square().sum(dim=0)
    assert found.positions_a.equal(energies.argsort(descending=True, stable=True))
    torch.testing.assert_close(found.shares, energies[found.positions_a] / energies.sum())


@pytest.mark.parametrize("matcher", ["optimal", "batch_optimal", "greedy", "identity"])
def test_the_numbers_are_those_of_the_matrices(matcher: str) -> None:
    maps = normal(2, 5, 4, 4, seed=2)
    found = compare_maps(maps[0], maps[1], matcher=matcher, window=5)
    expected = similarity_matrices(maps, matcher, 5).cosine()
    assert found.spatial == pytest.approx(float(expected.spatial[0, 1]))
    assert found.semantic == pytest.approx(float(expected.semantic[0, 1]))


@pytest.mark.parametrize(
    ("name", "options", "grid"),
    [
        ("test_resnet", {}, (2, 2)),
        ("test_vit", {"img_size": 64, "class_token": True, "global_pool": "token"}, (4, 4)),
    ],
)
def test_images_are_compared_by_the_map_of_the_model(
    name: str, options: dict[str, object], grid: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=5, **options)
    model.train()
    state = {key: value.clone() for key, value in model.state_dict().items()}
    a, b = normal(2, 3, 64, 64, seed=3).float()
    found = compare_images(model, a, b[None])
    same = compare_images(model, a, a)
    assert found.grid == grid
    assert found.layer
    assert same.semantic == pytest.approx(1)
    assert same.positions_a.equal(same.positions_b)
    model.eval()
    with torch.no_grad():
        tokens = model.forward_features(torch.stack([a, b]))
    if tokens.ndim == 3:
        tokens = tokens[:, 1:].transpose(1, 2).unflatten(2, grid)
    expected = compare_maps(*tokens)
    assert found.semantic == pytest.approx(expected.semantic, abs=1e-5)
    assert found.spatial == pytest.approx(expected.spatial, abs=1e-5)
    assert all(value.equal(state[key]) for key, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


def test_a_model_without_a_map_is_refused() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 8), nn.ReLU(), nn.Linear(8, 3))
    with pytest.raises(NoMapError, match="no layer before the head"):
        compare_images(model, torch.ones(3, 4, 4), torch.ones(3, 4, 4))


@pytest.mark.parametrize(
    ("a", "b"), [((3, 4, 4), (3, 4, 5)), ((2, 3, 4, 4), (2, 3, 4, 4)), ((4, 4), (4, 4))]
)
def test_other_than_two_single_images_are_refused(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="two single images of the same shape"):
        compare_images(nn.Identity(), torch.ones(a), torch.ones(b))


def test_other_than_two_maps_are_refused() -> None:
    with pytest.raises(ValueError, match="two maps of the same shape"):
        compare_maps(torch.ones(3, 4, 4), torch.ones(3, 4, 5))
