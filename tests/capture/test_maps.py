"""The map before the head: of which images it is kept, and that it is never another tensor."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d
from torch.utils.data import DataLoader, TensorDataset

from sing_monitor.capture.probe import hashes
from sing_monitor.offline.analyze import analyze
from tests.helpers import tiny
from tests.helpers.devices import DEVICES, NEEDS_CUDA
from tests.helpers.disturbed import assert_same_weights, fit, said_by_the_monitor
from tests.helpers.maps import CLASSES, SIDE, Forward, build, call, images, take, timm_model
from tests.helpers.witness import Witness

# Networks written by hand


class Convolutions(nn.Module):
    """Activations and pooling are functions, or the pooling is a module that is used twice."""

    def __init__(self, pool: nn.Module | None = None, stride: int = 2, inputs: int = 3) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, 8, 3, stride)
        self.second = nn.Conv2d(8, 16, 3, stride)
        self.pool = pool
        self.head = nn.LazyLinear(CLASSES)

    def map(self, x: Tensor) -> Tensor:
        return torch.relu_(self.second(torch.relu_(self.first(x))))

    def forward(self, x: Tensor) -> Tensor:
        x = self.map(x)
        return self.head(x.mean((2, 3)) if self.pool is None else self.pool(x).flatten(1))


def convolutions(*arguments: Any, **changes: Any) -> nn.Module:
    model = build(lambda: Convolutions(*arguments, **changes))
    model(images(1))
    return model


@pytest.mark.parametrize("is_mean", [True, False], ids=["function", "module"])
def test_an_activation_that_is_a_function_belongs_to_the_map(is_mean: bool) -> None:
    model, pictures = convolutions(None if is_mean else nn.AdaptiveMaxPool2d(1)), images()
    taken = take(model, pictures, passes=2)
    assert taken.config == ("second" if is_mean else "input of pool") + " (16, 7 x 7)"
    with torch.no_grad():
        expected = model.map(pictures)
    for found in taken.passes:
        assert found is not None
        torch.testing.assert_close(found.values, taken.of(expected))


@pytest.mark.parametrize("side", [64, (60, 100)])
def test_a_large_grid_is_averaged_to_14_x_14_and_that_is_said(side: int | tuple[int, int]) -> None:
    model, pictures = convolutions(nn.AdaptiveAvgPool2d(1)), images(6, side)
    taken = take(model, pictures, passes=2)
    with torch.no_grad():
        whole = model.map(pictures)
    assert taken.config == (
        f"input of pool (16, {whole.shape[2]} x {whole.shape[3]}, averaged to 14 x 14)"
    )
    assert "averaged to 14 x 14" in taken.reasons[0]
    torch.testing.assert_close(taken.maps.values, taken.of(adaptive_avg_pool2d(whole, 14)))


@pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16, torch.float64])
def test_maps_keep_the_precision_of_the_model_up_to_single(precision: torch.dtype) -> None:
    model = timm_model("test_resnet").to(precision)
    pictures = images(6, 64)
    taken = take(model, pictures, forward=lambda model, x: model(x.to(precision)), passes=2)
    kept = torch.float32 if precision == torch.float64 else precision
    with torch.no_grad():
        expected = model.forward_features(pictures.to(precision)).to(kept)
    assert taken.config == "layer4 (96, 2 x 2)"
    assert taken.maps.values.dtype == kept
    torch.testing.assert_close(taken.maps.values, taken.of(expected), rtol=0.1, atol=0.1)


class Normalized(nn.Module):
    """Pixels are standardized by a module; the rest knows no locations."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.normalize = nn.BatchNorm2d(3)
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(self.normalize(x))


class Tokens(nn.Module):
    """Patches with some more tokens, a norm behind the one that is read."""

    def __init__(self, more: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 8, 8)
        self.more = nn.Parameter(torch.randn(more, 8))
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.more.expand(len(x), -1, -1), tokens], dim=1)
        return self.head(self.norm(self.encoder(tokens)[:, 0]))


def two_views(model: nn.Module, x: Tensor) -> object:
    return model(x) + model(x.flip(-1))


WITHOUT: dict[str, tuple[Callable[[], nn.Module], Forward, str]] = {
    "no locations": (
        lambda: Normalized(nn.Flatten(), nn.Linear(3 * SIDE**2, 8), nn.ReLU(), nn.Linear(8, 4)),
        call,
        "no layer before the head gives vectors at several locations",
    ),
    "gray": (
        lambda: nn.Sequential(nn.Conv2d(3, 1, 1), nn.Flatten(), nn.Linear(SIDE**2, 4)),
        call,
        "no layer before the head gives vectors at several locations",
    ),
    "one location": (
        lambda: nn.Sequential(nn.Conv2d(3, 8, SIDE), nn.Flatten(), nn.Linear(8, 4)),
        call,
        "no layer before the head gives vectors at several locations",
    ),
    "unknown tokens": (lambda: Tokens(3), call, "'encoder', gives 19 tokens, and nothing shows"),
    "two views": (
        lambda: timm_model("test_resnet"),
        two_views,
        "the head is called 2 times for each batch",
    ),
}


@pytest.mark.parametrize("kind", WITHOUT)
def test_where_nothing_is_sure_there_is_no_map_and_the_reason_is_told(kind: str) -> None:
    make, forward, reason = WITHOUT[kind]
    with said_by_the_monitor():
        taken = take(build(make), forward=forward, passes=2)
    assert taken.passes == [None, None]
    assert reason in taken.reasons[0]
    assert taken.reasons[0] == taken.reasons[1]
    assert taken.config == f"none: {taken.reasons[0]}"


def test_views_that_come_later_cost_the_maps_of_their_pass_alone() -> None:
    views = iter([False, False, True, False, False, False])

    def forward(model: nn.Module, x: Tensor) -> object:
        return two_views(model, x) if next(views) else model(x)

    taken = take(timm_model("test_resnet"), forward=forward, passes=3)
    assert [found is None for found in taken.passes] == [False, True, False]
    assert "called 2 times" in taken.reasons[1]


def test_grids_that_differ_from_batch_to_batch_have_no_maps() -> None:
    model = timm_model("test_resnet")
    sides = iter([64, 96])

    def forward(model: nn.Module, x: Tensor) -> object:
        return model(nn.functional.interpolate(x, next(sides)))

    taken = take(model, forward=forward)
    assert taken.passes == [None]
    assert "differ from batch to batch: 96 channels and 2 x 2 locations" in taken.reasons[0]


def test_images_of_another_size_from_a_pass_on_cost_the_maps_of_that_pass_alone() -> None:
    model = timm_model("test_resnet")
    sides = iter([64] * 2 + [128] * 6)

    def forward(model: nn.Module, x: Tensor) -> object:
        return model(nn.functional.interpolate(x, next(sides)))

    taken = take(model, forward=forward, passes=4)
    grids = [None if found is None else found.grid for found in taken.passes]
    assert grids == [(2, 2), None, (4, 4), (4, 4)]
    assert "later a tensor of shape (96, 4, 4)" in taken.reasons[1]


def test_a_layer_that_is_called_no_more_is_searched_anew() -> None:
    class Switched(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stems = nn.ModuleList([nn.Conv2d(3, 8, 3, 4), nn.Conv2d(3, 8, 3, 4)])
            self.head = nn.Linear(8, CLASSES)
            self.calls = 0

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            return self.head(self.stems[int(self.calls > 4)](x).mean((2, 3)))

    model = build(Switched)
    taken = take(model, passes=4)
    assert [found is None for found in taken.passes] == [False, False, True, False]
    assert "stems.0, whose maps were kept, is called no more" in taken.reasons[2]
    assert taken.config == "stems.1 (8, 8 x 8)"


def test_a_module_that_is_called_behind_the_head_gives_its_call_before_it() -> None:
    class Again(Convolutions):
        def forward(self, x: Tensor) -> Tensor:
            logits = super().forward(x)
            self.second(self.first(x) * 5)
            return logits

    model, pictures = build(lambda: Again()), images()
    model(pictures)
    taken = take(model, pictures, passes=2)
    with torch.no_grad():
        expected = model.map(pictures)
    for found in taken.passes:
        assert found is not None
        torch.testing.assert_close(found.values, taken.of(expected))


# Which images


@pytest.mark.parametrize("device", DEVICES)
def test_maps_are_kept_of_the_images_of_smallest_hash_with_a_class(device: str) -> None:
    """Copies have one map; images without a class have none."""
    model, pictures = timm_model("test_resnet").to(device), images(40, 64)
    pictures[20:24] = pictures[:4]
    labels = torch.arange(40) % CLASSES
    labels[5::7] = -1
    everything = take(model, pictures, labels=labels, batch_size=8)
    kept = take(model, pictures, labels=labels, batch_size=8, n_maps=6, passes=3)
    assert len(everything.maps) == len(set(everything.ids)) < 36
    smallest = hashes(torch.tensor(sorted(set(everything.ids)))).sort().values[:6]
    for found in kept.passes:
        assert found is not None
        assert torch.equal(hashes(found.image_ids).sort().values, smallest)
        assert torch.equal(found.image_ids, found.image_ids.sort().values)
        where = torch.searchsorted(everything.maps.image_ids, found.image_ids)
        torch.testing.assert_close(found.values, everything.maps.values[where])


@pytest.mark.parametrize("is_early", [True, False], ids=["before the model", "before the head"])
def test_a_step_that_leaves_out_images_without_a_class_shifts_no_map(is_early: bool) -> None:
    model, pictures = timm_model("test_resnet"), images(20, 64)
    labels = torch.arange(20) % CLASSES
    labels[6::3] = -1
    rest = iter(list(labels.split(5)) * 2)

    def forward(model: nn.Module, x: Tensor) -> object:
        has_class = next(rest) >= 0
        if is_early:
            return model(x[has_class])
        return model.fc(model.global_pool(model.forward_features(x))[has_class])

    taken = take(model, pictures, labels=labels, forward=forward, passes=2)
    ids = take(model, pictures).ids
    with torch.no_grad():
        expected = model.forward_features(pictures)
    for found in taken.passes:
        assert found is not None
        assert len(found) == int((labels >= 0).sum())
        rows = [ids.index(image_id) for image_id in found.image_ids.tolist()]
        torch.testing.assert_close(found.values, expected[rows], rtol=1e-4, atol=1e-5)


def test_without_n_maps_nothing_but_linear_layers_is_listened_to() -> None:
    model = timm_model("test_resnet")
    hooked: list[str] = []

    def forward(model: nn.Module, x: Tensor) -> object:
        hooked.extend(
            name
            for name, part in model.named_modules()
            if isinstance(part, nn.BatchNorm2d) and part._forward_hooks
        )
        return model(x)

    taken = take(model, forward=forward, n_maps=0)
    assert hooked == []
    assert taken.passes == [None]
    assert taken.reasons == [""]
    take(model, forward=forward)
    assert "layer1.0.bn1" in hooked


def test_one_hook_listens_once_the_layer_is_known() -> None:
    model = timm_model("test_resnet")
    hooked: list[list[str]] = []

    def forward(model: nn.Module, x: Tensor) -> object:
        hooked.append(
            [n for n, part in model.named_modules() if part._forward_hooks and "layer" in n]
        )
        return model(x)

    take(model, images(10, 64), forward=forward, passes=2)
    assert len(hooked[0]) > 10
    # In the first batch of every pass, the layers that could answer are watched too.
    assert hooked[1] == hooked[3] == ["layer4"]


# Around it


class Brittle(Tensor):
    """What no row can be taken of, as of a tensor in a layout of its own."""

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        if func is Tensor.index_select:
            raise RuntimeError("rows of this layout cannot be taken")
        return super().__torch_function__(func, types, args, kwargs or {})


class BrittleMaps(tiny.Classifier):
    """Its maps can be searched, and not be taken."""

    class Wrap(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.as_subclass(Brittle)

    class Unwrap(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.as_subclass(Tensor)

    def __init__(self, *, is_brittle: bool = True) -> None:
        super().__init__()
        if is_brittle:
            layers = list(self.network)
            layers[3] = nn.Sequential(self.Wrap(), layers[3], self.Unwrap())
            self.network = nn.Sequential(*layers)


def test_a_fault_costs_the_maps_and_nothing_else(tmp_path: Path) -> None:
    brittle, plain = Witness(), Witness()
    watched = fit(tmp_path, tiny.callback(on_error="warn"), brittle, model=BrittleMaps())
    usual = fit(
        tmp_path, tiny.callback(on_error="warn"), plain, model=BrittleMaps(is_brittle=False)
    )
    (warning,) = set(watched.warnings) - set(usual.warnings)
    assert "the maps before the head could not be taken (rows of this layout" in warning
    assert_same_weights(watched, usual)
    for ours, expected in zip(brittle.logged, plain.logged, strict=True):
        assert ours.keys() == expected.keys()
        for key in ours.keys() - {"monitor/seconds"}:
            if key.startswith(("focus/", "similarity/")):
                assert math.isnan(ours[key]), key
            else:
                assert ours[key] == pytest.approx(expected[key], nan_ok=True), key


def test_a_fault_ends_the_run_where_that_is_wanted(tmp_path: Path) -> None:
    with pytest.raises(MisconfigurationException, match="rows of this layout cannot be taken"):
        fit(tmp_path, tiny.callback(on_error="raise"), model=BrittleMaps())


def test_analyze_and_its_config_have_the_maps() -> None:
    model, pictures = timm_model("test_resnet"), images(20, 64)
    loader = DataLoader(TensorDataset(pictures, torch.arange(20) % CLASSES), 5)
    found = analyze(model, loader, None, n_maps=8)
    assert found.config["map"] == "layer4 (96, 2 x 2)"
    maps = found.snapshot.maps
    assert maps is not None
    assert maps.values.shape == (8, 96, 2, 2)
    assert maps.layer == "layer4"
    assert set(maps.image_ids.tolist()) <= set(found.snapshot.ids.tolist())
    assert analyze(model, loader, None, n_maps=0).snapshot.maps is None


@NEEDS_CUDA
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_a_gpu_gives_the_maps_of_the_cpu(precision: torch.dtype) -> None:
    model, pictures = timm_model("test_vit", img_size=64), images(20, 64)
    on_cpu = take(model, pictures, n_maps=8, passes=3)
    model = model.to("cuda", precision)

    def forward(model: nn.Module, x: Tensor) -> object:
        return model(x.to("cuda", precision))

    on_gpu = take(model, pictures, n_maps=8, passes=3, forward=forward)
    for one, other in zip(on_gpu.passes, on_cpu.passes, strict=True):
        assert one is not None
        assert other is not None
        assert torch.equal(one.image_ids, other.image_ids)
        torch.testing.assert_close(one.values.float(), other.values, rtol=0.05, atol=0.05)
