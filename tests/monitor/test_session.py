"""Session without a trainer: plain loops, and what they have in common with the callback."""

from __future__ import annotations

import math
import random
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from sing_monitor import analyze
from sing_monitor.analyses import catalogue_of
from sing_monitor.errors import SetupError
from sing_monitor.findings import expand
from sing_monitor.inputs.batches import Batch
from sing_monitor.monitor import Options, Session
from sing_monitor.monitor.validation import Moment, Source
from sing_monitor.tracking import RunReader, list_runs
from tests.helpers import tiny

ROOT = Path(__file__).parents[2]
# They differ from run to run, or belong to a training alone.
APART = ("monitor/seconds",)


def options(**changes: Any) -> Options:
    given: dict[str, Any] = {"space": tiny.HashSpace(), "concepts": ["red"], "cache_dir": None}
    return Options(**{**given, **changes})


def network() -> nn.Module:
    return tiny.Classifier().network


def images() -> Any:
    return tiny.loader(tiny.Blobs())


class Floats(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.float()


class Named(torch.utils.data.TensorDataset):
    """Images of the classes in turn."""

    classes = tiny.CLASSES

    def __init__(self, images: torch.Tensor) -> None:
        super().__init__(images, torch.arange(len(images)) % len(self.classes))


def same(first: Mapping[str, float], second: Mapping[str, float]) -> bool:
    assert first.keys() == second.keys()
    return all(
        first[key] == second[key] or (math.isnan(first[key]) and math.isnan(second[key]))
        for key in first.keys() - set(APART)
    )


def test_a_plain_loop_gets_the_numbers_of_analyze() -> None:
    model = network()
    scalars = Session(options()).measure(model, images(), epoch=3, step=40)
    found = analyze(model, images(), tiny.HashSpace(), concepts=["red"], cache_dir=None)
    assert scalars["monitor/global_step"] == 40
    assert {key: scalars[key] for key in found.scalars} == pytest.approx(
        dict(found.scalars), rel=0, abs=0, nan_ok=True
    )


def test_batch_by_batch_the_numbers_are_those_of_a_pass() -> None:
    model = network().eval()
    session = Session(options())
    session.start(model, lambda: Source.of_loader(images()), Moment(0, 0))
    for batch in images():
        session.before_batch(batch)
        model(batch[0])
        session.after_batch(batch)
    assert same(session.finish(), Session(options()).measure(model, images(), epoch=0, step=0))


def _numpy_state() -> Any:
    return np.random.get_state()[1].copy()  # noqa: NPY002


def test_model_and_generators_are_as_before() -> None:
    model = network().train()
    before = {name: each.clone() for name, each in model.state_dict().items()}
    states = torch.get_rng_state(), random.getstate(), _numpy_state()
    session = Session(options())
    session.measure(model, images(), epoch=0, step=0)
    session.close()
    assert all(torch.equal(each, before[name]) for name, each in model.state_dict().items())
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks for module in model.modules())
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert (_numpy_state() == states[2]).all()


def test_without_a_space_only_its_metrics_are_missing() -> None:
    model = network()
    without = Session(options(space=None, ridge=0.1)).measure(model, images(), epoch=0, step=0)
    with_space = Session(options(ridge=0.1)).measure(model, images(), epoch=0, step=0)
    assert list(without) == list(expand(catalogue_of({"labels", "maps", "weights"})))
    assert 0 < without["probe/class_seen"] <= 1
    assert {"head/rank", "head/null_energy", "collapse/nc1", "monitor/accuracy"} <= without.keys()
    assert not any(key.startswith(("sing/", "translator/", "support/")) for key in without)
    # A probe without embeddings is the same probe, whatever the order of its images.
    for key in without.keys() - set(APART) - {"head/null_energy_random"}:
        assert without[key] == pytest.approx(with_space[key], rel=1e-9, nan_ok=True), key


@pytest.mark.parametrize("names", [["7", "8", "9", "10"], ["x"] * 4])
def test_without_a_space_class_names_need_not_be_words(names: list[str]) -> None:
    with warnings.catch_warnings(record=True) as without:
        warnings.simplefilter("always")
        session = Session(options(space=None, class_names=names))
        session.measure(network(), images(), epoch=0, step=0)
    assert not [each for each in without if "names" in str(each.message)]
    with pytest.warns(UserWarning, match="look like ids|share a name"):
        Session(options(class_names=names)).measure(network(), images(), epoch=0, step=0)


@pytest.mark.parametrize(
    ("images", "has_pictures", "reason"),
    [
        (torch.rand(32, 3, 8, 8), True, "already in \\[0, 1\\]"),
        (torch.randint(256, (32, 1, 8, 8)).byte(), True, "uint8"),
        (torch.randn(32, 3, 8, 8) * 100, False, "no pictures: The scale of the pixels is unknown"),
    ],
)
def test_without_a_space_pictures_are_kept_where_the_pixels_are_sure(
    images: torch.Tensor, has_pictures: bool, reason: str
) -> None:
    data = Named(images)
    model = nn.Sequential(
        Floats(), nn.Flatten(), nn.Linear(images[0].numel(), 16), nn.Linear(16, 4)
    )
    session = Session(options(space=None, n_images=8))
    found = session.measure(model, tiny.loader(data), epoch=0, step=0)
    capture = session.capture
    assert found["monitor/samples"] == 32
    assert len(capture.embedder.thumbnails) == (32 if has_pictures else 0)
    assert capture.collector is not None
    assert capture.collector.setup is not None
    assert capture.collector.setup.class_names == tiny.CLASSES
    assert re.search(reason, str(capture.report(32)))


def test_a_later_batch_of_another_scale_costs_the_pictures_alone() -> None:
    images = torch.rand(32, 3, 8, 8)
    images[20:] *= 100
    session = Session(options(space=None))
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 16), nn.ReLU(), nn.Linear(16, 4))
    assert session.measure(model, tiny.loader(Named(images)), epoch=0, step=0)["head/rank"] == 4
    assert not session.capture.embedder.thumbnails


def test_without_a_space_pixels_may_be_of_any_scale() -> None:
    values = torch.randn(32, 3, 8, 8) * 100
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 16), nn.ReLU(), nn.Linear(16, 4))
    data = torch.utils.data.TensorDataset(values, torch.arange(32) % 4)
    found = Session(options(space=None)).measure(model, tiny.loader(data), epoch=0, step=0)
    assert found["monitor/samples"] == 32
    assert found["head/null_dim"] == 12


def test_without_a_space_many_bands_are_told_apart_by_some() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(13 * 64, 16), nn.ReLU(), nn.Linear(16, 4))
    data = torch.utils.data.TensorDataset(torch.randn(32, 13, 8, 8), torch.arange(32) % 4)

    def adapter(batch: Any) -> Batch:
        return Batch(batch[0], batch[1], pictures=batch[0][:, [0, 1, 2]])

    chosen = options(space=None, batch_adapter=adapter)
    found = Session(chosen).measure(model, tiny.loader(data), epoch=0, step=0)
    assert (found["monitor/samples"], found["head/null_dim"]) == (32, 12)


def test_drift_and_alerts_go_on_from_validation_to_validation() -> None:
    model, session = network(), Session(options())
    first = session.measure(model, images(), epoch=0, step=0)
    with torch.no_grad():
        model[-1].weight.add_(torch.randn(model[-1].weight.shape))
    second = session.measure(model, images(), epoch=1, step=1)
    assert math.isnan(first["head/drift"])
    assert second["head/drift"] > 0
    assert first["translator/ridge"] == second["translator/ridge"]


def test_epochs_in_between_are_not_analyzed() -> None:
    model, session = network(), Session(options(every_n_epochs=2))
    found = [session.measure(model, images(), epoch=epoch, step=epoch) for epoch in range(3)]
    assert [math.isnan(each["head/rank"]) for each in found] == [False, True, False]


def test_a_fault_costs_the_numbers_and_not_the_loop() -> None:
    class Broken(tiny.HashSpace):
        def encode_images(self, images: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("out of coffee")

    with pytest.warns(UserWarning, match="out of coffee"):
        found = Session(options(space=Broken())).measure(network(), images(), epoch=0, step=0)
    assert math.isnan(found["sing/image_score"])
    with pytest.raises(SetupError, match="out of coffee"):
        Session(options(space=Broken(), on_error="raise")).measure(
            network(), images(), epoch=0, step=0
        )


def test_an_option_in_an_error_is_spelled_as_a_keyword() -> None:
    with pytest.raises(SetupError, match="ridge=-1: expected"):
        Options(ridge=-1)


@pytest.mark.parametrize("kind", ["folder", "sqlite"])
def test_a_run_of_its_own_is_read_back(tmp_path: Path, kind: str) -> None:
    uri = str(tmp_path / "runs") if kind == "folder" else f"sqlite:///{tmp_path / 'mlflow.db'}"
    model, session = network(), Session(options(tracking=uri), spool_root=tmp_path)
    logged = [session.measure(model, images(), epoch=e, step=10 * e) for e in range(2)]
    session.close()
    (run,) = list_runs(uri).to_dict("records")
    assert run["status"] == "FINISHED"
    reader = RunReader(uri, run["run_id"])
    assert reader.validations() == [(0, 0), (1, 10)]
    curves = reader.scalars(["sing/image_score"])
    assert curves["sing/image_score"].tolist() == [each["sing/image_score"] for each in logged]
    assert len(reader.table("classes", 1, 10)) == len(tiny.CLASSES)


def test_a_training_alone_keeps_its_curves_whatever_rank_the_cluster_gave_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_PROCID", "3")
    uri = str(tmp_path / "runs")
    session = Session(options(tracking=uri, probe=images()))
    found = session.measure(network(), images(), epoch=0, step=0)
    session.close()
    (run,) = list_runs(uri).to_dict("records")
    curves = RunReader(uri, run["run_id"]).scalars(["sing/image_score"])
    assert curves["sing/image_score"].tolist() == [found["sing/image_score"]]


def test_a_resumed_training_continues_its_run(tmp_path: Path) -> None:
    uri = str(tmp_path / "runs")
    model, first = network(), Session(options(tracking=uri))
    first.measure(model, images(), epoch=0, step=0)
    first.close("KILLED")
    again = Session(options(tracking=uri), state=first.state)
    again.measure(model, images(), epoch=1, step=10)
    again.close()
    (run,) = list_runs(uri).to_dict("records")
    assert (run["status"], RunReader(uri, run["run_id"]).validations()) == (
        "FINISHED",
        [(0, 0), (1, 10)],
    )
