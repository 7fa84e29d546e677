"""A GPU gives the numbers of the CPU, while images are looked at and afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.helpers import tiny
from tests.helpers.devices import DEVICES
from tests.helpers.witness import Witness


class Standing(tiny.Classifier):
    """Learns nothing, so that devices do not drift apart."""

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.0)


def logged(device: str, folder: Path) -> list[dict[str, float]]:
    """What is logged at four validations; the last two look at no pixels."""
    witness = Witness()
    trainer = tiny.trainer(
        folder,
        tiny.callback(alerts=None),
        witness,
        accelerator=device,
        devices=1,
        precision="64-true",
        max_epochs=4,
    )
    trainer.fit(Standing(), tiny.loader(tiny.Blobs(seed=1)), tiny.loader(tiny.Blobs()))
    return witness.logged


@pytest.mark.parametrize("device", DEVICES)
def test_a_device_gives_the_numbers_of_the_cpu(device: str, tmp_path: Path) -> None:
    ours, expected = logged(device, tmp_path), logged("cpu", tmp_path)
    assert len(ours) == len(expected) == 4
    for one, other in zip(ours, expected, strict=True):
        assert one.keys() == other.keys()
        for key in one.keys() - {"monitor/seconds"}:
            assert one[key] == pytest.approx(other[key], rel=1e-6, abs=1e-6, nan_ok=True), key
