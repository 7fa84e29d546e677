"""Features of stages as processes join them, and as a snapshot keeps them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from sing_monitor.capture.probe import hashes
from sing_monitor.capture.stages.pass_stages import PassStages, joined_stages
from sing_monitor.errors import SetupError
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


def part(ids: torch.Tensor, **widths: int) -> PassStages:
    """Features that are a function of the image."""
    values = {
        name: ids[:, None].float() / 1e9 + torch.arange(width) for name, width in widths.items()
    }
    return PassStages(StageFeatures(ids, values))


def test_processes_give_the_stages_of_one_whatever_image_comes_to_whom() -> None:
    ids = (torch.arange(20) - 10) * 0x12345678B
    expected = part(ids[hashes(ids).argsort()[:6]].sort().values, a=3, b=2).features
    assert expected is not None
    shares = [[ids], [ids[:7], ids[7:]], [ids[::2], ids[1::2], ids[:5]], [ids[:19], ids[19:]]]
    for each in shares:
        found = joined_stages([part(share, a=3, b=2) for share in each], 6, ids)
        assert found.left_out == {}
        assert found.features is not None
        assert torch.equal(found.features.image_ids, expected.image_ids)
        for name, values in found.features.values.items():
            assert torch.equal(values, expected.values[name])
    # An image that is no more in the probe has no row.
    fewer = joined_stages([part(ids, a=3)], 6, ids[:4]).features
    assert fewer is not None
    assert torch.equal(fewer.image_ids, ids[:4])


def test_a_stage_that_one_process_lacks_is_left_out_for_all() -> None:
    ids = torch.arange(8)
    one = replace(part(ids[:4], a=3), left_out={"b": "it is not called"})
    found = joined_stages([part(ids[4:], a=3, b=2), one], 6, ids)
    assert found.left_out == {"b": "it is not called"}
    assert found.features is not None
    assert list(found.features.values) == ["a"]
    unlike = joined_stages([part(ids[4:], a=3, b=2), part(ids[:4], a=3, b=5)], 6, ids)
    assert unlike.left_out == {"b": "its output differs from process to process"}
    none = joined_stages([part(ids[4:], a=3), PassStages(left_out={"": "no head"})], 6, ids)
    assert (none.features, none.left_out) == (None, {"": "no head"})
    # A process without any image of the probe does not count.
    assert joined_stages([part(ids, a=3), PassStages()], 6, ids).features is not None


def test_a_fault_of_one_process_is_that_of_all() -> None:
    fault = PassStages(fault=SetupError("out of memory"))
    assert joined_stages([part(torch.arange(8), a=3), fault], 6, torch.arange(8)) is fault
    nobody = joined_stages([PassStages(was_asked=False)], 6, torch.arange(8))
    assert (nobody.features, nobody.was_asked) == (None, False)
