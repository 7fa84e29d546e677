"""LinearTranslator: linear map from features to a vision-language space (SING, eq. 4)."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sing_monitor.head.geometry import HeadGeometry


class LinearTranslator(nn.Module):
    """Affine map ``T(f) = A f + c`` from features to image embeddings, without trainable parts.

    The state dict has the keys ``weight`` (n, m) and ``bias`` (n,), as the checkpoints of the SING
    authors have.

    Args:
        weight: A, (n, m).
        bias: c, (n,).

    Raises:
        ValueError: if the shapes do not fit each other.

    Example::

        >>> import torch
        >>> translator = LinearTranslator(torch.eye(2, 3), torch.ones(2))
        >>> translator(torch.tensor([[1.0, 2.0, 3.0]])).tolist()
        [[2.0, 3.0]]
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        if weight.ndim != 2 or bias.shape != weight.shape[:1]:
            raise ValueError(
                "a translator needs a weight (n, m) and a bias (n,); got "
                f"{tuple(weight.shape)} and {tuple(bias.shape)}."
            )
        self.register_buffer("weight", weight.detach())
        self.register_buffer("bias", bias.detach())

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Tensor]) -> LinearTranslator:
        """Build from a checkpoint, for example ``torch.load(path, weights_only=True)``.

        Raises:
            ValueError: if the keys are not exactly ``weight`` and ``bias``.
        """
        if set(state) != {"weight", "bias"}:
            raise ValueError(
                "a linear translator's checkpoint holds 'weight' and 'bias'; "
                f"this one holds {sorted(state)}."
            )
        return cls(state["weight"], state["bias"])

    def forward(self, features: Tensor) -> Tensor:
        """Translate features (..., m) to embeddings (..., n)."""
        return nn.functional.linear(features, self.weight, self.bias)

    def onto(self, vectors: Tensor) -> LinearTranslator:
        """Affine map to the products of translations with vectors, (k, n)."""
        return LinearTranslator(vectors @ self.weight, vectors @ self.bias)

    def beside(self, other: LinearTranslator) -> LinearTranslator:
        """Affine map to what this one answers and, after it, what another does."""
        return LinearTranslator(
            torch.cat([self.weight, other.weight]), torch.cat([self.bias, other.bias])
        )

    def null_space_part(self, geometry: HeadGeometry) -> Tensor:
        """Weight ``A P_n``, (n, m), by which the translator reads the null space of a head."""
        return geometry.null(self.weight)


def in_float64(translator: nn.Module) -> nn.Module:
    """Copy a translator of any kind into a frozen one that computes in float64 in eval mode."""
    return copy.deepcopy(translator).double().eval().requires_grad_(False)
