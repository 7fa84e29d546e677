"""NoSpace: stands where a semantic space would, for monitoring without embeddings."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class NoSpace:
    """Semantic space of no dimensions: every embedding is empty, and nothing is downloaded."""

    name = "none"
    dim = 0

    def encode_images(self, images: Tensor) -> Tensor:
        """Empty embeddings of images (B, 3, H, W), (B, 0)."""
        return images.new_zeros(len(images), 0)

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Empty embeddings of texts, (T, 0)."""
        return torch.zeros(len(texts), 0)
