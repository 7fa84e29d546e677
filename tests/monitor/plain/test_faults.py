"""Loops that go wrong: a sentence or the right number, and the training goes on."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mlflow import MlflowClient
from torch import nn

from sing_monitor import Monitor
from sing_monitor.errors import SetupError
from sing_monitor.monitor import Watch
from sing_monitor.tracking import RunReader, list_runs
from tests.helpers import tiny
from tests.helpers.disturbed import said_by_the_monitor
from tests.helpers.loops import images, monitor, quick, validate, watched
from tests.helpers.stores.databases import empty_database

BATCHES = list(images())


@pytest.fixture
def model() -> nn.Module:
    return tiny.Classifier().network.eval()


def has_hooks(model: nn.Module) -> bool:
    return any(each._forward_hooks or each._forward_pre_hooks for each in model.modules())


def add_all(model: nn.Module, watch: Watch) -> None:
    for inputs, labels in BATCHES:
        model(inputs)
        watch.add(inputs, labels)


def in_block(
    watching: Monitor,
    model: nn.Module,
    loop: Callable[[nn.Module, Watch], object],
    epoch: Any = 0,
    **given: Any,
) -> Watch:
    """The watch of a block, after its end."""
    with watching.epoch(epoch, **given) as watch:
        loop(model, watch)
    return watch


def nothing(model: nn.Module, watch: Watch) -> None:
    pass


def never_added(model: nn.Module, watch: Watch) -> None:
    for inputs, _ in BATCHES:
        model(inputs)


def not_run(model: nn.Module, watch: Watch) -> None:
    watch.add(*BATCHES[0])


def another_model(model: nn.Module, watch: Watch) -> None:
    add_all(tiny.Classifier(seed=1).network.eval(), watch)


def training_mode(model: nn.Module, watch: Watch) -> None:
    add_all(model.train(), watch)


def no_labels(model: nn.Module, watch: Watch) -> None:
    inputs, _ = BATCHES[0]
    model(inputs)
    watch.add(inputs)


def none_has_a_class(model: nn.Module, watch: Watch) -> None:
    for inputs, labels in BATCHES:
        model(inputs)
        watch.add(inputs, torch.full_like(labels, -1))


def other_images(model: nn.Module, watch: Watch) -> None:
    inputs, labels = BATCHES[0]
    model(inputs[:10])
    watch.add(inputs, labels)


def two_passes(model: nn.Module, watch: Watch) -> None:
    for inputs, labels in BATCHES:
        model(inputs)
        model(inputs.flip(-1))
        watch.add(inputs, labels)


def with_an_adapter(model: nn.Module, watch: Watch) -> None:
    inputs, labels = BATCHES[0]
    model(inputs)
    watch.add(inputs, labels, group=labels)


@pytest.mark.parametrize(
    ("loop", "sentence"),
    [
        (nothing, r"the model has not run, and watch\.add\(images, labels\) was never called"),
        (never_added, r"has run 3 times, and watch\.add\(images, labels\) was never called"),
        (not_run, "the model under watch has not run in this block"),
        (another_model, r"Call it after every .*monitor\.epoch\(epoch, model=\.\.\.\)"),
        (training_mode, r"in training mode.* Call model\.eval\(\) before the validation"),
        (no_labels, r"and no labels\. Hand over one class index per image"),
        (none_has_a_class, "none of the 48 validation images has a class"),
        (
            other_images,
            r"the head saw 10 features for a batch of 16 images; .*Monitor\(model, batch_adapter=.*"
            r"monitor\.measure\(DataLoader\(\.\.\.\), epoch=epoch\)",
        ),
        (two_passes, r"the model has run 2 times for one watch\.add"),
        (with_an_adapter, r"watch\.add got group, and there is a Monitor\(model, batch_adapter="),
    ],
)
def test_a_loop_that_cannot_be_measured_is_told_why(
    loop: Callable[[nn.Module, Watch], None], sentence: str, model: nn.Module
) -> None:
    adapter: Any = (lambda batch: batch) if loop is with_an_adapter else None
    watching = quick(model, batch_adapter=adapter)
    with pytest.warns(UserWarning, match=sentence):
        watch = in_block(watching, model, loop)
    assert math.isnan(watch.scalars["head/rank"])
    assert not has_hooks(model)
    watching.close()
    strict = quick(model.eval(), batch_adapter=adapter, on_error="raise")
    with pytest.raises(SetupError, match=sentence):
        in_block(strict, model, loop)
    assert not has_hooks(model)


def test_a_fault_costs_one_epoch(model: nn.Module, tmp_path: Path) -> None:
    watching = quick(model, tracking_uri=str(tmp_path))
    ranks = [watched(watching, model, 0)["head/rank"]]
    with pytest.warns(UserWarning, match="no scores for epoch 1: in the block of epoch 1"):
        watch = in_block(watching, model, nothing, 1, metrics={"val_loss": 0.5})
    ranks.append(watch.scalars["head/rank"])
    ranks.append(watched(watching, model, 2)["head/rank"])
    watching.close()
    assert [math.isnan(each) for each in ranks] == [False, True, False]
    curves = RunReader(str(tmp_path), watching.run_id).scalars(["head/rank"], ["val_loss"])
    # What is the user's own is logged all the same.
    assert curves["val_loss"].tolist()[1] == 0.5
    assert curves["head/rank"].isna().tolist() == [False, True, False]


def labels_beyond_the_head(model: nn.Module, watch: Watch) -> None:
    for inputs, labels in BATCHES:
        model(inputs)
        watch.add(inputs, labels + 3)


@pytest.mark.parametrize("loop", [nothing, no_labels, training_mode, none_has_a_class])
def test_a_fault_of_the_first_block_costs_that_epoch_alone(
    loop: Callable[[nn.Module, Watch], None], model: nn.Module
) -> None:
    watching = quick(model)
    with pytest.warns(UserWarning, match="no scores for epoch 0: "):
        in_block(watching, model, loop)
    with said_by_the_monitor() as said:
        assert watched(watching, model, 1)["head/rank"] == 4
    assert said == []


def test_a_set_up_that_is_wrong_turns_the_monitor_off(model: nn.Module) -> None:
    watching = quick(model)
    with pytest.warns(UserWarning, match="turned off for this run: A label .* is 6, but the head"):
        in_block(watching, model, labels_beyond_the_head)
    with said_by_the_monitor() as said:
        assert math.isnan(watched(watching, model, 1)["head/rank"])
    assert said == []


def test_a_set_up_that_was_right_before_is_not_wrong_for_good(model: nn.Module) -> None:
    watching = quick(model)
    watched(watching, model, 0)
    with pytest.warns(UserWarning, match="no scores for epoch 1: A label .* is 6, but the head"):
        in_block(watching, model, labels_beyond_the_head, 1)
    assert watched(watching, model, 2)["head/rank"] == 4


def test_a_head_without_a_shape_costs_the_epoch_that_gives_it_one() -> None:
    lazy = nn.Sequential(nn.Flatten(), nn.LazyLinear(4)).eval()
    watching = quick(lazy)
    with pytest.warns(UserWarning, match="no scores for epoch 0: .* has no shape yet"):
        in_block(watching, lazy, add_all)
    assert watched(watching, lazy, 1)["head/rank"] == 4


def short(model: nn.Module, watch: Watch) -> None:
    inputs, labels = BATCHES[0]
    model(inputs)
    watch.add(inputs, labels)


@pytest.mark.parametrize("tells_the_loader", [True, False])
def test_images_that_a_shorter_first_block_left_out_are_not_taken_for_others(
    tells_the_loader: bool, model: nn.Module
) -> None:
    watching = monitor(model, loader=images() if tells_the_loader else None, on_error="warn")
    with said_by_the_monitor():
        in_block(watching, model, short)
    with said_by_the_monitor() as said:
        samples = [watched(watching, model, epoch)["monitor/samples"] for epoch in (1, 2)]
    assert samples == [48, 48]
    assert not any("not seen before" in each for each in said)


def test_what_is_left_out_after_a_shorter_block_is_said_as_it_is(model: nn.Module) -> None:
    watching = quick(model)
    watched(watching, model, 0)
    with said_by_the_monitor() as said:
        in_block(watching, model, short, 1)
        lost = watched(watching, model, 2)["monitor/skipped"]
        assert watched(watching, model, 3)["monitor/skipped"] == 0
    (sentence,) = (each for each in said if "leave out" in each)
    assert f"scores of epoch 2 leave out: {lost:.0f}." in sentence
    # They were in the one before that.
    assert "They were not in the validation before it." in sentence


@pytest.mark.parametrize("tells_the_loader", [True, False])
def test_other_images_in_every_block_turn_the_monitor_off(
    tells_the_loader: bool, model: nn.Module
) -> None:
    watching = monitor(model, loader=images() if tells_the_loader else None, on_error="warn")
    watched(watching, model, 0)
    with pytest.warns(UserWarning, match="turned off for this run: .* were not seen before"):
        found = watched(watching, model, 1, tiny.loader(tiny.Blobs(seed=5)))
    assert math.isnan(found["sing/image_score"])


@pytest.mark.parametrize("values", [slice(None), 0])
@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("watcher", [monitor, quick])
def test_images_that_are_no_numbers_any_more_cost_their_epoch_alone(
    watcher: Callable[..., Monitor], number: float, values: slice | int, model: nn.Module
) -> None:
    """They are not taken for others, even where they are a third of all."""

    def spoilt(model: nn.Module, watch: Watch) -> None:
        for place, (inputs, labels) in enumerate(BATCHES):
            inputs = inputs.clone()
            if place < (len(BATCHES) + 2) // 3:
                inputs[:, 0, values, 0] = number
            model(inputs)
            watch.add(inputs, labels)

    watching = watcher(model, loader=images(), on_error="warn")
    watched(watching, model, 0)
    with pytest.warns(UserWarning, match="no scores for epoch 1: .*NaN"):
        in_block(watching, model, spoilt, 1)
    for epoch in (2, 3):
        found = watched(watching, model, epoch)
        assert (found["monitor/samples"], found["monitor/skipped"]) == (48, 0)
        assert found["head/rank"] == 4


@pytest.mark.parametrize(
    ("tells_the_loader", "before", "loop", "skipped"),
    [
        (True, False, nothing, 48.0),
        (False, False, nothing, math.nan),  # nobody knows how many there are
        (False, True, nothing, 48.0),  # as many as before
        (False, False, none_has_a_class, 48.0),  # as many as came
    ],
)
def test_a_failed_epoch_tells_how_many_images_it_lost_if_that_is_known(
    tells_the_loader: bool,
    before: bool,
    loop: Callable[[nn.Module, Watch], None],
    skipped: float,
    model: nn.Module,
) -> None:
    watching = quick(model, loader=images() if tells_the_loader else None)
    if before:
        watched(watching, model, 0)
    with pytest.warns(UserWarning, match="no scores for epoch 1"):
        watch = in_block(watching, model, loop, 1)
    assert watch.scalars["monitor/skipped"] == pytest.approx(skipped, nan_ok=True)


def test_metrics_of_ones_own_are_logged_though_nothing_was_understood(
    model: nn.Module, tmp_path: Path
) -> None:
    uri = empty_database(tmp_path / "mlflow.db")
    watching = quick(model, tracking_uri=uri)
    with pytest.warns(UserWarning, match="never called"):
        in_block(watching, model, lambda _, watch: watch.log({"val_loss": 0.5}), step=5)
    watching.close()
    (point,) = MlflowClient(uri).get_metric_history(str(watching.run_id), "val_loss")
    assert (point.value, point.step) == (0.5, 5)


def test_a_batch_that_comes_twice_counts_once(model: nn.Module) -> None:
    watching = quick(model)
    expected = watched(watching, model, 0)

    def twice(model: nn.Module, watch: Watch) -> None:
        for inputs, labels in BATCHES:
            model(inputs)
            watch.add(inputs, labels)
            watch.add(inputs, labels)

    with pytest.warns(UserWarning, match="the second batch is left out"):
        watch = in_block(watching, model, twice, step=1)
    assert watch.scalars["monitor/samples"] == 48
    assert watch.scalars["head/null_energy"] == expected["head/null_energy"]


def test_a_stray_pass_costs_one_batch_which_is_counted(model: nn.Module) -> None:
    watching = quick(model)

    def after_another(model: nn.Module, watch: Watch) -> None:
        model(BATCHES[0][0][:1])  # as to draw the graph
        add_all(model, watch)

    with pytest.warns(UserWarning, match="has run 2 times for one"):
        watch = in_block(watching, model, after_another)
    assert watch.scalars["monitor/samples"] == 32
    assert watch.scalars["monitor/skipped"] == 16


def test_images_without_a_class_are_left_out(model: nn.Module) -> None:
    watching = quick(model)
    with watching.epoch(0) as watch:
        for inputs, labels in BATCHES:
            model(inputs)
            watch.add(inputs, labels.where(labels > 0, -1))
    assert watch.scalars["monitor/samples"] == 36


def test_an_exception_of_the_loop_passes_on_and_leaves_nothing_behind(
    model: nn.Module, tmp_path: Path
) -> None:
    watching = quick(model, tracking_uri=str(tmp_path))
    watched(watching, model, 0)
    seen = []

    def fails(model: nn.Module, watch: Watch) -> None:
        seen.append(watch)
        add_all(model, watch)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        in_block(watching, model, fails, 1)
    assert seen[0].scalars == {}
    assert not has_hooks(model)
    # A loop that catches it goes on.
    assert watched(watching, model, 2)["monitor/samples"] == 48
    watching.close("FAILED")
    assert RunReader(str(tmp_path), watching.run_id).validations() == [(0, 0), (2, 2)]
    assert list_runs(str(tmp_path))["status"].tolist() == ["FAILED"]


def test_an_epoch_that_goes_back_is_refused_and_overwrites_nothing(
    model: nn.Module, tmp_path: Path
) -> None:
    watching = quick(model, tracking_uri=str(tmp_path))
    for epoch in (0, 1):
        watched(watching, model, epoch)
    with said_by_the_monitor() as said:
        for epoch in (0, 0):
            assert in_block(watching, model, add_all, epoch).scalars == {}
        assert watching.measure(images(), epoch=0) == {}
    (warning,) = said
    assert "epoch 0 comes after epoch 1" in warning
    assert "Make a monitor for every training" in warning
    # A checkpoint of that time brings its state.
    state = {**watching.state_dict(), "last_epoch": 0}
    watching.load_state_dict(state)
    watched(watching, model, 1, step=9)
    watching.close()
    curves = RunReader(str(tmp_path), watching.run_id).scalars(["head/rank"])
    assert curves["head/rank"].notna().tolist() == [True, True, True]


def test_a_second_validation_of_an_epoch_needs_a_step(model: nn.Module, tmp_path: Path) -> None:
    watching = quick(model, tracking_uri=str(tmp_path))
    for step in (5, 10):
        watched(watching, model, 0, step=step)
    watched(watching, model, 1)
    with pytest.warns(UserWarning, match="epoch 1 is validated again without a step"):
        watched(watching, model, 1)
    watching.close()
    places = RunReader(str(tmp_path), watching.run_id).validations()
    assert places == [(0, 5), (0, 10), (1, 1)]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"epoch": "one"}, "epoch='one': expected an integer of at least 0"),
        ({"epoch": -1}, "epoch=-1: expected"),
        ({"epoch": 0, "step": 1.5}, "step=1.5: expected an integer"),
    ],
)
def test_an_epoch_is_a_number(given: dict[str, Any], sentence: str, model: nn.Module) -> None:
    with pytest.warns(UserWarning, match=sentence):
        watch = in_block(quick(model), model, add_all, **given)
    assert watch.scalars == {}
    with pytest.raises(SetupError, match=sentence):
        quick(model, on_error="raise").epoch(**given)


def test_blocks_come_one_after_the_other_until_the_end(model: nn.Module) -> None:
    watching = quick(model)
    with watching.epoch(0) as outer:
        with pytest.warns(UserWarning, match="the block of epoch 0 has not ended"):
            assert watching.measure(images(), epoch=1) == {}
        add_all(model, outer)
    assert outer.scalars["monitor/samples"] == 48
    with pytest.warns(UserWarning, match=r"belongs into the block of `with monitor\.epoch"):
        outer.add(*BATCHES[0])
    with pytest.warns(UserWarning, match=r"watch\.log belongs into the block"):
        outer.log({"late": 1.0})
    watching.close()
    watching.close()
    with pytest.warns(UserWarning, match="the monitor is closed"):
        in_block(watching, model, nothing, 1)


@pytest.mark.parametrize(
    ("metrics", "sentence"),
    [
        ({"loss//val": 1.0}, "'loss//val' cannot be the name of a metric"),
        ({"verlust€": 1.0}, "cannot be the name of a metric"),
        ({"loss": torch.ones(2)}, r"the metric 'loss' is .*expected one number"),
        ([0.5], "expected numbers by name"),
    ],
)
def test_a_metric_that_no_tracker_takes_is_left_out(
    metrics: Any, sentence: str, model: nn.Module
) -> None:
    watching = quick(model)

    def with_metrics(model: nn.Module, watch: Watch) -> None:
        add_all(model, watch)
        watch.log(metrics)

    with pytest.warns(UserWarning, match=sentence):
        watch = in_block(watching, model, with_metrics)
    assert watch.scalars["monitor/samples"] == 48
    assert watch.metrics == {}


def test_a_metric_of_ones_own_does_not_replace_ours(model: nn.Module, tmp_path: Path) -> None:
    watching = quick(model, tracking_uri=str(tmp_path))
    metrics = {"head/rank": 99.0, "epoch": 3, "mine": 1.0}
    with pytest.warns(UserWarning, match=r"'epoch', 'head/rank'.*names of the monitor's own"):
        in_block(watching, model, add_all, metrics=metrics)
    watching.close()
    curves = RunReader(str(tmp_path), watching.run_id).scalars(["head/rank"], ["mine"])
    assert curves[["epoch", "head/rank", "mine"]].to_numpy().tolist() == [[0, 4.0, 1.0]]


def test_another_accuracy_than_that_of_the_head_is_said(model: nn.Module) -> None:
    watching = quick(model)
    with pytest.warns(UserWarning, match=r"val_acc = 0\.990"):
        in_block(watching, model, add_all, metrics={"val_acc": 99.0})


def test_a_monitor_may_be_closed_in_its_block(model: nn.Module, tmp_path: Path) -> None:
    watching = quick(model, tracking_uri=str(tmp_path))
    watched(watching, model, 0)
    watch = in_block(watching, model, lambda *_: watching.close("KILLED"), 1)
    assert watch.scalars == {}
    (run,) = list_runs(str(tmp_path)).to_dict("records")
    assert run["status"] == "KILLED"
    assert RunReader(str(tmp_path), run["run_id"]).scalars()["epoch"].tolist() == [0]


def test_a_training_without_a_validation_is_said(model: nn.Module) -> None:
    with pytest.warns(UserWarning, match="there was no validation"):
        quick(model).close()


def test_a_model_without_a_head_is_refused_before_the_training() -> None:
    with pytest.raises(SetupError, match="head"):
        quick(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()))
    with pytest.raises(SetupError, match=r'Monitor\(model, head="\.\.\."\)|is no module'):
        quick(tiny.Classifier().network, head="fc")
    # What gets its shape at the first batch is found there.
    lazy = nn.Sequential(nn.Flatten(), nn.LazyLinear(8), nn.ReLU(), nn.LazyLinear(4)).eval()
    with quick(lazy).epoch(0) as watch, torch.no_grad():
        validate(lazy, images(), watch)
    assert watch.scalars["head/null_dim"] == 4
