"""The tap on the stages: which rows it takes, and what it leaves out."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sing_monitor.capture.device_rows import BatchRows
from sing_monitor.capture.head_tap import HeadTap
from sing_monitor.capture.probe import hashes
from sing_monitor.capture.stages.tap import StageTap
from tests.capture.stages.taking import take_stages
from tests.helpers.maps import CLASSES, build, images, timm_model
from tests.helpers.waiting import Waits, pretended_gpu


class Net(nn.Module):
    """Two convolutions around anything, a mean and a head."""

    def __init__(self, middle: nn.Module | None = None, channels: int = 6) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, channels, 3, stride=4)
        self.middle = nn.Identity() if middle is None else middle
        self.last = nn.Conv2d(channels, 5, 3)
        self.fc = nn.Linear(5, CLASSES)

    def forward(self, x: Tensor) -> Any:
        found = self.middle(self.first(x))
        found = found if isinstance(found, Tensor) else found[0]
        return self.fc(self.last(found).mean(dim=(2, 3)))


def net(middle: nn.Module | None = None) -> Net:
    return build(lambda: Net(middle))  # type: ignore[return-value]


class Apply(nn.Module):
    """A module that computes any function of its input."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Any:
        return self.function(x)


def outputs(model: nn.Module, pictures: Tensor, names: list[str]) -> dict[str, Tensor]:
    """Outputs of modules by hooks of the test's own, in the order of the calls."""
    found: dict[str, Tensor] = {}
    handles = [
        model.get_submodule(name).register_forward_hook(
            lambda _module, _args, output, name=name: found.update({name: output.clone()})
        )
        for name in names
    ]
    with torch.no_grad():
        model(pictures)
    for handle in handles:
        handle.remove()
    return found


@pytest.mark.parametrize(
    ("name", "side", "stages"),
    [
        ("resnet18", 32, ["act1", "layer1", "layer2", "layer3", "layer4"]),
        ("vit_tiny_patch16_224", 32, [f"blocks.{i}" for i in (0, 2, 3, 5, 6, 8, 9, 11)]),
        ("test_convnext", 64, [f"stages.{i}" for i in range(4)]),
    ],
)
def test_stages_of_timm_are_those_of_a_hook(name: str, side: int, stages: list[str]) -> None:
    changes = {"img_size": side} if "vit" in name else {}
    model, pictures = timm_model(name, **changes), images(6, side)
    taken = take_stages(model, pictures, batch_size=4, passes=2)
    assert taken.config == list(taken.features.values) == stages
    assert taken.left_out == {}
    assert taken.report == ", ".join(stages)
    for stage, expected in outputs(model, pictures, stages).items():
        tokens = expected.flatten(2).transpose(1, 2) if expected.ndim == 4 else expected
        ours = taken.features.values[stage]
        torch.testing.assert_close(ours, taken.of(tokens.mean(dim=1)), rtol=1e-4, atol=1e-5)


def test_every_pass_takes_the_same_images_whatever_their_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sing_monitor.capture.stages.tap.MOST_IMAGES", 6)
    pictures = images(20)
    pictures[10:12] = pictures[:2]
    taken = take_stages(net(), pictures, passes=3)
    smallest = hashes(torch.tensor(sorted(set(taken.ids)))).sort().values[:6]
    shuffled = take_stages(net(), pictures.flip(0), batch_size=3)
    for part in (*taken.passes, *shuffled.passes):
        assert part.features is not None
        assert torch.equal(hashes(part.features.image_ids).sort().values, smallest)
        assert part.features.values.keys() == {"first", "last"}
        for name, values in part.features.values.items():
            torch.testing.assert_close(values, taken.features.values[name])


def test_images_without_a_class_are_not_taken() -> None:
    labels = torch.arange(10) % CLASSES
    labels[3:5] = -1
    taken = take_stages(net(), labels=labels, passes=2)
    for part in taken.passes:
        assert part.features is not None
        assert len(part.features.image_ids) == 8
    everything = take_stages(net())
    kept = torch.isin(everything.features.image_ids, taken.features.image_ids)
    expected = everything.features.values["last"][kept]
    torch.testing.assert_close(taken.features.values["last"], expected)


def test_the_head_and_what_holds_it_are_said_to_be_no_stages() -> None:
    taken = take_stages(nn.Sequential(net()), layers=["0", "0.last", "0.fc"], passes=2)
    assert list(taken.features.values) == ["0.last"]
    behind = "it ends behind the head, or is the head"
    assert taken.left_out == {"0": behind, "0.fc": behind}


class TwoNetworks(nn.Module):
    """Two networks of timm and one head; the first is a teacher."""

    def __init__(self) -> None:
        super().__init__()
        self.teacher, self.student = timm_model("test_resnet"), timm_model("test_resnet")
        self.teacher.fc = self.student.fc = nn.Identity()
        self.fc = nn.Linear(96, CLASSES)

    def forward(self, x: Tensor) -> Any:
        self.teacher(x)
        return self.fc(self.student(x))


def test_a_teacher_of_timm_gives_no_stages_and_the_advice_works() -> None:
    found = take_stages(build(TwoNetworks), passes=2)
    assert [each.features for each in found.passes] == [None, None]
    assert "which modules lead to the head" in found.left_out[""]
    assert found.report.startswith("none: it is not clear which modules lead to the head")
    named = take_stages(build(TwoNetworks), layers=["student.layer1", "student.layer4"])
    assert list(named.features.values) == ["student.layer1", "student.layer4"]


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda x: (x, x), "gives a tuple, not one tensor"),
        (lambda x: [x], "gives a list, not one tensor"),
    ],
)
def test_another_output_than_a_tensor_is_left_out(function: Any, reason: str) -> None:
    taken = take_stages(net(Apply(function)), layers=["first", "middle", "last"])
    assert list(taken.features.values) == ["first", "last"]
    assert taken.left_out == {"middle": f"it {reason}"}
    assert taken.report == f"first, last; without middle (it {reason})"


class Reversed(nn.Module):
    """Rows that are locations, not images."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(2).permute(2, 0, 1)


class Odd(Net):
    """Calls its modules in odd ways."""

    def __init__(self) -> None:
        super().__init__()
        self.twice = nn.Conv2d(6, 6, 1)
        self.never = nn.Conv2d(6, 6, 1)
        self.reversed = Reversed()
        self.whole = Apply(lambda x: x.argmax(dim=1))
        self.total = Apply(lambda x: x.sum(dim=(1, 2, 3)))

    def forward(self, x: Tensor) -> Any:
        first = self.twice(self.twice(self.first(x)))
        self.reversed(first)
        self.whole(first)
        self.total(first)
        return self.fc(self.last(first).mean(dim=(2, 3)))


def test_what_gives_no_vector_for_each_image_is_left_out() -> None:
    names = ["last", "twice", "never", "reversed", "whole", "total"]
    taken = take_stages(build(Odd), layers=names, passes=2)
    assert list(taken.features.values) == ["last"]
    assert taken.left_out == {
        "twice": "it is called 2 times for a batch",
        "never": "it is not called",
        "reversed": "it gives 64 rows for a batch of 5 images",
        "whole": "it gives whole numbers (torch.int64)",
        "total": "it gives a tensor of shape (5,), no channels",
    }


class Widening(Net):
    """A module whose output has more channels from the third call on."""

    def __init__(self) -> None:
        super().__init__()
        self.aside, self.calls = nn.Identity(), 0

    def forward(self, x: Tensor) -> Any:
        self.calls += 1
        first = self.first(x)
        self.aside(first if self.calls < 3 else torch.cat([first, first], dim=1))
        return self.fc(self.last(first).mean(dim=(2, 3)))


def test_a_stage_that_changes_is_left_out_and_the_others_stay() -> None:
    few = take_stages(build(Widening), layers=["aside", "last"])
    assert list(few.features.values) == ["aside", "last"]
    taken = take_stages(build(Widening), images(20), layers=["aside", "last"])
    assert list(taken.features.values) == ["last"]
    assert taken.left_out == {"aside": "it gives 12 channels, and 6 before"}
    last = outputs(build(Widening), images(20), ["last"])["last"]
    torch.testing.assert_close(taken.features.values["last"], taken.of(last.mean(dim=(2, 3))))


def test_a_head_that_is_called_on_several_views_has_no_stages() -> None:
    def forward(model: nn.Module, x: Tensor) -> object:
        return (model(x) + model(x.flip(-1))) / 2

    taken = take_stages(net(), forward=forward)
    assert taken.passes[0].features is None
    assert "the head is called 2 times for each batch" in taken.left_out[""]
    assert taken.report.startswith("none: the head is called 2 times")


def test_what_runs_behind_the_head_does_not_count() -> None:
    def forward(model: nn.Module, x: Tensor) -> object:
        logits = model(x)
        model.first(x + 1)
        return logits

    taken = take_stages(net(), forward=forward, passes=2)
    expected = take_stages(net())
    for part in taken.passes:
        assert part.features is not None
        for name, values in expected.features.values.items():
            torch.testing.assert_close(part.features.values[name], values)


class HeadInTheMiddle(Net):
    """Goes on behind its head."""

    def __init__(self) -> None:
        super().__init__()
        self.decoder = nn.Conv2d(5, 3, 2)

    def forward(self, x: Tensor) -> Any:
        last = self.last(self.first(x))
        logits = self.fc(last.mean(dim=(2, 3)))
        self.decoder(last)
        return logits


@pytest.mark.parametrize("batch_size", [5, 10])
def test_nor_does_it_in_a_pass_of_one_batch_in_which_the_head_is_found(batch_size: int) -> None:
    taken = take_stages(build(HeadInTheMiddle), batch_size=batch_size)
    assert list(taken.features.values) == ["first", "last"]
    assert taken.left_out == {"decoder": "it ends behind the head, or is the head"}


def test_a_compiled_module_is_left_out_and_what_is_inside_too() -> None:
    model = net(nn.Sequential(nn.Conv2d(6, 6, 1)))
    model.middle.compile(backend="eager")
    taken = take_stages(model, layers=["first", "middle", "middle.0"])
    assert list(taken.features.values) == ["first"]
    assert set(taken.left_out) == {"middle", "middle.0"}
    assert set(taken.left_out.values()) == {"torch.compile runs it, and calls no hooks"}


def test_a_layer_that_computes_otherwise_under_a_hook_has_none() -> None:
    class Attending(Net):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.TransformerEncoderLayer(6, 2, 12, batch_first=True)

        def forward(self, x: Tensor) -> Any:
            tokens = self.encoder(self.first(x).flatten(2).transpose(1, 2))
            return self.fc(self.last(tokens.transpose(1, 2).unflatten(2, (8, 8))).mean(dim=(2, 3)))

    hooks: list[int] = []

    def forward(model: nn.Module, x: Tensor) -> object:
        hooks.append(len(model.encoder._forward_hooks) + len(model.encoder.linear1._forward_hooks))
        return model(x)

    names = ["encoder", "encoder.linear1", "last"]
    taken = take_stages(build(Attending), layers=names, forward=forward)
    assert hooks == [0, 0]
    assert list(taken.features.values) == ["last"]
    assert "torch computes a TransformerEncoderLayer in another way" in taken.left_out["encoder"]


def test_a_fault_costs_the_stages_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(output: object, stage: object) -> Tensor:
        raise RuntimeError("out of memory")

    monkeypatch.setattr("sing_monitor.capture.stages.tap.averaged", broken)
    taken = take_stages(net(), passes=2, on_error="warn")
    for part in taken.passes:
        assert part.features is None
        assert str(part.fault) == "out of memory"
    assert taken.report == "none: out of memory"
    with pytest.raises(ValueError, match="out of memory"):
        take_stages(net(), on_error="raise")


def test_without_layers_nothing_is_hooked() -> None:
    hooks: list[int] = []

    def forward(model: nn.Module, x: Tensor) -> object:
        hooks.append(len(model.first._forward_hooks))
        return model(x)

    (part,) = take_stages(net(), layers=False, forward=forward).passes
    assert hooks == [0, 0]
    assert (part.features, part.left_out, part.was_asked) == (None, {}, False)
    take_stages(net(), forward=forward)
    assert hooks == [0, 0, 1, 1]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_any_precision_is_averaged_in_single_at_least(dtype: torch.dtype) -> None:
    model = net().to(dtype)
    taken = take_stages(model, forward=lambda model, x: model(x.to(dtype)))
    found = outputs(model, images().to(dtype), ["first"])["first"].double().mean(dim=(2, 3))
    assert taken.features.values["first"].dtype == torch.float32
    torch.testing.assert_close(
        taken.features.values["first"].double(), taken.of(found), rtol=1e-2, atol=1e-2
    )


def test_known_images_are_taken_on_a_gpu_without_waiting() -> None:
    """On tensors without numbers, so that what needs one cannot go unnoticed."""
    head = HeadTap()
    tap = StageTap(["first", "last"], head)
    with pretended_gpu(), Waits() as waits, torch.inference_mode():
        with torch.device("cuda"):
            model = Net()
        head.attach(model.fc, stays=False)
        tap.attach(model)
        tap.start_pass(torch.arange(40) * 1_000_003)
        for size in (16, 16, 7):
            images, ids = torch.rand(size, 3, 32, 32, device="cuda"), torch.arange(size)
            labels = torch.zeros(size, dtype=torch.int64, device="cuda")
            waits.seen.clear()
            head.open()
            tap.open()
            tap.expect(BatchRows(ids.to("cuda", non_blocking=True), labels, {}, None, None))
            model(images)
            tap.shut()
            head.close()
            tap.settle()
            tap.add(size)
            assert waits.seen == []
            assert tap.is_taking
            assert str(tap) == "first, last"
