"""A patch that alone decides the class is what the head looks at, and what the mask finds."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

# The examples are scripts and import each other by bare name.
sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))

import planted_patch
from planted_patch import CELL, PATCH, PatchNetwork, found_patches, pictures, stripes


def test_the_patch_alone_tells_the_class() -> None:
    images, labels, places = pictures(8, 3)
    assert torch.equal(images * 255, (images * 255).round())
    for image, label, covered in zip(images, labels, places, strict=True):
        assert float(covered.sum()) * CELL**2 == PATCH**2
        # Its lines are the only place where so many neighbors are alike in a pattern of the class.
        light = image.mean(dim=0).unfold(0, PATCH, 1).unfold(1, PATCH, 1)
        signs = 2 * stripes() - 1
        match = (light[:, :, None] * signs).mean(dim=(3, 4)).abs().flatten(0, 1).amax(dim=0)
        assert int(match.argmax()) == int(label)


def test_the_seen_part_gathers_on_the_patch_and_the_mask_finds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    short = {"--epochs": 4, "--images": 1024, "--probe": 128, "--width": 32}
    planted_patch.main([str(each) for option in short.items() for each in option])
    lines = capsys.readouterr().out.splitlines()
    heads = [line.split() for line in lines]
    start = heads.index(["accuracy", "all", "seen", "null", "overlap"])
    told = [[float(each) for each in line[1:]] for line in heads[start + 2 : start + 7]]
    (_, _, seen_before, null_before, _), (accuracy, _, seen, null, _) = told[0], told[-1]
    assert accuracy > 0.8
    assert seen < seen_before - 0.1
    assert seen < null - 0.05 < null_before
    found = {line[-4]: [float(each) for each in line[-3:]] for line in heads[-4:]}
    entropy, chance, patch = found["seen"]
    # Directions at random vary from place to place, but not as the seen ones.
    assert entropy < found["random"][0] - 0.03
    assert chance < 0.35
    assert patch > 0.9


def test_an_untrained_network_looks_nowhere_in_particular() -> None:
    torch.manual_seed(0)
    found = found_patches(PatchNetwork(32).eval(), 0, 64)
    assert found.loc["seen", "chance"] < 0.1
