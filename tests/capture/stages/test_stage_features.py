"""Features of stages as a snapshot keeps them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from sing_monitor.feature_maps import StageFeatures
from sing_monitor.snapshot import Snapshot
from tests.helpers import make_snapshot


def test_stages_come_back_from_the_file(tmp_path: Path) -> None:
    values = {"layer1.0": torch.randn(2, 5), "layer2": torch.randn(2, 3)}
    stages = StageFeatures(torch.tensor([4, 1]), values)
    snapshot = replace(make_snapshot(samples=6), image_ids=torch.arange(6), stages=stages)
    snapshot.save(tmp_path / "s.safetensors")
    loaded = Snapshot.load(tmp_path / "s.safetensors").known_stages
    assert torch.equal(loaded.image_ids, stages.image_ids)
    assert list(loaded.values) == ["layer1.0", "layer2"]
    assert all(torch.equal(loaded.values[name], values[name]) for name in values)
    # Versions that know no stages refuse the file.
    with safe_open(tmp_path / "s.safetensors", framework="pt") as file:
        assert file.metadata()["schema"] == "7"
    with pytest.raises(ValueError, match="stages are found by image_ids"):
        replace(snapshot, image_ids=None)
    with pytest.raises(ValueError, match="stage 'layer1' must be"):
        StageFeatures(torch.tensor([4, 1]), {"layer1": torch.randn(3, 5)})
