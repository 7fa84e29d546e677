from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, layer_norm, linear

from sing_monitor.translate.nonlinear import KINDS, build_nonlinear, load_translator
from sing_monitor.translate.translator import LinearTranslator
from tests.helpers import normal

# Names and shapes in the authors' published architectures, for m = 6, hidden 5, n = 2.
PUBLISHED = {
    "linear": {"weight": (2, 6), "bias": (2,)},
    "3layer": {
        "layers.0.weight": (5, 6),
        "layers.0.bias": (5,),
        "layers.1.weight": (5,),
        "layers.1.bias": (5,),
        "layers.4.weight": (5, 5),
        "layers.4.bias": (5,),
        "layers.5.weight": (5,),
        "layers.5.bias": (5,),
        "layers.8.weight": (2, 5),
        "layers.8.bias": (2,),
    },
    "residual": {
        "input_proj.weight": (5, 6),
        "input_proj.bias": (5,),
        "residual.0.weight": (5,),
        "residual.0.bias": (5,),
        "residual.3.weight": (5, 5),
        "residual.3.bias": (5,),
        "output_proj.0.weight": (5,),
        "output_proj.0.bias": (5,),
        "output_proj.3.weight": (2, 5),
        "output_proj.3.bias": (2,),
    },
}
PUBLISHED["4layer"] = {
    **{name: shape for name, shape in PUBLISHED["3layer"].items() if "layers.8" not in name},
    "layers.8.weight": (5, 5),
    "layers.8.bias": (5,),
    "layers.9.weight": (5,),
    "layers.9.bias": (5,),
    "layers.12.weight": (2, 5),
    "layers.12.bias": (2,),
}


def state(kind: str) -> dict[str, Tensor]:
    return {
        name: normal(*shape, seed=seed).float()
        for seed, (name, shape) in enumerate(PUBLISHED[kind].items())
    }


def block(x: Tensor, state: dict[str, Tensor], norm: str, dense: str) -> Tensor:
    x = gelu(layer_norm(x, x.shape[-1:], state[f"{norm}.weight"], state[f"{norm}.bias"]))
    return linear(x, state[f"{dense}.weight"], state[f"{dense}.bias"])


def by_hand(kind: str, state: dict[str, Tensor], x: Tensor) -> Tensor:
    if kind == "linear":
        return linear(x, state["weight"], state["bias"])
    if kind == "residual":
        hidden = linear(x, state["input_proj.weight"], state["input_proj.bias"])
        hidden = hidden + block(hidden, state, "residual.0", "residual.3")
        return block(hidden, state, "output_proj.0", "output_proj.3")
    x = linear(x, state["layers.0.weight"], state["layers.0.bias"])
    for layer in range(1, int(kind[0])):
        x = block(x, state, f"layers.{4 * layer - 3}", f"layers.{4 * layer}")
    return x


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_of_the_authors_layout_loads_and_computes_what_its_names_say(
    kind: str,
) -> None:
    tensors, features = state(kind), normal(7, 6, seed=99).float()
    translator = load_translator(tensors)
    assert not translator.training
    torch.testing.assert_close(translator(features), by_hand(kind, tensors, features))
    assert {name: tuple(value.shape) for name, value in translator.state_dict().items()} == (
        PUBLISHED[kind]
    )


@pytest.mark.parametrize("kind", KINDS)
def test_wrapped_compiled_and_half_precision_checkpoints_load(kind: str, tmp_path) -> None:
    compiled = {f"_orig_mod.{name}": value.half() for name, value in state(kind).items()}
    torch.save({"epoch": 3, "model_state_dict": compiled}, tmp_path / "best.pt")
    translator = load_translator(torch.load(tmp_path / "best.pt", weights_only=True))
    assert {value.dtype for value in translator.state_dict().values()} == {torch.float16}


def test_the_hidden_width_is_that_of_the_features_unless_given() -> None:
    assert build_nonlinear("4layer", 6, 2).layers[4].in_features == 6  # type: ignore[union-attr,index]
    assert isinstance(load_translator(state("linear")), LinearTranslator)


@pytest.mark.parametrize(
    ("checkpoint", "reason"),
    [
        ({}, "this one holds"),
        ({"fc.weight": torch.zeros(2, 2)}, "this one holds"),
        (nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3)).state_dict(), "this one holds"),
        ({**state("3layer"), "layers.4.weight": torch.zeros(5, 4)}, "no 3layer translator"),
        ({**state("residual"), "more.bias": torch.zeros(5)}, "no residual translator"),
    ],
)
def test_another_network_is_refused(checkpoint: dict[str, Tensor], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        load_translator(checkpoint)


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="linear, 3layer, 4layer, residual"):
        build_nonlinear("5layer", 6, 2)  # type: ignore[arg-type]
