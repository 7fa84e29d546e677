"""Nonlinear translators of the paper, to check that the linear one is enough.

Supplement, section 1.1: a 3-layer and a 4-layer MLP and a residual MLP, of linear layers, layer
norm, GELU and dropout. Parameter names are those of the authors' published code, so that their
checkpoints load.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Literal, get_args

from torch import Tensor, nn

from sing_monitor.head.torch_internals import COMPILED_NAME
from sing_monitor.translate.translator import LinearTranslator

NonlinearKind = Literal["3layer", "4layer", "residual"]
TranslatorKind = Literal["linear", "3layer", "4layer", "residual"]
KINDS: tuple[TranslatorKind, ...] = get_args(TranslatorKind)

_DROPOUT = 0.1
# Names under which a training checkpoint may hold the translator's state dict.
_WRAPPERS = ("state_dict", "model_state_dict", "translator_state_dict", "model")


class MLPTranslator(nn.Module):
    """Translator of linear layers with layer norm, GELU and dropout between them.

    Args:
        feature_dim: m.
        hidden_dim: width of the hidden layers.
        embedding_dim: n.
        depth: number of linear layers, 3 or 4 in the paper.
    """

    def __init__(self, feature_dim: int, hidden_dim: int, embedding_dim: int, depth: int) -> None:
        super().__init__()
        widths = [feature_dim, *[hidden_dim] * (depth - 1)]
        blocks: list[nn.Module] = []
        for wide, narrow in pairwise(widths):
            blocks += [nn.Linear(wide, narrow), *_activation(narrow)]
        self.layers = nn.Sequential(*blocks, nn.Linear(hidden_dim, embedding_dim))

    @property
    def output(self) -> nn.Linear:
        """The last linear layer."""
        return _last(self.layers)

    def forward(self, features: Tensor) -> Tensor:
        """Translate features (..., m) to embeddings (..., n)."""
        embeddings: Tensor = self.layers(features)
        return embeddings


class ResidualTranslator(nn.Module):
    """Translator of a projection to the hidden width, one residual block and an output projection.

    Args:
        feature_dim: m.
        hidden_dim: width of the residual block.
        embedding_dim: n.
    """

    def __init__(self, feature_dim: int, hidden_dim: int, embedding_dim: int) -> None:
        super().__init__()
        self.input_proj = nn.Linear(feature_dim, hidden_dim)
        self.residual = nn.Sequential(*_activation(hidden_dim), nn.Linear(hidden_dim, hidden_dim))
        self.output_proj = nn.Sequential(
            *_activation(hidden_dim), nn.Linear(hidden_dim, embedding_dim)
        )

    @property
    def output(self) -> nn.Linear:
        """The last linear layer."""
        return _last(self.output_proj)

    def forward(self, features: Tensor) -> Tensor:
        """Translate features (..., m) to embeddings (..., n)."""
        hidden = self.input_proj(features)
        embeddings: Tensor = self.output_proj(hidden + self.residual(hidden))
        return embeddings


def build_nonlinear(
    kind: NonlinearKind, feature_dim: int, embedding_dim: int, hidden_dim: int | None = None
) -> MLPTranslator | ResidualTranslator:
    """Build a translator with random weights from torch's global generator.

    Args:
        kind: ``"3layer"``, ``"4layer"`` or ``"residual"``.
        feature_dim: m.
        embedding_dim: n.
        hidden_dim: m by default, as in the authors' code.

    Raises:
        ValueError: if the kind is another one.
    """
    hidden_dim = hidden_dim or feature_dim
    if kind == "residual":
        return ResidualTranslator(feature_dim, hidden_dim, embedding_dim)
    if kind not in ("3layer", "4layer"):
        raise ValueError(f"there is no translator {kind!r}; choose one of {', '.join(KINDS)}.")
    return MLPTranslator(feature_dim, hidden_dim, embedding_dim, depth=int(kind[0]))


def load_translator(
    checkpoint: Mapping[str, object],
) -> LinearTranslator | MLPTranslator | ResidualTranslator:
    """Build the translator in a checkpoint; its tensors determine kind and sizes.

    Args:
        checkpoint: ``torch.load(path, weights_only=True)``: a state dict, perhaps of a compiled
            module, or a dict that holds one under a usual name.

    Returns:
        The translator in eval mode, in the dtype of the checkpoint.

    Raises:
        ValueError: if the tensors fit no kind.

    Example::

        >>> build = build_nonlinear("4layer", 6, 2, hidden_dim=5)
        >>> load_translator({"model": build.state_dict()}).layers[-1]
        Linear(in_features=5, out_features=2, bias=True)
    """
    tensors = _state(checkpoint)
    if set(tensors) == {"weight", "bias"}:
        return LinearTranslator.from_state_dict(tensors).eval()
    if "input_proj.weight" in tensors:
        kind, first, last = "residual", "input_proj.weight", "output_proj.3.weight"
    else:
        depth = sum(value.ndim == 2 for value in tensors.values())
        kind, first, last = f"{depth}layer", "layers.0.weight", f"layers.{4 * (depth - 1)}.weight"
    if kind not in KINDS or not {first, last} <= set(tensors):
        raise ValueError(
            "a translator's checkpoint holds 'weight' and 'bias', 'layers.*' of a 3- or 4-layer "
            f"MLP, or 'input_proj', 'residual' and 'output_proj'; this one holds {sorted(tensors)}."
        )
    (hidden_dim, feature_dim), embedding_dim = tensors[first].shape, len(tensors[last])
    translator = build_nonlinear(kind, feature_dim, embedding_dim, hidden_dim)  # type: ignore[arg-type]
    try:
        translator.load_state_dict(tensors)
    except RuntimeError as error:
        raise ValueError(f"the checkpoint is no {kind} translator: {error}") from error
    return translator.to(tensors[first].dtype).eval()


def _state(checkpoint: Mapping[str, object]) -> dict[str, Tensor]:
    for name in _WRAPPERS:
        inside = checkpoint.get(name)
        if isinstance(inside, Mapping):
            return _state(inside)
    return {
        name.removeprefix(f"{COMPILED_NAME}."): value
        for name, value in checkpoint.items()
        if isinstance(value, Tensor)
    }


def _activation(width: int) -> tuple[nn.Module, ...]:
    return nn.LayerNorm(width), nn.GELU(), nn.Dropout(_DROPOUT)


def _last(layers: nn.Sequential) -> nn.Linear:
    layer = layers[-1]
    if not isinstance(layer, nn.Linear):
        raise TypeError(f"the last layer is a {type(layer).__name__}.")
    return layer
