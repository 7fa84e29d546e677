"""The file of a snapshot: one of safetensors, with text and numbers in its metadata."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from os import PathLike
from typing import Any, TypeVar

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from sing_monitor.feature_maps import FeatureMaps, StageFeatures
from sing_monitor.space.packed_texts import pack_texts, unpack_texts

SCHEMA = "3"
# Versions that know no higher schema cannot read a snapshot without embeddings.
_WITHOUT_SPACE = "4"
# Nor one with groups, by which its folds go.
_WITH_GROUPS = "5"
# Nor one with feature maps.
_WITH_MAPS = "6"
# Nor one with features of stages.
_WITH_STAGES = "7"
# Of schema 1 the invariance is that of the logits; 1 and 2 hold no texts.
_READABLE = ("1", "2", SCHEMA, _WITHOUT_SPACE, _WITH_GROUPS, _WITH_MAPS, _WITH_STAGES)
_REQUIRED = ("weight", "features", "labels")
_OPTIONAL = ("bias", "embeddings", "image_ids", "groups", "sample_index", "thumbnails")
_MAP_IDS, _MAP_VALUES = "maps/image_ids", "maps/values"
_STAGE_IDS, _STAGE_VALUES = "stages/image_ids", "stages/values/{}"

T = TypeVar("T")


def write_snapshot(parts: Mapping[str, Any], path: str | PathLike[str]) -> None:
    """Write the fields of a snapshot, by name, into one file."""
    tensors = {name: parts[name] for name in (*_REQUIRED, *_OPTIONAL) if parts[name] is not None}
    attributes, maps = parts["attributes"], parts["maps"]
    tensors |= {f"attribute/{name}": labels for name, (labels, _) in attributes.items()}
    if maps is not None:
        tensors |= {_MAP_IDS: maps.image_ids, _MAP_VALUES: maps.values}
    stages = parts["stages"]
    if stages is not None:
        tensors |= {_STAGE_IDS: stages.image_ids}
        tensors |= {_STAGE_VALUES.format(name): each for name, each in stages.values.items()}
    texts, text_names = pack_texts(parts["texts"])
    tensors |= texts
    metadata = {
        "schema": _schema(parts),
        "class_names": json.dumps(parts["class_names"]),
        "epoch": str(parts["epoch"]),
        "step": str(parts["step"]),
        "invariance": parts["invariance"],
        "attributes": json.dumps({name: names for name, (_, names) in attributes.items()}),
        **text_names,
    }
    if maps is not None:
        metadata["map_layer"] = maps.layer
    if stages is not None:
        metadata["stages"] = json.dumps([*stages.values])
    if parts["hierarchy"] is not None:
        metadata["hierarchy"] = json.dumps(dict(parts["hierarchy"]))
    # Copies, because the format refuses tensors that share memory, say labels and an attribute.
    save_file(
        {
            name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
            for name, tensor in tensors.items()
        },
        path,
        metadata,
    )


def read_snapshot(path: str | PathLike[str], make: Callable[[Mapping[str, Any]], T]) -> T:
    """Read a file that :func:`write_snapshot` wrote.

    Args:
        path: of the file.
        make: a snapshot out of its fields, by name.

    Raises:
        ValueError: if the file is no snapshot, or of a schema this version does not know.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise
    # Damaged headers make the library stumble in ways of their own.
    except Exception as error:
        raise ValueError(f"{path} is not a readable snapshot: {error}.") from error
    if metadata.get("schema") not in _READABLE:
        raise ValueError(
            f"{path} has snapshot schema {metadata.get('schema')}, this version reads "
            f"{', '.join(_READABLE)}; save it again with Snapshot.save."
        )
    try:
        return make(_parts(tensors, metadata))
    # What is absent or of another kind than written stumbles in ways of its own.
    except (LookupError, TypeError, AttributeError, RuntimeError) as error:
        raise ValueError(
            f"{path} is a damaged snapshot: {type(error).__name__}: {error}."
        ) from error


def _parts(tensors: dict[str, Any], metadata: Mapping[str, str]) -> dict[str, Any]:
    value_names = json.loads(metadata["attributes"])
    attributes = {
        name: (tensors.pop(f"attribute/{name}"), tuple(names))
        for name, names in value_names.items()
    }
    optional = {name: tensors.pop(name, None) for name in _OPTIONAL}
    texts = unpack_texts(tensors, metadata)
    maps = None
    if _MAP_IDS in tensors:
        layer = metadata.get("map_layer", "")
        maps = FeatureMaps(tensors.pop(_MAP_IDS), tensors.pop(_MAP_VALUES), layer)
    stages = None
    if _STAGE_IDS in tensors:
        names = json.loads(metadata["stages"])
        values = {name: tensors.pop(_STAGE_VALUES.format(name)) for name in names}
        stages = StageFeatures(tensors.pop(_STAGE_IDS), values)
    hierarchy = json.loads(metadata.get("hierarchy", "null"))
    return {
        **tensors,
        **optional,
        "class_names": tuple(json.loads(metadata["class_names"])),
        "epoch": int(metadata["epoch"]),
        "step": int(metadata["step"]),
        "attributes": attributes,
        "invariance": metadata.get("invariance", "logits"),
        "texts": texts,
        "maps": maps,
        "stages": stages,
        "hierarchy": None
        if hierarchy is None
        else {name: tuple(path) for name, path in hierarchy.items()},
    }


def _schema(parts: Mapping[str, Any]) -> str:
    if parts["stages"] is not None:
        return _WITH_STAGES
    if parts["maps"] is not None:
        return _WITH_MAPS
    if parts["groups"] is not None:
        return _WITH_GROUPS
    return _WITHOUT_SPACE if parts["embeddings"] is None else SCHEMA
