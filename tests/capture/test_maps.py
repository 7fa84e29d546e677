"""The map before the head: the tensor that it is in real networks, and never another one."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision.models as tv
import transformers
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from timm.models.mlp_mixer import MlpMixer
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d
from torch.utils.data import DataLoader, TensorDataset

from sing_monitor.capture.probe import hashes
from sing_monitor.extra_pass.collect import collect_probe
from sing_monitor.feature_maps import FeatureMaps
from sing_monitor.monitor.model_capture import ModelCapture
from sing_monitor.offline.analyze import analyze
from tests.helpers import tiny
from tests.helpers.devices import DEVICES, NEEDS_CUDA
from tests.helpers.disturbed import assert_same_weights, fit, said_by_the_monitor
from tests.helpers.witness import Witness

CLASSES = 4
SIDE = 32
Forward = Callable[[nn.Module, Tensor], object]


def call(model: nn.Module, images: Tensor) -> object:
    return model(images)


@dataclass
class Taken:
    """What passes over some images took, pass by pass, and what was said of it."""

    capture: ModelCapture
    passes: list[FeatureMaps | None]
    reasons: list[str]
    ids: list[int]  # of the images, in their order
    config: str

    @property
    def maps(self) -> FeatureMaps:
        """Those of the last pass."""
        assert self.passes[-1] is not None, self.reasons
        return self.passes[-1]

    def of(self, rows: Tensor) -> Tensor:
        """The rows (N, ...) of the images that have maps, in the order of the maps."""
        return rows[[self.ids.index(image_id) for image_id in self.maps.image_ids.tolist()]]


def images(count: int = 10, side: int | tuple[int, int] = SIDE) -> Tensor:
    size = (side, side) if isinstance(side, int) else side
    drawn = torch.rand(count, 3, *size, generator=torch.Generator().manual_seed(3))
    return (drawn * 255).round() / 255


def take(
    model: nn.Module,
    pictures: Tensor | None = None,
    *,
    n_maps: int = 64,
    passes: int = 1,
    forward: Forward = call,
    labels: Tensor | None = None,
    batch_size: int = 5,
    **options: Any,
) -> Taken:
    """The maps of a model in passes over images; the later ones know the images."""
    pictures = images() if pictures is None else pictures
    labels = torch.arange(len(pictures)) % CLASSES if labels is None else labels
    given = {"space": None, "n_maps": n_maps, "pixel_stats": ((0.0,) * 3, (1.0,) * 3), **options}
    settings = tiny.callback(**given).options
    capture = ModelCapture(settings, tiny.HashSpace(), None)
    loader = DataLoader(TensorDataset(pictures, labels), batch_size)
    found, reasons, ids = [], [], []
    for _ in range(passes):
        capture.start(model, loader, threshold=2**63 - 1, images=len(pictures))
        collect_probe(capture, model, loader, forward=lambda batch: forward(model, batch[0]))
        rows = capture.finish()
        assert rows is not None
        (part,) = rows.maps
        found.append(part.maps)
        reasons.append(part.reason)
        order = rows.sample_index.argsort()
        ids = rows.image_ids[order].tolist()
    config = str(capture.describe(threshold=0, images=None)[0]["map"])
    capture.release()
    assert not any(part._forward_pre_hooks or part._forward_hooks for part in model.modules())
    return Taken(capture, found, reasons, ids, config)


def build(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        return make().eval()


def timm_model(name: str, **changes: Any) -> nn.Module:
    return build(lambda: timm.create_model(name, num_classes=CLASSES, **changes))


TIMM: dict[str, tuple[str, dict[str, Any], str]] = {
    "ResNet": ("test_resnet", {}, "layer4 (96, 1 x 2)"),
    "ResNet-D": ("resnet10t", {}, "layer4 (512, 1 x 2)"),
    "ConvNeXt": ("test_convnext", {}, "norm_pre (64, 1 x 2)"),
    "MobileNetV3": ("mobilenetv3_small_050", {}, "blocks (288, 1 x 2)"),
    "EfficientNet": ("test_efficientnet", {}, "bn2 (256, 1 x 2)"),
    "Swin": (
        "swin_tiny_patch4_window7_224",
        {"img_size": (32, 64), "window_size": 1, "depths": (1, 1, 1, 1), "embed_dim": 12},
        "norm (96, 1 x 2)",
    ),
    "ViT": ("test_vit", {"img_size": (32, 64)}, "norm (64, 2 x 4)"),
    "ViT, average": (
        "test_vit",
        {"img_size": (32, 64), "global_pool": "avg"},
        "norm (64, 2 x 4)",
    ),
    "ViT, attention pool": (
        "test_vit",
        {"img_size": (32, 64), "global_pool": "map", "class_token": False},
        "norm (64, 2 x 4)",
    ),
    "ViT, registers": ("test_vit", {"img_size": (32, 64), "reg_tokens": 3}, "norm (64, 2 x 4)"),
    "ViT, registers, average": (
        "test_vit",
        {"img_size": (32, 64), "reg_tokens": 3, "global_pool": "avg"},
        "norm (64, 2 x 4)",
    ),
}


@pytest.mark.parametrize("kind", TIMM)
def test_the_map_of_a_timm_network_is_what_its_forward_features_gives(kind: str) -> None:
    """Without the class token and registers, for which timm has a number."""
    name, changes, site = TIMM[kind]
    model = timm_model(name, **changes)
    pictures = images(6, (32, 64))
    taken = take(model, pictures, passes=3)
    assert taken.config == site
    with torch.no_grad():
        expected = model.forward_features(pictures)
    if expected.ndim == 3:
        tokens = expected[:, model.num_prefix_tokens :]
        expected = tokens.transpose(1, 2).unflatten(2, taken.maps.grid)
    elif kind == "Swin":
        expected = expected.permute(0, 3, 1, 2)
    for found in taken.passes:
        assert found is not None
        assert found.values.dtype == torch.float32
        assert found.layer == site.split(" (")[0]
        torch.testing.assert_close(found.values, taken.of(expected), rtol=1e-4, atol=1e-5)


def small_vgg() -> nn.Module:
    """Two layers stand between a pooling to 3 x 3 and the head, as in VGG."""
    layers = nn.Sequential(nn.Conv2d(3, 8, 3, 8), nn.ReLU(), nn.MaxPool2d(4))
    return nn.Sequential(
        layers, nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(72, 8), nn.ReLU(), nn.Linear(8, 4)
    )


def small_vit() -> nn.Module:
    return tv.VisionTransformer(SIDE, 8, 1, 2, 16, 32, num_classes=CLASSES)


WRITTEN: dict[str, tuple[Callable[[], nn.Module], Callable[[Any, Tensor], Tensor], str]] = {
    "MobileNetV3": (
        lambda: tv.mobilenet_v3_small(num_classes=CLASSES),
        lambda model, x: model.features(x),
        "features (576, 2 x 2)",
    ),
    # Its activation and its pooling are functions.
    "DenseNet": (
        lambda: tv.DenseNet(8, (1, 1), 8, num_classes=CLASSES),
        lambda model, x: model.features(x).relu(),
        "features (16, 8 x 8)",
    ),
    "VGG": (small_vgg, lambda model, x: model[0](x), "0 (8, 2 x 2)"),
    "MLP-Mixer": (
        lambda: MlpMixer(CLASSES, img_size=64, patch_size=16, num_blocks=1, embed_dim=16),
        lambda model, x: model.forward_features(x).transpose(1, 2).unflatten(2, (4, 4)),
        "norm (16, 4 x 4)",
    ),
}


@pytest.mark.parametrize("kind", WRITTEN)
def test_the_map_of_a_network_is_what_its_layers_give(kind: str) -> None:
    make, truth, site = WRITTEN[kind]
    model, pictures = build(make), images(6, 64)
    taken = take(model, pictures, passes=2)
    assert taken.config == site
    with torch.no_grad():
        expected = truth(model, pictures)
    for found in taken.passes:
        assert found is not None
        torch.testing.assert_close(found.values, taken.of(expected), rtol=1e-4, atol=1e-5)


def test_a_vision_transformer_of_torchvision_gives_its_patches() -> None:
    model, pictures = build(small_vit), images()
    seen: list[Tensor] = []
    handle = model.encoder.register_forward_hook(lambda m, a, output: seen.append(output))
    with torch.no_grad():
        model(pictures)
    handle.remove()
    taken = take(model, pictures)
    assert taken.config == "encoder (16, 4 x 4)"
    expected = seen[0][:, 1:].transpose(1, 2).unflatten(2, (4, 4))
    torch.testing.assert_close(taken.maps.values, taken.of(expected))


SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "image_size": SIDE,
    "patch_size": 8,
    "num_labels": CLASSES,
}
HUGGING_FACE: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "ViT": (
        lambda: transformers.ViTForImageClassification(transformers.ViTConfig(**SMALL)),
        1,
    ),
    "DINOv2 with registers": (
        lambda: transformers.Dinov2WithRegistersForImageClassification(
            transformers.Dinov2WithRegistersConfig(**SMALL)
        ),
        5,
    ),
}


@pytest.mark.parametrize("kind", HUGGING_FACE)
def test_a_transformer_of_hugging_face_gives_its_patches(kind: str) -> None:
    make, prefix = HUGGING_FACE[kind]
    model, pictures = build(make), images()
    with torch.no_grad():
        tokens = model.base_model(pictures).last_hidden_state
    taken = take(model, pictures)
    assert taken.config.endswith("layernorm (16, 4 x 4)")
    expected = tokens[:, prefix:].transpose(1, 2).unflatten(2, (4, 4))
    torch.testing.assert_close(taken.maps.values, taken.of(expected))


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
        for key in ours.keys() - {"monitor/seconds"}:
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
