from __future__ import annotations

from collections.abc import Callable

import pytest
import timm
import torch
from torch import Tensor, nn

from sing_monitor.explain.maps import attribute_maps, find_feature_maps
from sing_monitor.head.geometry import HeadGeometry
from sing_monitor.scores.angles import attribute_score
from sing_monitor.translate.translator import LinearTranslator
from tests.helpers import normal


def problem(seed: int) -> tuple[Tensor, HeadGeometry, LinearTranslator, Tensor]:
    return (
        normal(3, 12, 4, 5, seed=seed) + 1,
        HeadGeometry.from_weight(normal(4, 12, seed=seed + 1)),
        LinearTranslator(normal(8, 12, seed=seed + 2), normal(8, seed=seed + 3)),
        normal(3, 8, seed=seed + 4),
    )


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("is_centered", [False, True])
def test_contributions_sum_to_the_score(seed: int, is_centered: bool) -> None:
    feature_maps, head, translator, text = problem(seed)
    center = normal(12, seed=seed + 5) if is_centered else None
    maps = attribute_maps(feature_maps, head, translator, text, center=center)
    features = feature_maps.mean(dim=(2, 3))
    score = attribute_score(
        translator(features), translator(head.remove_null(features, center)), text
    )
    assert (score.abs() > 0.1).any()
    torch.testing.assert_close(maps.attribute_score.sum(dim=(1, 2)), score, atol=1e-7, rtol=0)


def test_contributions_of_any_translator_sum_to_the_score() -> None:
    feature_maps, head, _, text = problem(9)
    torch.manual_seed(0)
    translator = nn.Sequential(nn.Linear(12, 20), nn.GELU(), nn.Dropout(), nn.Linear(20, 8))
    maps = attribute_maps(feature_maps, head, translator, text)
    assert translator.training
    translator.double().eval()
    features = feature_maps.mean(dim=(2, 3))
    score = attribute_score(translator(features), translator(head.principal(features)), text)
    torch.testing.assert_close(
        maps.attribute_score.sum(dim=(1, 2)), score.detach(), atol=1e-6, rtol=0
    )


def test_energies_are_those_of_the_parts_and_add_up() -> None:
    feature_maps, head, translator, text = problem(0)
    center = normal(12, seed=7)
    maps = attribute_maps(feature_maps, head, translator, text, center=center)
    one = feature_maps[1, :, 2, 3] - center
    assert float(maps.principal_energy[1, 2, 3]) == pytest.approx(
        float(head.principal(one).square().sum())
    )
    assert float(maps.null_energy[1, 2, 3]) == pytest.approx(float(head.null(one).square().sum()))


def test_a_location_without_a_null_part_contributes_nothing() -> None:
    feature_maps, head, translator, text = problem(1)
    seen = head.principal(feature_maps[:, :, 0, 0])
    feature_maps[:, :, 0, 0] = seen
    maps = attribute_maps(feature_maps, head, translator, text)
    assert (maps.null_energy[:, 0, 0] < 1e-25).all()
    assert (maps.attribute_score[:, 0, 0].abs() < 1e-12).all()
    assert (maps.attribute_score[:, 1:, 1:].abs() > 1e-4).all()


def test_moving_a_location_moves_its_contribution() -> None:
    feature_maps, head, translator, text = problem(2)
    plain = attribute_maps(feature_maps, head, translator, text)
    turned = attribute_maps(feature_maps.flip(2).transpose(2, 3), head, translator, text)
    for before, after in zip(vars(plain).values(), vars(turned).values(), strict=True):
        torch.testing.assert_close(after, before.flip(1).transpose(1, 2))


def test_maps_of_another_size_are_refused() -> None:
    _, head, translator, text = problem(0)
    with pytest.raises(ValueError, match=r"\(N, 12, h, w\)"):
        attribute_maps(torch.zeros(3, 11, 4, 4), head, translator, text)


def averaging(pool: Callable[[Tensor], Tensor]) -> nn.Module:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(inplace=True))
            self.fc = nn.Linear(6, 4)

        def forward(self, images: Tensor) -> Tensor:
            return self.fc(pool(self.body(images)))

    return Net()


def test_a_map_that_is_averaged_without_a_module_is_found() -> None:
    model = averaging(lambda maps: maps.mean(dim=(2, 3)))
    images = torch.rand(2, 3, 9, 9)
    found = find_feature_maps(model, images)
    assert model.training
    torch.testing.assert_close(found, model.eval().body(images).detach())


@pytest.mark.parametrize("pool", [lambda m: m.amax(dim=(2, 3)), lambda m: m[:, :, 0, 0]])
def test_another_pooling_is_refused(pool: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(ValueError, match="does not stand on a global average"):
        find_feature_maps(averaging(pool), torch.rand(2, 3, 9, 9))


def timm_model(name: str) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return timm.create_model(name, num_classes=4)


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_byobnet"])
def test_the_maps_of_timm_models_are_those_of_forward_features(name: str) -> None:
    model, images = timm_model(name).eval(), torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        expected = model.forward_features(images)
    torch.testing.assert_close(find_feature_maps(model, images), expected)


@pytest.mark.parametrize("name", ["test_vit", "test_convnext"])
def test_tokens_and_a_norm_behind_the_pooling_are_refused(name: str) -> None:
    model = timm_model(name)
    size = model.default_cfg["input_size"][1]
    with pytest.raises(ValueError, match="does not stand on a global average"):
        find_feature_maps(model, torch.rand(2, 3, size, size))
