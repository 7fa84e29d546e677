"""Maps of a model in passes over random images, without a trainer."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from sing_monitor.extra_pass.collect import collect_probe
from sing_monitor.feature_maps import FeatureMaps
from sing_monitor.monitor.model_capture import ModelCapture
from tests.helpers import tiny

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
    known = {"class_names": tiny.CLASSES, "pixel_stats": ((0.0,) * 3, (1.0,) * 3)}
    given = {"space": None, "n_maps": n_maps, **known, **options}
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
