"""What is wrapped around a model is looked through."""

from __future__ import annotations

from pathlib import Path

import lightning as L
import pytest
import torch
from torch import nn
from torch.nn.parallel import DataParallel

from sing_monitor.monitor.plain.wrappers import forward_alone, own_loader, running_module, way_of
from sing_monitor.tracking import RunReader, list_runs
from tests.helpers import tiny
from tests.helpers.loops import images, monitor, quick, same, validate, watched


def network() -> nn.Module:
    return tiny.Classifier().network


@pytest.fixture(scope="module")
def expected() -> dict[str, float]:
    return monitor(network()).measure(images(), epoch=0)


def test_fabrics_wrappers_are_looked_through(tmp_path: Path, expected: dict[str, float]) -> None:
    fabric, plain, loader = L.Fabric(accelerator="cpu", devices=1), network(), images()
    model, data = fabric.setup(plain), fabric.setup_dataloaders(loader)
    assert running_module(model) is plain
    assert own_loader(data) is loader
    assert (way_of(model, None), way_of(plain, data), way_of(plain, loader)) == (
        *("fabric", "fabric", "plain"),
    )
    with monitor(model, loader=data, tracking_uri=tmp_path) as watching:
        assert same(watched(watching, model, loader=data), expected)
    assert same(monitor(model, loader=data).measure(data, epoch=0), expected)
    (run,) = list_runs(str(tmp_path)).to_dict("records")
    reader = RunReader(str(tmp_path), run["run_id"])
    # Positions in the data set are known: the loader is torch's own.
    assert sorted(reader.table("images", 0, 0)["sample_index"]) == list(range(48))
    assert reader.config()["head"] == "6"


def test_the_precision_of_fabric_is_that_of_a_pass_of_its_own() -> None:
    fabric = L.Fabric(accelerator="cpu", devices=1, precision="bf16-true")
    model = fabric.setup(network())
    data = fabric.setup_dataloaders(images())
    loop = watched(quick(model), model, loader=data)
    assert quick(model).measure(data, epoch=0)["head/null_energy"] == loop["head/null_energy"]


def test_a_model_for_several_devices_is_looked_through(expected: dict[str, float]) -> None:
    model = DataParallel(network())
    assert forward_alone(model) is running_module(model) is model.module
    assert same(watched(monitor(model, loader=images()), model), expected)


@pytest.mark.parametrize("way", ["wrapped", "in place", "in fabric"])
def test_a_compiled_model_is_heard(way: str, expected: dict[str, float]) -> None:
    model = network().eval()
    if way == "in place":
        model.compile(backend="eager")
    else:
        model = torch.compile(model, backend="eager")
    if way == "in fabric":
        model = L.Fabric(accelerator="cpu", devices=1).setup(model)
    with torch.no_grad():
        validate(model, images(), None)  # the code is there before the monitor
    watching = monitor(model, n_maps=0, loader=images())
    for epoch in range(2):
        found = watched(watching, model, epoch)
        assert found["sing/image_score"] == pytest.approx(expected["sing/image_score"], rel=1e-5)
    watching.close()
