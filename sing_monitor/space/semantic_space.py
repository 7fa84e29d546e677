"""SemanticSpace: the protocol of vision-language models, and the choice of one by its name."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor

from sing_monitor.space.no_space import NoSpace
from sing_monitor.space.open_clip_space import OpenClipSpace

__all__ = ["DEFAULT_SPACE", "OpenClipSpace", "SemanticSpace", "resolve_space"]

DEFAULT_SPACE = "ViT-B-32/laion2b_s34b_b79k"


@runtime_checkable
class SemanticSpace(Protocol):
    """Vision-language model as two maps into one space of n dimensions."""

    @property
    def name(self) -> str:
        """Unique name of the space, under which embeddings are cached."""
        ...

    @property
    def dim(self) -> int:
        """Number of dimensions n."""
        ...

    def encode_images(self, images: Tensor) -> Tensor:
        """Embed images (B, 3, H, W) in [0, 1] as (B, n) float32 on their device, unnormalized."""
        ...

    def encode_texts(self, texts: list[str]) -> Tensor:
        """Embed K texts as (K, n) float32, unnormalized."""
        ...


def resolve_space(space: str | SemanticSpace | None) -> SemanticSpace:
    """Load the space "model/tag", or check that another object is a space.

    Args:
        space: "<open_clip model>/<tag or path of a checkpoint>", split at the first slash; or a
            `SemanticSpace`; or None for :class:`NoSpace`.

    Raises:
        ValueError: if the text has another form, or the model or tag is unknown.
        RuntimeError: if the weights cannot be loaded or downloaded.
        TypeError: if the object lacks a part of the protocol.
    """
    if space is None:
        return NoSpace()
    if isinstance(space, str):
        model_name, _, tag = space.partition("/")
        if not model_name or not tag:
            raise ValueError(
                f'space {space!r} is not of the form "<open_clip model>/<tag or file>"; examples: '
                '"ViT-B-32/laion2b_s34b_b79k", "ViT-L-14/openai", '
                '"ViT-B-32//path/to/open_clip_model.safetensors"'
            )
        return OpenClipSpace.pretrained(model_name, tag)
    kind = type(space).__name__
    members = ("name", "dim", "encode_images", "encode_texts")
    missing = [member for member in members if not hasattr(space, member)]
    if missing:
        raise TypeError(
            f"space is a {kind} without {', '.join(missing)}; a space has name, dim, encode_images "
            "and encode_texts. An open_clip model becomes one by "
            "OpenClipSpace(model, tokenizer, image_size, mean, std)"
        )
    if not isinstance(space.name, str) or not space.name:
        raise TypeError(f"{kind}.name must be a text that is not empty, got {space.name!r}")
    if not isinstance(space.dim, int) or space.dim < 1:
        raise TypeError(f"{kind}.dim must be a positive int, got {space.dim!r}")
    for method in members[2:]:
        if not callable(getattr(space, method)):
            raise TypeError(f"{kind}.{method} cannot be called; make it a method")
    return space
