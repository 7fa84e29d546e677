"""Crops of one picture stay alike by content, and become strangers by place."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from sklearn.datasets import load_digits

# The examples are scripts and import each other by bare name.
sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))

import fashion_mnist
from shifted_images import SHIFTS, TOLD, SmallNetwork, aurocs, crop, enlarged, main, trained

TRAINED_ON, TESTED_ON = 1000, 40


def test_shifted_crops_of_digits_stay_alike_by_content_alone() -> None:
    digits = load_digits()
    pictures = enlarged(torch.from_numpy(digits.images).float()[:, None] / 16)
    labels = torch.from_numpy(digits.target).long()
    torch.manual_seed(0)
    network = trained(SmallNetwork(width=32), pictures[:TRAINED_ON], labels[:TRAINED_ON], epochs=6)
    unseen = pictures[TRAINED_ON:]
    with torch.no_grad():
        answers = network(crop(unseen, 8, 8)).argmax(dim=1)
    # It has learnt something, from crops.
    assert float((answers == labels[TRAINED_ON:]).float().mean()) > 0.4
    found = [aurocs(network, unseen[:TESTED_ON], shift) for shift in SHIFTS]
    for kernel in ("cosine", "RBF"):
        spatial = [each[f"{kernel}, spatial"] for each in found]
        semantic = [each[f"{kernel}, semantic"] for each in found]
        assert spatial[0] == semantic[0] == 1
        assert spatial == sorted(spatial, reverse=True)
        assert spatial[-1] < 0.7
        assert semantic[-1] > 0.75
        assert semantic[-1] > spatial[-1] + 0.15


@pytest.mark.skipif(
    not fashion_mnist.DEBIAN.is_dir(), reason="apt install dataset-fashion-mnist (CI does)"
)
def test_the_example_prints_its_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = [
        "--images",
        "128",
        "--epochs",
        "1",
        "--pictures",
        "8",
        "--test-images",
        "64",
        "--data",
        str(tmp_path),
    ]
    main(few)
    said = capsys.readouterr().out
    assert "16 px" in said
    for kernel in ("inner product", "cosine", "RBF"):
        for comparison in ("spatial", "semantic"):
            (line,) = (line for line in said.splitlines() if f"{kernel}, {comparison}" in line)
            assert len(line.split()[-4:]) == len(SHIFTS)
            assert all(0 <= float(value) <= 1 for value in line.split()[-4:])
    for name in ("untrained", "trained"):
        (line,) = (line for line in said.splitlines() if line.startswith(name))
        assert len(line.split()) == 1 + len(TOLD)
