"""Monitor in loops of one's own: the right numbers, whatever the loop looks like."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

import sing_monitor
from sing_monitor.errors import SetupError
from sing_monitor.monitor import Monitor, Options, Session, Watch
from sing_monitor.tracking import RunReader, list_runs
from tests.helpers import tiny
from tests.helpers.loops import images, monitor, quick, same, validate, watched

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return tiny.Classifier().network


@pytest.fixture(scope="module")
def passes(model: nn.Module) -> list[dict[str, float]]:
    """What the engine finds in passes of its own, in two epochs."""
    chosen = Options(
        tiny.HashSpace(), cache_dir=None, concepts=["red", "striped"], n_maps=8, on_error="raise"
    )
    session = Session(chosen)
    return [session.measure(model, images(), epoch=e, step=10 * e) for e in range(2)]


def test_the_loop_gives_the_numbers_of_a_pass(
    model: nn.Module, passes: list[dict[str, float]]
) -> None:
    watching = monitor(model, loader=images())
    for epoch, expected in enumerate(passes):
        assert same(watched(watching, model, epoch, step=10 * epoch), expected)
    # From the second pass on nothing looks at pixels, and maps are still taken.
    assert passes[1]["similarity/images"] == 8
    watching.close()
    assert not any(each._forward_hooks or each._forward_pre_hooks for each in model.modules())


def test_measure_makes_a_pass_of_its_own(model: nn.Module, passes: list[dict[str, float]]) -> None:
    watching = monitor(model.train())
    assert same(watching.measure(images(), epoch=0, step=0), passes[0])
    assert model.training
    # Without a step, the epoch takes its place.
    assert watching.measure(images(), epoch=1)["monitor/global_step"] == 1


def test_without_a_loader_names_are_an_option(
    model: nn.Module, passes: list[dict[str, float]]
) -> None:
    watching = monitor(model, class_names=tiny.CLASSES)
    assert same(watched(watching, model, step=0), passes[0])


@pytest.mark.parametrize("block", [torch.enable_grad, torch.inference_mode])
def test_gradients_are_of_no_matter(
    block: Callable[[], AbstractContextManager[None]],
    model: nn.Module,
    passes: list[dict[str, float]],
) -> None:
    watching = monitor(model.eval(), loader=images())
    with block(), watching.epoch(0) as watch:
        for inputs, labels in images():
            if block is torch.enable_grad:
                inputs.requires_grad_()
            model(inputs)
            watch.add(inputs, labels)
    assert same(watch.scalars, passes[0])
    assert all(each.grad is None for each in model.parameters())


def test_autocast_of_the_loop_is_that_of_the_model_alone(
    model: nn.Module, passes: list[dict[str, float]]
) -> None:
    watching = monitor(model.eval(), loader=images())
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16), watching.epoch(0) as watch:
        for inputs, labels in images():
            with torch.autocast("cpu", enabled=False):
                model(inputs)
            watch.add(inputs, labels)
    assert same(watch.scalars, passes[0])
    # In a pass of its own, too, the model runs as the loop runs it.
    with torch.autocast("cpu", torch.bfloat16):
        cast = monitor(model, loader=images()).measure(images(), epoch=0)
    assert cast["head/null_energy"] != passes[0]["head/null_energy"]
    assert cast["head/null_energy"] == pytest.approx(passes[0]["head/null_energy"], rel=0.05)


def test_a_batch_may_be_handed_over_whole_or_with_all_that_is_known(model: nn.Module) -> None:
    class Known(tiny.Blobs):
        def __getitem__(self, index: int) -> Any:
            image, label = super().__getitem__(index)
            return {"image": image, "label": label, "half": label // 2, "object": index // 2}

    loader = tiny.loader(Known())
    halves = ("animal", "thing")

    def adapter(batch: Any) -> Any:
        return {**batch, "attributes": {"half": (batch["half"], halves)}, "group": batch["object"]}

    found = []
    for options in ({"batch_adapter": adapter}, {}):
        watching = monitor(model.eval(), loader=loader, **options)
        with torch.no_grad(), watching.epoch(0) as watch:
            for batch in loader:
                model(batch["image"])
                if options:
                    watch.add(batch)
                else:
                    about = {"attributes": {"half": (batch["half"], halves)}}
                    watch.add(batch["image"], batch["label"], group=batch["object"], **about)
        found.append(watch.scalars)
    assert "attribute/half_retention_seen" in found[0]
    assert same(found[0], found[1])


def test_an_averaged_copy_may_be_validated_in_place_of_the_model(model: nn.Module) -> None:
    averaged = AveragedModel(model)
    with torch.no_grad():
        averaged.module[-1].weight.mul_(torch.linspace(0.5, 2, 16))
    watching = quick(model)
    plain = watched(watching, model, 0)
    averaged.eval()
    with watching.epoch(1, model=averaged.module) as watch, torch.no_grad():
        validate(averaged, images(), watch)
    found = watch.scalars
    expected = quick(averaged.module).measure(images(), epoch=0)
    assert found["head/null_energy"] == expected["head/null_energy"] != plain["head/null_energy"]
    # The curve goes on: what has changed is the head that answers.
    assert found["head/drift"] > 0


def test_metrics_of_ones_own_lie_beside_ours(tmp_path: Path, model: nn.Module) -> None:
    uri = str(tmp_path)
    with quick(model, tracking_uri=uri, experiment="mine", run_name="first") as watching:
        model.eval()
        for epoch in range(2):
            given = {"train/loss": 2.0 - epoch}
            with watching.epoch(epoch, step=7 * epoch, metrics=given) as watch, torch.no_grad():
                loss = validate(model, images(), watch)
                watch.log({"val_loss": torch.tensor(loss), "epoch": epoch})
        assert watch.scalars["monitor/samples"] == 48
    (run,) = list_runs(uri, "mine").to_dict("records")
    assert (run["run_name"], run["status"], run["sing.way"]) == ("first", "FINISHED", "plain")
    assert run["run_id"] == watching.run_id
    curves = RunReader(uri, run["run_id"]).scalars(["head/rank"], ["train/loss", "val_loss"])
    assert curves["step"].tolist() == curves["global_step"].tolist() == [0, 7]
    assert curves["epoch"].tolist() == [0, 1]
    assert curves["train/loss"].tolist() == [2.0, 1.0]
    assert curves["val_loss"].tolist() == [pytest.approx(loss)] * 2
    assert curves["head/rank"].notna().all()


def test_a_resumed_training_goes_on_in_its_run(tmp_path: Path, model: nn.Module) -> None:
    uri, path = str(tmp_path / "runs"), tmp_path / "checkpoint.pt"
    first = monitor(model, tracking_uri=uri)
    first.measure(images(), epoch=0, step=10)
    torch.save(first.state_dict(), path)
    first.close("KILLED")
    again = monitor(model, tracking_uri=uri)
    again.load_state_dict(torch.load(path, weights_only=True))
    found = again.measure(images(), epoch=1, step=20)
    again.close()
    (run,) = list_runs(uri).to_dict("records")
    assert run["status"] == "FINISHED"
    assert RunReader(uri, run["run_id"]).validations() == [(0, 10), (1, 20)]
    assert found["head/drift"] == 0
    assert found["dynamics/window"] == 2
    with pytest.raises(SetupError, match=r"as monitor\.state_dict\(\) gives it"):
        again.load_state_dict({"model": {}})


@pytest.mark.parametrize(
    ("error", "status"), [(ValueError, "FAILED"), (KeyboardInterrupt, "KILLED")]
)
def test_a_run_tells_how_its_training_ended(
    tmp_path: Path, model: nn.Module, error: type[BaseException], status: str
) -> None:
    with pytest.raises(error), quick(model, tracking_uri=str(tmp_path)) as watching:  # noqa: PT012
        watching.measure(images(), epoch=0)
        raise error
    assert list_runs(str(tmp_path))["status"].tolist() == [status]


def test_a_check_says_before_a_training_what_is_used(
    model: nn.Module, caplog: pytest.LogCaptureFixture
) -> None:
    watching = monitor(model.train())
    with caplog.at_level("INFO"):
        report = watching.check(images())
    assert "cat, dog, ship, tree" in str(report)
    assert model.training
    with pytest.raises(SetupError, match="check needs a loader, got None"):
        watching.check(None)


def test_the_names_are_where_people_look_for_them() -> None:
    assert sing_monitor.Monitor is Monitor
    assert {"Monitor", "analyze"} <= set(dir(sing_monitor))
    assert isinstance(quick(tiny.Classifier().network).epoch(0), Watch)


@pytest.mark.parametrize("given", [Options(space=None), "ViT-B-32"])
def test_what_is_no_model_is_refused_with_the_call_that_works(given: Any) -> None:
    with pytest.raises(SetupError, match=r'Monitor\(model, tracking_uri="sqlite:///mlflow.db"'):
        Monitor(given)


def test_it_needs_neither_lightning_nor_mlflow(tmp_path: Path) -> None:
    code = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        blocked = ("lightning", "lightning_fabric", "mlflow", "pytorch_lightning")
        if name.partition(".")[0] in blocked:
            raise ModuleNotFoundError(f"{name} is not installed")

sys.meta_path.insert(0, Blocked())
import torch
from sing_monitor import Monitor

model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 8), torch.nn.Linear(8, 3))
monitor = Monitor(model.eval(), tracking_uri=sys.argv[1], space=None)
with monitor.epoch(0) as watch:
    images = torch.rand(24, 3, 2, 2)
    model(images)
    watch.add(images, torch.arange(24) % 3)
print(watch.scalars["head/null_dim"])
monitor.close()
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["5.0"]
    assert len(list_runs(str(tmp_path))) == 1
