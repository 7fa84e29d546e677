"""Stages of a model in passes over random images, without a trainer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from sing_monitor.capture.stages.pass_stages import PassStages
from sing_monitor.extra_pass.collect import collect_probe
from sing_monitor.feature_maps import StageFeatures
from sing_monitor.monitor.model_capture import ModelCapture
from tests.helpers import tiny
from tests.helpers.maps import CLASSES, call, images


@dataclass
class TakenStages:
    """What passes over some images took, pass by pass."""

    passes: list[PassStages]
    ids: list[int]  # of the images, in their order
    config: list[str]
    report: str

    @property
    def features(self) -> StageFeatures:
        """Those of the last pass."""
        found = self.passes[-1].features
        assert found is not None, self.passes[-1]
        return found

    @property
    def left_out(self) -> dict[str, str]:
        """Of the last pass."""
        return dict(self.passes[-1].left_out)

    def of(self, rows: Tensor) -> Tensor:
        """The rows (N, ...) of the images that were kept, in their order."""
        return rows[[self.ids.index(image_id) for image_id in self.features.image_ids.tolist()]]


def take_stages(
    model: nn.Module,
    pictures: Tensor | None = None,
    *,
    layers: bool | Sequence[str] = True,
    passes: int = 1,
    forward: Callable[[nn.Module, Tensor], object] = call,
    labels: Tensor | None = None,
    batch_size: int = 5,
    **options: Any,
) -> TakenStages:
    """The stages of a model in passes over images; the later ones know the images."""
    pictures = images() if pictures is None else pictures
    labels = torch.arange(len(pictures)) % CLASSES if labels is None else labels
    known = {"class_names": tiny.CLASSES, "pixel_stats": ((0.0,) * 3, (1.0,) * 3)}
    given = {"space": None, "n_maps": 0, **known, **options}
    capture = ModelCapture(tiny.callback(layers=layers, **given).options, tiny.HashSpace(), None)
    loader = DataLoader(TensorDataset(pictures, labels), batch_size)
    found, ids = [], []
    for _ in range(passes):
        capture.start(model, loader, threshold=2**63 - 1, images=len(pictures))
        collect_probe(capture, model, loader, forward=lambda batch: forward(model, batch[0]))
        rows = capture.finish()
        assert rows is not None
        found.append(rows.stages[0])
        order = rows.sample_index.argsort()
        ids = rows.image_ids[order].tolist()
    config = capture.describe(threshold=0, images=None)[0]
    report = str(capture.taps.stages)
    capture.release()
    assert not any(part._forward_pre_hooks or part._forward_hooks for part in model.modules())
    return TakenStages(found, ids, config["stages"], report)
