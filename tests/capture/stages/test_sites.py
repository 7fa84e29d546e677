"""Which modules of a network are its stages."""

from __future__ import annotations

import itertools
import re

import pytest
import torch
from torch import nn

from sing_monitor.capture.stages.averages import NoStageError, averaged, channel_axis
from sing_monitor.capture.stages.sites import Stage, found_stages, named_stages
from sing_monitor.errors import SetupError


def names(model: nn.Module, head: str) -> list[str]:
    return [stage.name for stage in found_stages(model, model.get_submodule(head))]


def mlp(*sizes: int) -> nn.Sequential:
    pairs = ((nn.Linear(a, b), nn.ReLU()) for a, b in itertools.pairwise(sizes))
    return nn.Sequential(*[part for pair in pairs for part in pair][:-1])


def block(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(width, width, 3), nn.BatchNorm2d(width), nn.ReLU())


def model(**parts: nn.Module) -> nn.Module:
    found = nn.Module()
    for name, part in parts.items():
        found.add_module(name, part)
    return found


def test_a_sequential_alone_is_looked_into() -> None:
    assert names(model(net=mlp(4, 4, 4, 3)), "net.4") == ["net.0", "net.2"]
    assert names(model(features=mlp(4, 4, 4), fc=nn.Linear(4, 3)), "fc") == [
        "features.0",
        "features.2",
    ]


def test_children_with_weights_before_the_head() -> None:
    network = model(
        stem=nn.Conv2d(3, 4, 3), pool=nn.MaxPool2d(2), a=block(4), b=block(4), fc=nn.Linear(4, 3)
    )
    assert names(network, "fc") == ["stem", "a", "b"]
    assert names(model(wrapped=network), "wrapped.fc") == ["wrapped.stem", "wrapped.a", "wrapped.b"]


def test_a_classifier_around_the_head_is_no_stage() -> None:
    network = model(a=block(4), b=block(4), c=block(4), classifier=mlp(4, 4, 3))
    assert names(network, "classifier.2") == ["a", "b", "c"]


def test_a_teacher_beside_the_network_is_not_taken_for_it() -> None:
    student = model(a=block(4), b=block(4), fc=nn.Linear(4, 3))
    teacher = model(a=block(4), b=block(4), fc=nn.Linear(4, 3))
    found = names(model(student=student, teacher=teacher), "student.fc")
    assert found[:2] == ["student.a", "student.b"]


def test_a_list_is_never_called_and_so_its_parts_are_meant() -> None:
    network = model(stem=nn.Conv2d(3, 4, 3), blocks=nn.ModuleList([block(4), block(4)]))
    network.add_module("fc", nn.Linear(4, 3))
    assert names(network, "fc") == ["stem", "blocks.0", "blocks.1"]


def test_of_more_than_eight_the_first_the_last_and_others_between() -> None:
    network = model(net=mlp(*[4] * 20, 3))
    found = names(network, "net.38")
    assert len(found) == 8
    assert (found[0], found[-1]) == ("net.0", "net.36")
    steps = torch.tensor([int(name.rpartition(".")[2]) for name in found]).diff()
    assert set(steps.tolist()) <= {4, 6}


def test_feature_info_that_names_nothing_of_the_model_is_passed_over() -> None:
    network = model(a=block(4), b=block(4), c=block(4), fc=nn.Linear(4, 3))
    network.feature_info = [{"module": "a", "num_chs": 4}, {"module": "gone", "num_chs": 4}]
    assert names(network, "fc") == ["a", "b", "c"]
    network.feature_info = [{"module": "a", "num_chs": 4}, {"module": "c", "num_chs": 4}]
    assert names(network, "fc") == ["a", "c"]


def timm_like(**parts: nn.Module) -> nn.Module:
    network = model(**parts)
    network.feature_info = [{"module": name, "num_chs": 4} for name in parts if name != "fc"]
    return network


def test_of_several_networks_only_the_one_with_the_head_tells_its_stages() -> None:
    def network(**parts: nn.Module) -> nn.Module:
        return timm_like(a=block(4), b=block(4), **parts)

    head = nn.Linear(4, 3)
    assert names(model(net=network(), fc=head), "fc") == ["net.a", "net.b"]
    both = model(teacher=network(), student=network(fc=head))
    assert names(both, "student.fc") == ["student.a", "student.b"]
    # Which of them the head reads is not known.
    assert names(model(teacher=network(), student=network(), fc=head), "fc") == []


def test_another_head_beside_the_head_is_no_stage() -> None:
    network = model(a=block(4), b=block(4), color=nn.Linear(4, 7), fc=nn.Linear(4, 3))
    assert names(network, "fc") == ["a", "b"]
    # A bottleneck is read by the next layer.
    assert names(mlp(4, 8, 2, 8, 3), "6") == ["0", "2", "4"]


@pytest.mark.parametrize(
    ("name", "near", "advice"),
    [
        ("layer2", "'network.layer2'", "layers=['network.layer2']"),
        ("network.layr2", "'network.layer2'", "layers=['network.layer2']"),
        ("zzz", "'network.layer1', 'network.layer2', 'network.fc'", "layers=True"),
        ("zzz", "Its modules are", "layers=['network.layer1'] takes"),
    ],
)
def test_an_unknown_name_is_refused_with_what_is_near(name: str, near: str, advice: str) -> None:
    network = model(network=model(layer1=block(4), layer2=block(4), fc=nn.Linear(4, 3)))
    with pytest.raises(SetupError, match=re.escape(f"no module {name!r}")) as refused:
        named_stages(network, [name])
    assert near in str(refused.value)
    assert advice in str(refused.value)
    assert [stage.name for stage in named_stages(network, ["network.layer2"])] == ["network.layer2"]


@pytest.mark.parametrize(
    ("shape", "sizes", "axis"),
    [
        ((8, 5, 7, 9), (), 1),
        ((8, 5, 7, 9), (9,), 3),
        ((8, 5, 7, 5), (5, 7), 1),  # 5 fits both axes, 7 none
        ((8, 5, 7, 9), (4, 9), 3),
        ((8, 17, 6), (), 2),
        ((8, 6, 17), (6,), 1),  # of a convolution over time
        ((8, 5, 3, 7, 9), (), 1),
        ((8, 4, 4, 4), (4,), 1),
        ((8, 6, 6, 9), (9,), 3),
    ],
)
def test_channels_are_where_their_number_fits(
    shape: tuple[int, ...], sizes: tuple[int, ...], axis: int
) -> None:
    stage = Stage("layer", nn.Identity(), sizes)
    assert channel_axis(shape, stage) == axis
    output = torch.arange(float(torch.tensor(shape).prod())).reshape(shape)
    rows = output.movedim(axis, 1).flatten(2).mean(dim=2)
    torch.testing.assert_close(averaged(output, stage), rows)


@pytest.mark.parametrize(
    ("shape", "stage"),
    [
        # Six channels are joined of two and four: four is the height as well.
        ((8, 6, 4, 4), Stage("layer", nn.Identity(), (4,))),
        ((8, 4, 4, 6), Stage("layer", nn.Identity(), (4,))),
        ((8, 4, 4, 6), Stage("layer", nn.Identity())),
        ((8, 4, 4, 4), Stage("layer", nn.Identity(), (4,), ends_linear=True)),
    ],
)
def test_a_map_whose_channels_may_be_on_either_axis_is_left_out(
    shape: tuple[int, ...], stage: Stage
) -> None:
    with pytest.raises(NoStageError, match=re.escape(f"which axis of {shape[1:]}")):
        averaged(torch.rand(shape), stage)


def test_what_a_model_declares_counts_more_than_the_form_of_a_map() -> None:
    declared = Stage("layer", nn.Identity(), (4, 6), declared=4)
    assert channel_axis((8, 4, 4, 6), declared) == 1


def test_layers_that_end_on_the_last_axis() -> None:
    network = model(a=nn.LayerNorm(4), b=nn.Sequential(nn.Linear(4, 6), nn.ReLU()), c=block(4))
    stages = named_stages(network, ["a", "b", "c"])
    assert [stage.ends_linear for stage in stages] == [True, True, False]


def test_a_model_that_says_so_has_its_channels_last() -> None:
    network = model(a=nn.Identity(), fc=nn.Linear(4, 3))
    assert channel_axis((8, 4, 4, 4), named_stages(network, ["a"])[0]) == 1
    network.output_fmt = "NHWC"
    assert channel_axis((8, 4, 4, 4), named_stages(network, ["a"])[0]) == 3
