"""One public architecture, built with random weights, and the images that it takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn


class Built(NamedTuple):
    """A model in eval mode and a batch that it takes.

    Args:
        name: the architecture.
        model: maps images to an answer.
        images: in [0, 1], (B, 3, H, W).
    """

    name: str
    model: nn.Module
    images: Tensor


class NotBuiltError(Exception):
    """An architecture that cannot be built or run at a small size; the message says why."""


@dataclass(frozen=True)
class Case:
    """An architecture of the sweep; nothing is built before it is asked for.

    Args:
        library: "timm", "torchvision" or "transformers".
        key: what the library calls it: a module file, a model or a class.
        build: makes it; raises :class:`NotBuiltError` with the reason.
    """

    library: str
    key: str
    build: Callable[[], Built]

    def __str__(self) -> str:
        return f"{self.library}-{self.key}"
