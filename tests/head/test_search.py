from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from typing import Any

import lightning as L
import pytest
import timm
import torch
import torchvision.models as tv
from lightning.pytorch.demos.boring_classes import BoringModel
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.optim.swa_utils import AveragedModel
from torchmetrics import Metric

from sing_monitor.head.layer import Head, check_logits, head_features, head_parameters
from sing_monitor.head.search import find_head

CLASSES = 7


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    """Random weights, but the same ones whatever ran before."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


class Lit(L.LightningModule):
    """A LightningModule that holds its parts under any names."""

    def __init__(self, **parts: nn.Module) -> None:
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)


class HandMade(nn.Module):
    """Convolutions, then linear layers in a chain, as in many tutorials."""

    def __init__(self, classes: int = CLASSES, width: int = 12) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.first = nn.Linear(16, width)
        self.second = nn.Linear(width, 9)
        self.out = nn.Linear(9, classes)


class HfStyle(nn.Module):
    """The layout of a transformers image classifier: a backbone and `classifier`."""

    def __init__(self) -> None:
        super().__init__()
        self.vit = nn.Sequential(nn.Linear(6, 24), nn.GELU(), nn.Linear(24, 6))
        self.classifier = nn.Linear(6, CLASSES)


class Projection(nn.Module):
    """A hand-written linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(CLASSES, 5))


class NetworkMetric(Metric):
    """A metric that carries a network of its own, like FID."""

    def __init__(self) -> None:
        super().__init__()
        self.inception = nn.ModuleDict({"conv": nn.Conv2d(3, 3, 3), "fc": nn.Linear(8, CLASSES)})

    def update(self) -> None: ...

    def compute(self) -> Tensor:
        return torch.zeros(())


class PackedLinear(nn.Linear):
    """A quantized layer: the attributes of nn.Linear over a weight that it is not."""

    def __init__(self, shape: tuple[int, int] = (28, 1), dtype: torch.dtype = torch.uint8) -> None:
        super().__init__(8, CLASSES)
        self.weight = nn.Parameter(torch.zeros(shape, dtype=dtype), requires_grad=False)


def timm_model(name: str = "resnet10t", classes: int = CLASSES, **options: object) -> nn.Module:
    # Shapes are all that matters here: nothing is computed, and nothing is initialised.
    with torch.device("meta"):
        return timm.create_model(name, num_classes=classes, **options)


def torchvision_vit(num_classes: int, width: int | None = 10) -> nn.Module:
    return tv.VisionTransformer(
        image_size=8,
        patch_size=4,
        num_layers=1,
        num_heads=2,
        hidden_dim=16,
        mlp_dim=32,
        num_classes=num_classes,
        representation_size=width,
    )


def quantized() -> nn.Module:
    with warnings.catch_warnings(action="ignore"):  # torch deprecates it; checkpoints remain
        dynamic = torch.ao.nn.quantized.dynamic.Linear(8, CLASSES)
    return nn.ModuleDict({"conv": nn.Conv2d(3, 8, 3), "fc": dynamic})


def stack(*widths: int) -> nn.Sequential:
    return nn.Sequential(*(nn.Linear(m, c) for m, c in pairwise(widths)))


@pytest.mark.parametrize(
    ("model", "options", "name", "feature_dim"),
    [
        ("resnet10t", {}, "fc", 512),
        ("vit_tiny_patch16_224", {"img_size": 32, "depth": 1}, "head", 192),
        ("mobilenetv3_small_050", {}, "classifier", 1024),
        ("efficientnet_lite0", {}, "classifier", 1280),
        ("convnext_atto", {}, "head.fc", 320),
        ("convnext_atto", {"head_hidden_size": 96}, "head.fc", 96),
        # A 1x1 convolution.
        ("resnetv2_18", {}, "head.fc", 512),
        ("dla46_c", {}, "fc", 256),
        # get_classifier gives an MLP; a container with pooling; a norm before the layer.
        ("convformer_s18", {}, "head.fc.fc2", 2048),
        ("sequencer2d_s", {"layers": (1, 1, 1, 1)}, "head.fc", 384),
        ("levit_128s", {"distilled": False}, "head.linear", 384),
        ("repvit_m0_9", {"distillation": False}, "head.head.l", 384),
    ],
)
def test_timm_heads(model: str, options: dict[str, object], name: str, feature_dim: int) -> None:
    net = timm_model(model, **options)
    head = find_head(net)
    assert (head.name, head.num_classes, head.feature_dim) == (name, CLASSES, feature_dim)
    assert head.module is net.get_submodule(name)
    assert head_parameters(head.module)[0].shape == (CLASSES, feature_dim)
    assert find_head(Lit(anything=net), num_classes=CLASSES).name == f"anything.{name}"


@pytest.mark.parametrize(
    ("model", "name", "feature_dim"),
    [
        (tv.resnet18, "fc", 512),
        (tv.mobilenet_v3_small, "classifier.3", 1024),
        (tv.squeezenet1_0, "classifier.1", 512),
        (tv.alexnet, "classifier.6", 4096),
        (partial(tv.DenseNet, 4, (1, 1), 8), "classifier", 10),
        (
            partial(tv.googlenet, init_weights=False),
            "fc",
            1024,
        ),  # its auxiliary heads have as many outputs
        (partial(tv.SwinTransformer, [4, 4], 8, [2], [2], [7, 7]), "head", 8),
        (partial(torchvision_vit, width=None), "heads.head", 16),
        (torchvision_vit, "heads.head", 10),  # after a layer of pre-logits
    ],
)
def test_torchvision_heads(model: Callable[..., nn.Module], name: str, feature_dim: int) -> None:
    with torch.device("meta"):
        net = model(num_classes=CLASSES)
    for num_classes in (None, CLASSES):
        head = find_head(net, num_classes=num_classes)
        assert (head.name, head.num_classes, head.feature_dim) == (name, CLASSES, feature_dim)
    assert find_head(Lit(wrapped=nn.ModuleDict({"net": net}))).name == f"wrapped.net.{name}"


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (HfStyle, "classifier"),
        (lambda: Lit(model=HfStyle()), "model.classifier"),
        (HandMade, "out"),
        (lambda: Lit(net=HandMade()), "net.out"),
        (lambda: BoringModel(), "layer"),
        (lambda: stack(8, 16, CLASSES), "1"),
        (lambda: nn.Linear(8, CLASSES), ""),
        (lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, CLASSES, 1)), "1"),
        (lambda: nn.ModuleDict({"head": Projection()}), "head"),
        # Attention's own projection is never called as a module.
        (
            lambda: nn.ModuleDict(
                {"out": nn.Linear(8, CLASSES), "attention": nn.MultiheadAttention(8, 2)}
            ),
            "out",
        ),
        (lambda: nn.Sequential(nn.TransformerEncoderLayer(8, 2, 32), nn.Linear(8, CLASSES)), "1"),
        # A backbone without a head of its own, then one's own layer.
        (lambda: Lit(net=timm_model(classes=0), net_head=nn.Linear(512, CLASSES)), "net_head"),
        (
            lambda: nn.Sequential(timm_model("vit_tiny_patch16_224", 0), stack(192, 32, CLASSES)),
            "1.1",
        ),
        # The logits of the inner model are the features of the outer head.
        (lambda: Lit(backbone=timm_model(classes=50), linear=nn.Linear(50, CLASSES)), "linear"),
        # A value beside a policy.
        (lambda: nn.ModuleDict({"y": nn.Linear(8, CLASSES), "v": nn.Linear(8, 1)}), "y"),
        # The nearest of two, as in a model with an auxiliary classifier.
        (
            lambda: nn.ModuleDict(
                {"aux": nn.ModuleDict({"fc": nn.Linear(8, 3)}), "fc": nn.Linear(9, CLASSES)}
            ),
            "fc",
        ),
        # "fc" inside a block is an inner layer.
        (
            lambda: nn.ModuleDict(
                {"squeeze": nn.ModuleDict({"fc": stack(8, 2, 8)}), "out": nn.Linear(8, CLASSES)}
            ),
            "out",
        ),
    ],
)
def test_other_layouts(make: Callable[[], nn.Module], name: str) -> None:
    root = make()
    head = find_head(root)
    assert head.name == name
    assert head.module is root.get_submodule(name)


def test_replaced_timm_head_is_found_in_its_container() -> None:
    net = timm_model()
    net.fc = nn.Sequential(nn.Dropout(), nn.Linear(512, 32), nn.ReLU(), nn.Linear(32, CLASSES))
    assert find_head(Lit(net=net)).name == "net.fc.3"


def test_timm_config_alone_is_enough() -> None:
    net = nn.ModuleDict({"a": nn.Linear(8, 5), "b": nn.Linear(8, CLASSES)})
    net.pretrained_cfg = {"classifier": "a"}
    assert find_head(Lit(net=net)).name == "net.a"


def test_contract_that_is_passed_on_counts_once() -> None:
    class Passing(Lit):
        def get_classifier(self) -> nn.Module:
            return self.net.get_classifier()

    assert find_head(Passing(net=timm_model())).name == "net.fc"


def test_usual_names_far_inside_are_inner_layers() -> None:
    block = nn.ModuleDict({"squeeze": nn.ModuleDict({"fc": nn.Linear(8, 3)})})
    net = nn.ModuleDict({"block": block, "out": nn.Linear(8, CLASSES)})
    assert find_head(Lit(net=net), num_classes=CLASSES).name == "net.out"


def test_number_of_classes_vouches_for_a_head_that_feeds_another_layer() -> None:
    lit = Lit(model=timm_model(), calibration=nn.Linear(CLASSES, CLASSES))
    assert find_head(lit, num_classes=CLASSES).name == "model.fc"


def test_number_of_classes_chooses_among_candidates() -> None:
    teacher, student = timm_model(classes=50), timm_model()
    assert find_head(Lit(teacher=teacher, net=student), num_classes=CLASSES).name == "net.fc"
    tasks = nn.ModuleDict({"colour": nn.Linear(8, 4), "shape": nn.Linear(8, CLASSES)})
    net = nn.ModuleDict({"conv": nn.Conv2d(3, 8, 3), "heads": tasks})
    assert find_head(net, num_classes=4).name == "heads.colour"
    free = nn.ModuleDict({"x": nn.Linear(8, 4), "y": nn.Linear(8, CLASSES), "z": nn.Linear(8, 3)})
    assert find_head(free, num_classes=CLASSES).name == "y"


def test_last_layer_of_that_size_wins_unless_it_has_a_twin() -> None:
    net = nn.ModuleDict({"early": nn.Linear(4, CLASSES), "late": nn.Linear(8, CLASSES)})
    assert find_head(net, num_classes=CLASSES).name == "late"
    net["later"] = nn.Linear(8, CLASSES)
    with pytest.raises(ValueError, match=r"(?s)Several layers.*late  Linear.*later  Linear"):
        find_head(net, num_classes=CLASSES)


@pytest.mark.parametrize("copy", [AveragedModel, timm.utils.ModelEmaV2, timm.utils.ModelEmaV3])
@pytest.mark.parametrize("make", [HfStyle, HandMade, lambda: timm.create_model("resnet10t")])
def test_averaged_copies_are_passed_over(
    copy: Callable[[nn.Module], nn.Module], make: Callable[[], nn.Module]
) -> None:
    net = make()
    expected = find_head(net)
    head = find_head(Lit(ema=copy(net), net=net))
    assert (head.name, head.module) == (f"net.{expected.name}", expected.module)


def test_networks_of_metrics_are_passed_over() -> None:
    assert find_head(Lit(fid=NetworkMetric(), net=HandMade())).name == "net.out"


def test_an_averaged_copy_can_be_named() -> None:
    lit = Lit(ema=AveragedModel(HfStyle()), net=HfStyle())
    assert find_head(lit, "ema.module.classifier").module is lit.ema.module.classifier


def test_one_layer_under_two_names_is_one_candidate() -> None:
    net = timm_model()
    assert find_head(Lit(net=net, alias=net, layer=net.fc)).module is net.fc


@pytest.mark.parametrize("name", [None, "model.classifier", "model._orig_mod.classifier"])
def test_compiled_model(name: str | None) -> None:
    net = HfStyle()
    head = find_head(Lit(model=torch.compile(net)), name)
    assert head == Head("model.classifier", net.classifier)


@pytest.mark.parametrize("name", [None, "fc"])
def test_compiled_head(name: str | None) -> None:
    net = timm_model()
    layer = net.fc
    net.fc = torch.compile(layer)
    assert find_head(torch.compile(net), name) == Head("fc", layer)
    assert head_parameters(net.fc)[0].shape == (CLASSES, 512)
    assert head_features(net.fc, torch.ones(2, 512)).shape == (2, 512)


def test_search_evaluates_no_parametrization() -> None:
    layer = parametrizations.spectral_norm(nn.Linear(8, CLASSES)).train()
    state = {name: value.clone() for name, value in layer.state_dict().items()}
    for name in (None, "fc"):
        assert find_head(nn.ModuleDict({"fc": layer}), name).feature_dim == 8
    assert all(torch.equal(value, state[name]) for name, value in layer.state_dict().items())


def test_sharded_weight_outside_forward_is_accepted() -> None:
    layer = nn.Linear(8, CLASSES)
    layer.weight = nn.Parameter(torch.empty(0))
    head = find_head(nn.ModuleDict({"fc": layer}))
    assert (head.num_classes, head.feature_dim) == (CLASSES, 8)


def test_str_shows_name_kind_and_shape() -> None:
    head = find_head(Lit(model=tv.resnet18(num_classes=10)))
    assert str(head) == "model.fc  Linear  10 x 512 (classes x features)"


Refusal = tuple[Callable[[], Any], dict[str, Any], type[Exception], str]


def refusal(
    make: Callable[[], Any], words: str, error: type[Exception] = ValueError, **options: object
) -> Refusal:
    """What is searched, with which arguments, and words of the message in their order."""
    return make, options, error, words


REFUSALS = {
    "not a module": refusal(lambda: "resnet", "torch.nn.Module, got str", TypeError),
    "name not a string": refusal(
        HfStyle, "dotted name, got a Linear", TypeError, name=nn.Linear(2, 2)
    ),
    "two heads": refusal(
        lambda: Lit(model=timm_model("deit_tiny_distilled_patch16_224", depth=1)),
        "Several layers.*model.head  Linear  7 x 192.*model.head_dist  Linear  7 x 192.*"
        r'head="..."',
    ),
    "two heads, one in the config only": refusal(
        lambda: timm_model("volo_d1_224"),
        "Several layers.*head  Linear  7 x 384.*aux_head  Linear  7 x 384",
    ),
    "two heads in one module": refusal(
        lambda: timm_model("repvit_m0_9"), "Several layers.*head.head_dist.l"
    ),
    "list of heads": refusal(
        lambda: timm_model("crossvit_tiny_240"), "Several layers.*head.0.*head.1"
    ),
    "no classifier": refusal(
        lambda: timm_model(classes=0),
        r"No classifier head found: ResNet.*timm backbone \(ResNet\).*num_classes=0",
    ),
    "no classifier inside": refusal(
        lambda: Lit(net=timm_model("vit_tiny_patch16_224", 0), scale=nn.LayerNorm(192)),
        r"No classifier head found: Lit.*timm backbone \(net\).*num_classes=0",
    ),
    "nothing linear": refusal(
        lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.LayerNorm((4, 4)), nn.Embedding(5, 4)),
        r"Sequential has no linear layer\.$",
    ),
    "bilinear": refusal(lambda: nn.Sequential(nn.Bilinear(4, 4, 3)), "no linear layer"),
    "nothing of that size": refusal(
        HandMade,
        "no linear layer with 5 outputs.*  out  Linear  7 x 9.*  first  Linear  12 x 16[^=]*$",
        num_classes=5,
    ),
    "ambiguous": refusal(
        lambda: nn.ModuleDict({"a": nn.Linear(8, 3), "b": nn.Linear(8, 4)}),
        r"Several layers could be.*a  Linear  3 x 8 \(classes x features\).*b  Linear  4 x 8.*"
        r'head="\.\.\."',
    ),
    "teacher and student": refusal(
        lambda: Lit(teacher=timm_model(), student=timm_model()),
        "Several layers.*teacher.fc  Linear  7 x 512.*student.fc  Linear  7 x 512",
        num_classes=CLASSES,
    ),
    "two names": refusal(
        lambda: nn.ModuleDict({"fc": nn.Linear(8, 3), "classifier": nn.Linear(8, 4)}),
        "Several layers.*fc  Linear.*classifier  Linear",
    ),
    "many tasks": refusal(
        lambda: nn.ModuleDict({"heads": nn.ModuleList([nn.Linear(8, 3), nn.Linear(8, 4)])}),
        "Several layers.*heads.0  Linear.*heads.1  Linear",
    ),
    # The layout of a peft adapter: the base weight is not the whole map.
    "adapter beside a layer": refusal(
        lambda: nn.ModuleDict(
            {
                "classifier": nn.ModuleDict(
                    {"base": nn.Linear(8, 5), "lora_a": nn.Linear(8, 2), "lora_b": nn.Linear(2, 5)}
                )
            }
        ),
        "Several layers.*classifier.base.*classifier.lora_b",
    ),
    "long list": refusal(
        lambda: nn.ModuleList([nn.Linear(3, 2 + 2 * i) for i in range(20)]),
        r"Several layers.*\(8 more\)",
    ),
    "wrong number of outputs": refusal(
        lambda: Lit(model=timm_model(classes=1000), linear=nn.Linear(512, CLASSES)),
        r"model.fc  Linear  1000 x 512 .* has 1000 outputs, but the data has 7 classes: give "
        r'the head 7 outputs.*linear  Linear  7 x 512.*head="linear"',
        num_classes=CLASSES,
    ),
    "wrong number of outputs, by name": refusal(
        HfStyle,
        "classifier .* has 7 outputs, but the data has 3 classes: give the head 3 outputs.$",
        name="classifier",
        num_classes=3,
    ),
    "one output": refusal(
        lambda: timm_model(classes=1),
        "fc  Linear  1 x 512 .* has one output: a binary head with one logit.* for each class",
    ),
    "one output by shape": refusal(lambda: stack(8, 4, 1), "has one output"),
    "one output by name": refusal(lambda: stack(8, 4, 1), "has one output", name="1"),
    "lazy": refusal(lambda: nn.Sequential(nn.LazyLinear(3)), "no shape yet; run one batch"),
    "typo": refusal(
        lambda: Lit(model=HfStyle()),
        "Lit has no module 'model.clasifier'. Did you mean 'model.classifier'.*"
        "model.classifier  Linear  7 x 6",
        name="model.clasifier",
    ),
    "empty name": refusal(HfStyle, "no module ''", name=""),
    "container by name": refusal(
        lambda: nn.Sequential(stack(3, 5), nn.Linear(5, 4)),
        r"'0' \(Sequential\) is not a linear layer.*  0.0  Linear  5 x 3[^=]*$",
        TypeError,
        name="0",
    ),
    "norm by name": refusal(
        lambda: nn.ModuleDict({"norm": nn.LayerNorm((4, 4)), "fc": nn.Linear(4, 3)}),
        r"'norm' \(LayerNorm\) is not a linear layer.*2-D weight.*fc  Linear",
        TypeError,
        name="norm",
    ),
    "embedding by name": refusal(
        lambda: nn.ModuleDict({"table": nn.Embedding(5, 4), "fc": nn.Linear(4, 3)}),
        r"'table' \(Embedding\) is not a linear layer",
        TypeError,
        name="table",
    ),
    "wide convolution by name": refusal(
        lambda: nn.ModuleDict({"conv": nn.Conv2d(3, 8, 3)}),
        r"'conv' \(Conv2d\) is not a linear layer.*1x1 convolution",
        TypeError,
        name="conv",
    ),
    "grouped convolution by name": refusal(
        lambda: nn.ModuleDict({"conv": nn.Conv2d(8, 8, 1, groups=8)}),
        r"'conv' \(Conv2d\) is not a linear layer",
        TypeError,
        name="conv",
    ),
    "quantized": refusal(
        lambda: quantized(),
        "fc: The weight of the head .*must be a floating point matrix",
        TypeError,
    ),
    "quantized by name": refusal(
        lambda: quantized(), "fc: .*got packed.*quantized or packed", TypeError, name="fc"
    ),
    "packed": refusal(
        lambda: nn.ModuleDict({"fc": PackedLinear()}),
        r"fc: The weight of the head \(PackedLinear\).*got torch.uint8 \(28, 1\)",
        TypeError,
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refusals_say_why(case: str) -> None:
    make, options, error, words = REFUSALS[case]
    with pytest.raises(error, match=f"(?s){words}"):
        find_head(make(), **options)


# Reading the head.


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_parameters_of_a_linear_layer(bias: bool, dtype: torch.dtype) -> None:
    layer = nn.Linear(5, 3, bias=bias, dtype=dtype)
    weight, offset = head_parameters(layer)
    assert torch.equal(weight, layer.weight)
    assert weight.dtype == dtype
    assert not weight.requires_grad
    if bias:
        assert offset is not None
        assert torch.equal(offset, layer.bias)
        assert not offset.requires_grad
    else:
        assert offset is None


def test_parameters_of_a_convolution_are_flattened() -> None:
    layer = nn.Conv2d(5, 3, 1)
    weight, bias = head_parameters(layer)
    features = torch.randn(4, 5)
    torch.testing.assert_close(
        features @ weight.T + bias, layer(features[:, :, None, None]).flatten(1)
    )


def test_parameters_of_a_normalised_weight_are_the_effective_ones() -> None:
    layer = parametrizations.weight_norm(nn.Linear(5, 3))
    with torch.no_grad():
        layer.parametrizations.weight.original0.mul_(3)
    weight, bias = head_parameters(layer)
    features = torch.randn(4, 5)
    torch.testing.assert_close(features @ weight.T + bias, layer(features).detach())
    assert not weight.requires_grad


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (PackedLinear, r"PackedLinear.*got torch.uint8 \(28, 1\)"),
        (lambda: PackedLinear((CLASSES, 8), torch.int8), r"got torch.int8 \(7, 8\)"),
        (lambda: PackedLinear((56, 1), torch.float16), r"got torch.float16 \(56, 1\)"),
        (lambda: quantized().get_submodule("fc"), "got packed"),
        (lambda: nn.LayerNorm(4), r"LayerNorm.*\(4,\)"),
        (lambda: nn.Bilinear(4, 4, 3), r"Bilinear.*\(3, 4, 4\)"),
        (lambda: nn.Conv2d(4, 3, 2), r"Conv2d.*\(3, 4, 2, 2\)"),
        (nn.ReLU, "ReLU.*packed"),
    ],
)
def test_unreadable_weights_are_refused(make: Callable[[], nn.Module], words: str) -> None:
    with pytest.raises(TypeError, match=words):
        head_parameters(make())


def test_bias_of_a_transposed_weight_is_refused() -> None:
    layer = Projection()
    layer.bias = nn.Parameter(torch.zeros(5))
    with pytest.raises(ValueError, match=r"each of the 7 rows.*got shape \(5,\)"):
        head_parameters(layer)


def test_features_of_a_convolution_lose_their_empty_axes() -> None:
    features = torch.randn(4, 5)
    assert torch.equal(head_features(nn.Linear(5, 3), features), features)
    assert torch.equal(head_features(nn.Conv2d(5, 3, 1), features[:, :, None, None]), features)


@pytest.mark.parametrize(
    ("layer", "shape", "words"),
    [
        (
            nn.Linear(5, 3),
            (4, 6, 5),
            r"\(4, 6, 5\): dense prediction.*one feature vector per image",
        ),
        (nn.Linear(5, 3), (5,), "one feature vector per image"),
        (nn.Conv2d(5, 3, 1), (4, 5, 2, 2), r"\(4, 5, 2, 2\): dense prediction"),
        (nn.Conv2d(5, 3, 1), (5, 1, 1), "one feature vector per image"),
        (nn.Linear(5, 3), (4, 6), r"takes 5 features per image.*\(4, 6\)"),
    ],
)
def test_inputs_that_are_not_one_vector_per_image_are_refused(
    layer: nn.Module, shape: tuple[int, ...], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        head_features(layer, torch.zeros(shape))


def run_and_read(net: nn.Module, size: int) -> tuple[Tensor, Tensor]:
    """The model's own logits, and W f + b from what a hook on the head sees."""
    head = find_head(Lit(net=net.eval()), num_classes=CLASSES)
    seen: list[Tensor] = []

    def read(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        weight, bias = head_parameters(module)
        logits = head_features(module, inputs[0]) @ weight.T
        seen.append(logits if bias is None else logits + bias)

    handle = head.module.register_forward_pre_hook(read)
    with torch.no_grad():
        logits = net(torch.rand(3, 3, size, size))
    handle.remove()
    assert len(seen) == 1
    return logits, seen[0]


@pytest.mark.parametrize(
    "model",
    [
        lambda: timm.create_model("resnet10t", num_classes=CLASSES),
        lambda: timm.create_model(
            "vit_tiny_patch16_224", num_classes=CLASSES, img_size=32, depth=2
        ),
        lambda: timm.create_model("mobilenetv3_small_050", num_classes=CLASSES),
        lambda: timm.create_model("dla46_c", num_classes=CLASSES),
        lambda: timm.create_model("convnext_atto", num_classes=CLASSES, head_hidden_size=16),
        lambda: tv.mobilenet_v3_small(num_classes=CLASSES),
    ],
)
def test_what_is_read_gives_the_logits_of_the_model(model: Callable[[], nn.Module]) -> None:
    logits, from_head = run_and_read(model(), size=32)
    torch.testing.assert_close(from_head, logits, rtol=1e-5, atol=1e-5)


def test_a_convolution_before_the_pooling_is_refused_when_it_runs() -> None:
    with pytest.raises(ValueError, match="head before the pooling"):
        run_and_read(tv.squeezenet1_1(num_classes=CLASSES), size=64)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("bias", [True, False])
def test_a_linear_head_computes_what_its_weight_says(dtype: torch.dtype, bias: bool) -> None:
    head = nn.Linear(512, 100, bias=bias).to(dtype)
    features = (torch.randn(32, 512) + 1).to(dtype)
    check_logits(head, *head_parameters(head), features, head(features))


def test_autocast_is_rounding_and_a_scale_is_not() -> None:
    head, features = nn.Linear(64, 10), torch.randn(8, 64)
    with torch.autocast("cpu", torch.bfloat16):
        logits = head(features)
    check_logits(head, *head_parameters(head), features, logits)
    with pytest.raises(ValueError, match=r"does not compute W f \+ b"):
        check_logits(head, *head_parameters(head), features, 1.01 * head(features))
