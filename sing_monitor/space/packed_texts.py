"""Conversion of text embeddings to the tensors and metadata of a safetensors file, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping

from torch import Tensor

from sing_monitor.space.text_embeddings import Texts, TextSet

_PREFIX = "texts/"


def pack_texts(texts: Texts | None) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Convert texts to tensors by name and metadata; both are empty for None."""
    if texts is None:
        return {}, {}
    sets = {"classes": texts.classes} | {f"attribute/{k}": v for k, v in texts.attributes.items()}
    if texts.concepts is not None:
        sets["concepts"] = texts.concepts
    tensors = {f"{_PREFIX}{key}": each.embeddings for key, each in sets.items()}
    return tensors, {"texts": json.dumps({key: each.names for key, each in sets.items()})}


def unpack_texts(tensors: dict[str, Tensor], metadata: Mapping[str, str]) -> Texts | None:
    """Take the texts out of a file's tensors; None if it holds no texts.

    Args:
        tensors: by name; those of the texts are removed.
        metadata: of the file.
    """
    if "texts" not in metadata:
        return None
    sets = {
        key: TextSet(tuple(names), tensors.pop(f"{_PREFIX}{key}"))
        for key, names in json.loads(metadata["texts"]).items()
    }
    attributes = {
        key.removeprefix("attribute/"): each
        for key, each in sets.items()
        if key.startswith("attribute/")
    }
    return Texts(sets["classes"], sets.get("concepts"), attributes)
