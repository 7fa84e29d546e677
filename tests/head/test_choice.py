"""The head is the layer whose output is the model's answer."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import timm
import torch
from peft import IA3Config, LoraConfig, get_peft_model
from torch import Tensor, nn
from torch.nn.functional import linear
from transformers.modeling_outputs import ImageClassifierOutput

from sing_monitor.errors import SetupError
from sing_monitor.head.answers import is_derived_from
from sing_monitor.head.calls import CallWitness
from sing_monitor.head.choice import ChosenHead, choose_head
from sing_monitor.head.forward import evaluating, run_head
from sing_monitor.head.layer import Head, check_logits, head_parameters
from sing_monitor.head.linear_layers import linear_layers
from sing_monitor.head.search import find_head

IMAGES, CLASSES, SIDE = 6, 4, 8


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def images() -> Tensor:
    return torch.rand(IMAGES, 3, SIDE, SIDE)


def cnn(features: int = 16, classes: int = CLASSES) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, features, 3),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(features, classes),
    )


class Fused(nn.Module):
    """Image and table features, joined before the last layer."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.meta, self.out = cnn(16, 64), nn.Linear(3, 6), nn.Linear(70, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.cat([self.fc(x), self.meta(x.mean((2, 3)))], 1))


class Pair(nn.Module):
    """Two heads on one feature vector, and what the model makes of them."""

    def __init__(self, answer: Callable[[Tensor, Tensor], Any], second: int = CLASSES) -> None:
        super().__init__()
        self.body = cnn()[:4]
        self.head, self.head_dist = nn.Linear(16, CLASSES), nn.Linear(16, second)
        self.answer = answer

    def forward(self, x: Tensor) -> Any:
        features = self.body(x)
        return self.answer(self.head(features), self.head_dist(features))


class Made(nn.Module):
    """A network whose answer is made of the logits."""

    def __init__(self, made: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.net, self.made = cnn(), made

    def forward(self, x: Tensor) -> Any:
        return self.made(self.net(x))


class SqueezeAndExcite(nn.Module):
    """1x1 convolutions on one position inside a block, as in many networks."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3)
        self.squeeze, self.excite = nn.Conv2d(16, CLASSES, 1), nn.Conv2d(CLASSES, 16, 1)
        self.project = nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        gate = self.excite(self.squeeze(x.mean((2, 3), keepdim=True)).relu()).sigmoid()
        return self.project((x * gate).mean((2, 3)))


class OneToken(nn.Module):
    """The head takes (N, 1, m)."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.out = cnn()[:4], nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.body(x)[:, None])[:, 0]


class Steps(nn.Module):
    """Parts that a step calls itself: no module returns the model's answer."""

    def __init__(self, **parts: nn.Module) -> None:
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)


def choose(
    model: nn.Module,
    step: Callable[[Any, Tensor], object] | None = None,
    *,
    named: str | None = None,
    largest_label: int = CLASSES - 1,
) -> ChosenHead:
    witness = CallWitness(model, linear_layers(model))
    with evaluating(model), witness.watching():
        model(images()) if step is None else step(model, images())
    assert witness.error is None
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())
    head = None if named is None else find_head(model, named)
    return choose_head(model, witness.calls, named=head, largest_label=largest_label)


def logits_of(output: Any) -> Any:
    return ImageClassifierOutput(logits=output)


@pytest.mark.parametrize(
    ("make", "name", "shape"),
    [
        (Fused, "out", (CLASSES, 70)),
        (SqueezeAndExcite, "project", (CLASSES, 16)),
        (OneToken, "out", (CLASSES, 16)),
        (lambda: Made(logits_of), "net.4", (CLASSES, 16)),
        (lambda: Made(lambda z: (z, z.mean())), "net.4", (CLASSES, 16)),
        (lambda: Made(lambda z: {"logits": z, "norm": z.norm(dim=1)}), "net.4", (CLASSES, 16)),
        (lambda: Made(lambda z: {"out": z}), "net.4", (CLASSES, 16)),
        (lambda: Made(lambda z: z.log_softmax(1)), "net.4", (CLASSES, 16)),
        (lambda: Made(lambda z: z.softmax(1)), "net.4", (CLASSES, 16)),
        (lambda: Made(lambda z: z / 0.07), "net.4", (CLASSES, 16)),
        (lambda: Made(lambda z: z.half()), "net.4", (CLASSES, 16)),
        # The second of two heads answers, or the first is for something else.
        (lambda: Pair(lambda a, b: b), "head_dist", (CLASSES, 16)),
        (lambda: Pair(lambda a, b: (a, b.argmax(1))), "head", (CLASSES, 16)),
        # Only one of them has a row for every label.
        (lambda: Pair(lambda a, b: (b, a), second=2), "head", (CLASSES, 16)),
    ],
)
def test_the_layer_that_answers_is_the_head(
    make: Callable[[], nn.Module], name: str, shape: tuple[int, int]
) -> None:
    model = make()
    choice = choose(model)
    assert choice.head.module is model.get_submodule(name)
    assert (choice.head.num_classes, choice.head.feature_dim) == shape
    assert choice.is_confirmed
    assert not choice.remarks


def frozen(module: nn.Module) -> nn.Module:
    return module.requires_grad_(False)


def teacher_first(model: Any, x: Tensor) -> None:
    model.teacher(x)
    model.wrapped.student(x)


def test_a_frozen_second_network_nearer_the_root_is_not_watched() -> None:
    model = Steps(teacher=frozen(cnn(8)), wrapped=Steps(student=cnn()))
    assert choose(model, teacher_first).head.name == "wrapped.student.4"


def test_two_trainable_networks_are_a_question() -> None:
    model = Steps(teacher=cnn(8), wrapped=Steps(student=cnn()))
    assert advised(model, teacher_first) == "wrapped.student.4"


def chain(model: Any, x: Tensor) -> None:
    model.second(model.first(model.body(x)).relu())


def test_of_a_chain_of_layers_in_a_step_the_last_is_the_head() -> None:
    model = Steps(body=cnn()[:4], first=nn.Linear(16, 9), second=nn.Linear(9, CLASSES))
    choice = choose(model, chain)
    assert choice.head.name == "second"
    assert not choice.is_confirmed


def joined(model: Any, x: Tensor) -> None:
    model.out(torch.cat([model.fc(model.body(x)), model.meta(x.mean((2, 3)))], 1))


def test_parts_that_a_step_joins_are_a_question() -> None:
    model = Steps(
        body=cnn()[:4], fc=nn.Linear(16, 64), meta=nn.Linear(3, 6), out=nn.Linear(70, CLASSES)
    )
    assert advised(model, joined) == "out"


def projected(model: Any, x: Tensor) -> None:
    features = model.body(x)
    model.classifier(features)
    model.projector(features)


def test_a_wider_layer_after_the_head_is_remarked() -> None:
    model = Steps(body=cnn()[:4], classifier=nn.Linear(16, 4), projector=nn.Linear(16, 32))
    choice = choose(model, projected)
    assert choice.head.name == "classifier"
    assert "projector  Linear  32 x 16" in str(SetupError(*choice.remarks[0]))
    assert not choose(model, projected, named="classifier").remarks


def functional(model: Any, x: Tensor) -> None:
    linear(model.backbone(x), model.classifier.weight)


def test_a_head_whose_weight_alone_is_used_is_named_though_another_layer_ran() -> None:
    model = Steps(backbone=cnn(16, 12), classifier=nn.Linear(12, CLASSES))
    with pytest.raises(SetupError, match=r"(?s)'classifier' was not called.*call head\(x\)"):
        choose(model, functional)


def test_a_frozen_head_beside_trainable_parts_is_remarked() -> None:
    model = cnn()
    frozen(model[4])
    (remark,) = choose(model).remarks
    assert "'4' is frozen" in str(SetupError(*remark))


def without_advice(make: Callable[[], nn.Module], words: str) -> None:
    with pytest.raises(SetupError, match=f"(?s){words}") as raised:
        choose(make())
    assert "head=" not in str(raised.value)


def test_the_mean_of_two_heads_is_refused_and_neither_is_advised() -> None:
    words = "the mean of these layers.*head  Linear  4 x 16.*head_dist  Linear  4 x 16"
    without_advice(lambda: Pair(lambda a, b: (a + b) / 2), words)


def test_the_sum_of_two_heads_is_refused_and_neither_is_advised() -> None:
    without_advice(
        lambda: Pair(lambda a, b: a + 0.5 * b),
        "several of these layers together.*head_dist",
    )


class TokenLabels(nn.Module):
    """A second head on every position adds its largest logits, as in VOLO."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head, self.aux_head = cnn()[:2], nn.Linear(16, 4), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.body(x).flatten(2).mT
        return self.head(tokens.mean(1)) + 0.5 * self.aux_head(tokens).amax(1)


def test_a_head_to_which_a_dense_one_adds_is_refused_and_not_advised() -> None:
    without_advice(TokenLabels, "several of these layers together.*head.*aux_head")


def test_no_linear_layer_that_answers_is_refused() -> None:
    without_advice(lambda: Made(lambda z: torch.cat([z, -z], 1)), "8 numbers for each image")


def advised(
    model: nn.Module, step: Callable[[Any, Tensor], object] | None = None, named: str | None = None
) -> str:
    """The name that a refusal advises, after it was followed."""
    with pytest.raises(SetupError) as raised:
        choose(model, step, named=named)
    (name,) = re.findall(r'head="([^"]+)"', str(raised.value))
    assert choose(model, step, named=name).head.module is model.get_submodule(name)
    return str(name)


def test_two_heads_that_both_classify_are_a_question() -> None:
    assert advised(Pair(lambda a, b: (a, b))) == "head_dist"


def test_a_layer_that_does_not_run_is_refused_and_one_that_does_is_advised() -> None:
    model = Fused()
    model.unused = nn.Linear(70, CLASSES)
    assert advised(model, named="unused") == "out"


def test_another_function_of_the_logits_is_watched_only_when_that_is_asked_for() -> None:
    model = Made(lambda z: z * torch.tensor([1.0, 2.0, 3.0, 4.0]))
    assert advised(model) == "net.4"
    (remark,) = choose(model, named="net.4").remarks
    assert "not about the model's answer" in str(SetupError(*remark))


def test_a_named_inner_layer_is_watched_and_the_answering_one_is_said() -> None:
    (remark,) = choose(Fused(), named="fc.4").remarks
    assert re.search("about the layer 'fc.4'.*head=\"out\"", str(SetupError(*remark)))


@pytest.mark.parametrize("rank", [CLASSES, 16])
def test_the_update_of_lora_is_part_of_the_weight(rank: int) -> None:
    net = timm.create_model("test_vit", num_classes=CLASSES, img_size=32)
    config = LoraConfig(r=rank, lora_alpha=3 * rank, target_modules="all-linear", lora_bias=True)
    model = get_peft_model(net, config)
    layer = find_head(model).module
    for factor in (layer.lora_B["default"].weight, layer.lora_B["default"].bias):
        nn.init.normal_(factor)
    seen = run_head(model, torch.rand(IMAGES, 3, 32, 32))
    assert seen.head.name == "base_model.model.head"
    assert (seen.head.num_classes, seen.head.feature_dim, seen.head.is_trainable) == (4, 64, True)
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    torch.testing.assert_close(seen.weight, (layer.base_layer.weight + 3 * b @ a).detach())
    # As the library itself merges it.
    merged = model.merge_and_unload().head
    torch.testing.assert_close(seen.weight, merged.weight.detach())
    torch.testing.assert_close(seen.bias, merged.bias.detach())


def test_parts_of_an_adapted_layer_are_no_head() -> None:
    net = timm.create_model("test_vit", num_classes=CLASSES, img_size=32)
    model = get_peft_model(net, LoraConfig(r=4, target_modules=["head"]))
    for part in ("base_layer", "lora_A.default"):
        with pytest.raises(
            SetupError, match=r'Name the whole layer: head="base_model\.model\.head"'
        ):
            find_head(model, f"base_model.model.head.{part}")
    assert find_head(model, "base_model.model.head") == find_head(model)


@pytest.mark.parametrize(
    "config",
    [
        LoraConfig(r=4, target_modules=["head"], use_dora=True),
        IA3Config(target_modules=["head"], feedforward_modules=[]),
    ],
)
def test_other_adapters_on_the_head_are_refused_by_name(config: Any) -> None:
    model = get_peft_model(timm.create_model("test_vit", num_classes=4, img_size=32), config)
    with pytest.raises(TypeError, match=r"peft\.tuners.*not plain LoRA.*modules_to_save"):
        run_head(model, torch.rand(IMAGES, 3, 32, 32))


def test_of_modules_to_save_the_active_copy_is_the_head() -> None:
    net = timm.create_model("test_vit", num_classes=CLASSES, img_size=32)
    config = LoraConfig(r=4, target_modules=r".*mlp.fc1", modules_to_save=["head"])
    model = get_peft_model(net, config)
    wrapper = model.base_model.model.head
    nn.init.normal_(wrapper.modules_to_save["default"].weight)
    for name in (None, "base_model.model.head"):
        assert (
            run_head(model, torch.rand(2, 3, 32, 32), name).head.module
            is (wrapper.modules_to_save["default"])
        )
    with pytest.raises(
        SetupError, match=r'Name one: head="base_model\.model\.head\.modules_to_save\.d'
    ):
        run_head(model, torch.rand(2, 3, 32, 32), "base_model.model.head.original_module")
    with model.disable_adapter():
        assert run_head(model, torch.rand(2, 3, 32, 32)).head.module is wrapper.original_module


def test_a_tiny_product_beside_a_large_bias_is_rounding() -> None:
    layer = nn.Linear(16, CLASSES)
    nn.init.constant_(layer.weight, 1e-9)
    features = 1e-3 * torch.rand(IMAGES, 16)
    weight, bias = head_parameters(layer)
    logits = layer(features)
    check_logits(layer, weight, bias, features, logits)
    with pytest.raises(SetupError, match="does not compute W f"):
        check_logits(layer, weight, bias, features, logits * 1.001)


def both_step(model: Any, x: Tensor) -> None:
    features = model.body(x)
    model.species(features)
    model.fc(features)


def test_a_smaller_layer_that_tells_the_labels_as_well_is_a_question() -> None:
    model = Steps(body=cnn()[:4], species=nn.Linear(16, 4), fc=nn.Linear(16, 10))
    with pytest.raises(
        SetupError, match=r"(?s)Several.*species  Linear  4.*fc  Linear  10.*head=\"species\""
    ):
        choose(model, both_step)
    assert choose(model, both_step, named="species").head.name == "species"


def fine_then_coarse(model: Any, x: Tensor) -> None:
    features = model.body(x)
    model.fine(features)
    model.coarse(features)


def test_a_coarse_layer_after_the_head_is_remarked() -> None:
    model = Steps(body=cnn()[:4], fine=nn.Linear(16, 4), coarse=nn.Linear(16, 2))
    choice = choose(model, fine_then_coarse)
    assert choice.head.name == "fine"
    assert "coarse  Linear  2 x 16" in str(SetupError(*choice.remarks[0]))


def mixed(model: Any, x: Tensor) -> None:
    features = model.body(x)
    (model.one(features) - 3 * model.other(features)).argmax(1)


def test_a_named_head_beside_a_twin_is_remarked() -> None:
    model = Steps(body=cnn()[:4], one=nn.Linear(16, 4), other=nn.Linear(16, 4))
    (remark,) = choose(model, mixed, named="one").remarks
    assert re.search("(?s)other  Linear  4 x 16.*not about its answer", str(SetupError(*remark)))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_coarse_numbers_do_not_make_another_answer_the_logits(dtype: torch.dtype) -> None:
    z, other = (torch.randn(16, 4, generator=torch.Generator().manual_seed(i)) for i in (0, 1))
    z, other = z.to(dtype), other.to(dtype)
    for made in (z, z / 0.07, z.float(), z.float().softmax(1), z.softmax(1), z.log_softmax(1)):
        assert is_derived_from(made, z)
    scaled = z * torch.tensor([1.0, 1.5, 2.0, 2.5], dtype=dtype)
    for made in (z[:, [2, 0, 3, 1]], other, z + other, scaled, z.relu(), z**3, -z, z * 0 + 0.3):
        assert not is_derived_from(made, z)
        assert not is_derived_from(made.float(), z)


@pytest.mark.parametrize("precision", ["highest", "high", "medium"])
def test_an_update_of_a_tenth_shows_in_every_precision_of_products(precision: str) -> None:
    layer = nn.Linear(64, CLASSES)
    features, update = torch.randn(16, 64), 0.1 * torch.randn(CLASSES, 64) / 8
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        weight, bias = head_parameters(layer)
        logits = layer(features).detach()
        check_logits(layer, weight, bias, features, logits)
        with pytest.raises(SetupError, match="does not compute W f"):
            check_logits(layer, weight, bias, features, logits + features @ update.T)
    finally:
        torch.set_float32_matmul_precision(before)


def test_masked_logits_are_not_the_logits() -> None:
    logits = torch.randn(IMAGES, CLASSES)
    masked = logits.clone()
    masked[:, 0] = -torch.inf
    assert not is_derived_from(masked, logits)
    assert not is_derived_from(logits[:, :2], logits)
    assert not is_derived_from(-logits, logits)
    assert is_derived_from(torch.zeros(2, 3), torch.zeros(2, 3))
    assert isinstance(find_head(cnn()), Head)
