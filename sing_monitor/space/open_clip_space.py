"""OpenClipSpace: the semantic space of an open_clip model."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sing_monitor.space.resize import INTERPOLATIONS, RESIZE_MODES, resize_and_crop
from sing_monitor.space.weights import load_pretrained

MAX_BATCH = 256


class OpenClipSpace:
    """Semantic space of an open_clip model.

    The space owns the model: it sets eval mode and single precision, turns the gradients of the
    parameters off, and moves the model to the device of the images. Give a copy of a model that is
    being trained.

    Args:
        model: an open_clip model, with `encode_image(images, normalize)` and
            `encode_text(tokens, normalize)`.
        tokenizer: list of texts -> token ids (K, L).
        image_size: side of the tower's square input in pixels, or (height, width).
        mean: (3,), per channel, of pixels in [0, 1].
        std: (3,), per channel.
        name: of the space. A digest of weights and preprocessing is added, so that cached
            embeddings are never those of other weights.
        interpolation: "bicubic" or "bilinear".
        resize_mode: "shortest", "longest" or "squash", as open_clip means them.

    Raises:
        TypeError: if the model or the tokenizer is not of that kind.
        ValueError: if image size, mean, std, interpolation or resize mode is invalid.

    Example:
        >>> space = OpenClipSpace.pretrained("ViT-B-32", "laion2b_s34b_b79k")  # doctest: +SKIP
        >>> space.encode_texts(["an image of a dog"]).shape  # doctest: +SKIP
        torch.Size([1, 512])
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Callable[[list[str]], Tensor],
        image_size: int | tuple[int, int],
        mean: Sequence[float],
        std: Sequence[float],
        *,
        name: str | None = None,
        interpolation: str = "bicubic",
        resize_mode: str = "shortest",
    ) -> None:
        if not (hasattr(model, "encode_image") and hasattr(model, "encode_text")):
            raise TypeError(
                f"model is a {type(model).__name__} without encode_image and encode_text; give an "
                "open_clip model, as open_clip.create_model(...) returns it"
            )
        if not callable(tokenizer):
            raise TypeError(
                f"tokenizer is a {type(tokenizer).__name__}; give a function from a list of texts "
                "to token ids, as open_clip.get_tokenizer(...) returns it"
            )
        for value, allowed in ((interpolation, INTERPOLATIONS), (resize_mode, RESIZE_MODES)):
            if value not in allowed:
                raise ValueError(f"{value!r} is not one of {', '.join(allowed)}")
        self._size = _height_and_width(image_size)
        self._mean = _per_channel("mean", mean)
        self._std = _per_channel("std", std)
        if min(self._std) <= 0:
            raise ValueError(f"std must be positive in every channel, got {std!r}")
        self._interpolation = interpolation
        self._resize_mode = resize_mode
        # Single precision: autocast makes it half on CUDA, and half weights fail elsewhere.
        self._model: Any = model.eval().requires_grad_(False).float()
        self._tokenizer = tokenizer
        self._label = name or "open_clip"
        self._name: str | None = None
        self._dim = self._embed_tokens(["a photo"]).shape[1]

    @classmethod
    def pretrained(cls, model_name: str, tag: str) -> OpenClipSpace:
        """Load an open_clip model with its own tokenizer, image size, mean and std.

        Logs the size before a first download. Weights in the hub's cache need no network.

        Args:
            model_name: a name in `open_clip.list_models()`.
            tag: one of the model's pretrained tags, or the path of a checkpoint file.

        Raises:
            ValueError: if open_clip has no such model, or the model has no such tag.
            RuntimeError: if the weights cannot be loaded: there is no network, or the file is
                missing, broken or of another model.
        """
        loaded = load_pretrained(model_name, tag)
        images = loaded.preprocessing
        space = cls(
            loaded.model,
            loaded.tokenizer,
            images["size"],
            images["mean"],
            images["std"],
            name=loaded.label,
            # open_clip's third, "random", means bicubic outside training.
            interpolation="bilinear" if images["interpolation"] == "bilinear" else "bicubic",
            resize_mode=images["resize_mode"],
        )
        if not loaded.is_local:
            space._name = loaded.label  # a published tag identifies its weights
        return space

    @property
    def name(self) -> str:
        """`<given name>@<8 hex digits of a digest>`; `<model>/<tag>` for published weights."""
        if self._name is None:
            self._name = f"{self._label}@{self._digest()}"
        return self._name

    @property
    def dim(self) -> int:
        """Number of dimensions n."""
        return self._dim

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._label!r}, dim={self._dim})"

    def encode_images(self, images: Tensor) -> Tensor:
        """Embed images: raw outputs of the image tower, at most 256 images at a time.

        Args:
            images: (B, 3, H, W), floats in [0, 1]. The model moves to their device.

        Returns:
            (B, n) float32 on the device of the images, not normalized. Computed in half precision
            on CUDA.

        Raises:
            TypeError: if the images are no float tensor.
            ValueError: if they have another shape, or values outside [0, 1].
        """
        device = images.device
        if self._device() != device:
            self._model.to(device)
        embeddings = torch.empty(len(images), self._dim, device=device)
        # An autocast of the caller must not change the embeddings.
        half = torch.autocast(device.type, dtype=torch.float16, enabled=device.type == "cuda")
        with torch.no_grad(), half:
            for start in range(0, len(images), MAX_BATCH):
                batch = slice(start, start + MAX_BATCH)
                inputs = self._normalize(self.crop(images[batch]))
                embeddings[batch] = self._model.encode_image(inputs, normalize=False)
        return embeddings

    def encode_texts(self, texts: list[str]) -> Tensor:
        """Embed texts: raw outputs of the text tower.

        Args:
            texts: K texts.

        Returns:
            (K, n) float32 on the CPU, not normalized, in single precision on every device.
        """
        embeddings = torch.empty(len(texts), self._dim)
        for start in range(0, len(texts), MAX_BATCH):
            batch = slice(start, start + MAX_BATCH)
            embeddings[batch] = self._embed_tokens(list(texts[batch]))
        return embeddings

    def crop(self, images: Tensor) -> Tensor:
        """Resize and crop images to the input of the image tower, before its normalization.

        Args:
            images: (B, 3, H, W), floats in [0, 1].

        Returns:
            (B, 3, height, width) float32 in [0, 1], of the tower's image size.

        Raises:
            TypeError: if the images are no float tensor.
            ValueError: if they have another shape, or values outside [0, 1].
        """
        return resize_and_crop(
            images, self._size, mode=self._resize_mode, interpolation=self._interpolation
        )

    def _normalize(self, images: Tensor) -> Tensor:
        from torchvision.transforms.v2 import functional

        return functional.normalize(images, list(self._mean), list(self._std))

    def _embed_tokens(self, texts: list[str]) -> Tensor:
        device = self._device()
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            tokens = self._tokenizer(texts).to(device)
            embeddings: Tensor = self._model.encode_text(tokens, normalize=False)
        return embeddings.float().cpu()

    def _device(self) -> torch.device:
        device: torch.device = next(self._model.parameters()).device
        return device

    def _digest(self) -> str:
        """Eight hex digits of a digest of weights, preprocessing and tokens."""
        digest = hashlib.blake2b(digest_size=4)
        resizing = (self._size, self._interpolation, self._resize_mode)
        digest.update(repr((resizing, self._mean, self._std)).encode())
        tokens = self._tokenizer(["an image of a dog", "something red on a white background"])
        for key, value in [*sorted(self._model.state_dict().items()), ("tokens", tokens)]:
            digest.update(repr((key, value.dtype, tuple(value.shape))).encode())
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        return digest.hexdigest()


def _height_and_width(size: int | tuple[int, int]) -> tuple[int, int]:
    sides = (size, size) if isinstance(size, int) else tuple(size)
    if len(sides) != 2 or not all(isinstance(side, int) and side > 0 for side in sides):
        raise ValueError(f"image_size must be a positive int or (height, width), got {size!r}")
    return sides[0], sides[1]


def _per_channel(what: str, values: Sequence[float]) -> tuple[float, float, float]:
    numbers = tuple(float(value) for value in values)
    if len(numbers) != 3:
        raise ValueError(f"{what} needs three numbers, one a channel, got {values!r}")
    return numbers[0], numbers[1], numbers[2]
