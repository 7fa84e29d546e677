"""What one validation pass captured: enough to run every analysis again, offline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from os import PathLike
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from sing_monitor.feature_maps import FeatureMaps, StageFeatures
from sing_monitor.head.feature_split import coordinates
from sing_monitor.head.geometry import (
    HeadGeometry,
    Invariance,
    check_bias,
    check_invariance,
    effective_weight,
)
from sing_monitor.row_blocks import all_blocks, all_rows, mean, times_upper, working
from sing_monitor.snapshot_file import read_snapshot, write_snapshot
from sing_monitor.space.fingerprints import mix64
from sing_monitor.space.text_embeddings import Texts

# All other tensors have a row for each image.
_OF_THE_HEAD = ("weight", "bias")


@dataclass(frozen=True)
class Snapshot:
    """Head, features and embeddings of the probe images at one validation, on the CPU.

    Args:
        weight: the head's weight, (C, m), in the dtype in which it is stored: the rank
            tolerance depends on it.
        bias: the head's bias, (C,), or None.
        features: what entered the head, (N, m).
        labels: true classes, (N,) int64.
        embeddings: raw image embeddings of the semantic space, (N, n), not normalized; None
            without a space.
        class_names: C names.
        epoch: the trainer's current epoch.
        step: the trainer's global step.
        image_ids: content fingerprints, (N,) int64.
        groups: what an image belongs to, as a number (object, patient, video), (N,) int64; images
            of one group stay on one side of every translator. None: each stands for itself.
        sample_index: positions in the data set, (N,) int64; -1 where they are not known.
        thumbnails: (N, 64, 64, 3) uint8.
        attributes: further ground truth by name: labels (N,) int64 and the names of the values.
        invariance: what the null space leaves unchanged, ``"logits"`` or ``"softmax"``.
        texts: what the scores referred to, so that nobody needs the semantic space again.
        maps: feature maps of some of the images, found among them by ``image_ids``; or None.
        stages: features of earlier layers, of some of the images, found in the same way; or None.
        hierarchy: ancestors of every class as the user gave them, the most general first and
            without the class itself; None where the user gave none.

    Raises:
        ValueError: if a shape does not fit the others, a label names no class or value, or the
            invariance is unknown.
    """

    weight: Tensor
    bias: Tensor | None
    features: Tensor
    labels: Tensor
    embeddings: Tensor | None
    class_names: tuple[str, ...]
    epoch: int = 0
    step: int = 0
    image_ids: Tensor | None = None
    sample_index: Tensor | None = None
    thumbnails: Tensor | None = None
    attributes: Mapping[str, tuple[Tensor, tuple[str, ...]]] = field(default_factory=dict)
    invariance: Invariance = "logits"
    texts: Texts | None = None
    groups: Tensor | None = None
    maps: FeatureMaps | None = None
    hierarchy: Mapping[str, tuple[str, ...]] | None = None
    stages: StageFeatures | None = None

    def __post_init__(self) -> None:
        check_invariance(self.invariance)
        if self.weight.ndim != 2:
            raise ValueError(
                "weight must be a (classes, features) matrix, as in torch.nn.Linear; got "
                f"{tuple(self.weight.shape)}."
            )
        for name in ("weight", "features", "embeddings"):
            value = getattr(self, name)
            if value is not None and not value.is_floating_point():
                raise ValueError(f"{name} must be floating point, got {value.dtype}.")
        classes, feature_dim = self.weight.shape
        samples = len(self.features)
        expected: dict[str, tuple[int, ...]] = {
            "bias": (classes,),
            "features": (samples, feature_dim),
            "labels": (samples,),
            "image_ids": (samples,),
            "groups": (samples,),
            "sample_index": (samples,),
            "thumbnails": (samples, 64, 64, 3),
        }
        if self.embeddings is not None:
            expected["embeddings"] = (samples, self.embeddings.shape[-1])
        for name, shape in expected.items():
            _check_shape(name, getattr(self, name), shape)
        _check_labels("labels", self.labels, classes)
        if not all(isinstance(name, str) for name in self.class_names):
            raise ValueError("class names must be texts.")
        if self.groups is not None and self.groups.dtype != torch.int64:
            raise ValueError(
                f"groups must be int64, got {self.groups.dtype}; "
                "sing_monitor.inputs.groups.group_codes numbers groups of any kind."
            )
        for name, (labels, values) in self.attributes.items():
            _check_shape(f"attribute {name!r}", labels, (samples,))
            _check_labels(f"labels of attribute {name!r}", labels, len(values))
        if len(self.class_names) != classes:
            raise ValueError(
                f"the head has {classes} classes, but {len(self.class_names)} names were given."
            )
        for name in ("maps", "stages"):
            if getattr(self, name) is not None and self.image_ids is None:
                raise ValueError(f"{name} are found by image_ids, and this snapshot has none.")
        if self.hierarchy is not None and set(self.hierarchy) != set(self.class_names):
            raise ValueError("hierarchy must hold the ancestors of every class, and of no other.")
        if self.texts is not None:
            found = self.texts.classes.embeddings
            _check_shape("class texts", found, (classes, self.known_embeddings.shape[-1]))

    def __len__(self) -> int:
        """Number of images N."""
        return len(self.features)

    def take(self, rows: Tensor) -> Snapshot:
        """The same head on some images, by their numbers (R,); texts, maps and stages stay."""
        changes: dict[str, Any] = {
            each.name: value[rows]
            for each in fields(Snapshot)
            if isinstance(value := getattr(self, each.name), Tensor)
            and each.name not in _OF_THE_HEAD
        }
        changes["attributes"] = {
            name: (labels[rows], names) for name, (labels, names) in self.attributes.items()
        }
        return replace(self, **changes)

    @property
    def known_embeddings(self) -> Tensor:
        """The image embeddings, (N, n).

        Raises:
            ValueError: if the snapshot was taken without a semantic space.
        """
        if self.embeddings is None:
            raise ValueError(
                "this snapshot holds no image embeddings: it was taken without a semantic space. "
                "What translates features needs one that was taken with a space."
            )
        return self.embeddings

    @property
    def known_maps(self) -> FeatureMaps:
        """The feature maps.

        Raises:
            ValueError: if the snapshot was taken without any.
        """
        if self.maps is None:
            raise ValueError("what looks into images needs feature maps; this snapshot holds none.")
        return self.maps

    @property
    def known_stages(self) -> StageFeatures:
        """The features of earlier layers.

        Raises:
            ValueError: if the snapshot was taken without any.
        """
        if self.stages is None:
            raise ValueError("ranks by layer need features of stages; this snapshot holds none.")
        return self.stages

    @property
    def ids(self) -> Tensor:
        """Content fingerprints of the images, (N,) int64; positions where there are none."""
        return torch.arange(len(self)) if self.image_ids is None else self.image_ids

    @cached_property
    def geometry(self) -> HeadGeometry:
        """Row space and null space of the head."""
        return HeadGeometry.from_weight(self.weight, invariance=self.invariance)

    @cached_property
    def center(self) -> Tensor:
        """Mean feature mu of the probe, (m,) float64."""
        return mean(self.features, all_rows(self.features))

    @cached_property
    def seen(self) -> Tensor:
        """What the head sees of f - mu: its coordinates in the row space, (N, r)."""
        return coordinates(self.features, self.geometry, self.center)

    @property
    def logits(self) -> Tensor:
        """``W f + b``, (N, C), in the features' precision, single at least."""
        features = working(self.features)
        bias = None if self.bias is None else self.bias.to(features)
        return linear(features, self.weight.to(features), bias)

    @cached_property
    def predictions(self) -> Tensor:
        """``argmax(W f + b)``, (N,), worked out as ``W V_p V_p' (f - mu) + W mu + b``.

        Raises:
            ValueError: if the bias holds NaN.
        """
        check_bias(self.bias)
        weight = effective_weight(self.weight.double(), self.invariance)
        at_center = weight @ self.center + (0 if self.bias is None else self.bias.double())
        triangle, basis = self.geometry.triangle, self.geometry.row_basis
        visible = weight.to(self.seen) @ basis.to(self.seen) if triangle is None else triangle.T
        visible = visible.T.to(self.seen)

        def logits(seen: Tensor) -> Tensor:
            found = seen @ visible if triangle is None else times_upper(seen, visible)
            return found.add_(at_center.to(visible))

        # A block at a time: all logits of a head of many classes are larger than the features.
        blocks = [logits(self.seen[rows]).argmax(dim=1) for rows in all_blocks(self.seen)]
        return torch.cat(blocks)

    @cached_property
    def accuracy(self) -> float:
        """Share of images with the right prediction, 0 to 1."""
        return float((self.predictions == self.labels).double().mean())

    @cached_property
    def folds(self) -> Tensor:
        """Which half an image belongs to when translators are cross-fitted, (N,) of 0 and 1.

        The lowest bit of a scattered number: of the group's, so that no group stands on both sides;
        without groups of the content fingerprint, so that no copy of one image does; without both
        of the position. It depends on nothing else, in particular not on the order of the classes.
        Where so few groups, or so large ones, leave less than a third of the images on one side,
        they are shared out from the largest to the smallest, each to the side that has fewer.
        """
        if self.groups is None:
            return self._scattered & 1
        groups, rows, sizes = self.groups.unique(return_inverse=True, return_counts=True)
        hashed = mix64(groups)
        folds = hashed & 1
        if 3 * min(int(sizes[folds == side].sum()) for side in (0, 1)) < len(rows):
            folds = _shared_out(sizes, hashed.argsort())
        return folds[rows]

    def groups_of(self, rows: Tensor) -> Tensor | None:
        """Groups of some images, (B,) int64; None where images have none."""
        return None if self.groups is None else self.groups[rows]

    def fold_of(self, image_id: int) -> int | None:
        """The fold of the image with a fingerprint, 0 or 1; None if it is not in the probe."""
        if self.image_ids is None:
            return None
        rows = (self.image_ids == image_id).nonzero().flatten()
        return int(self.folds[rows[0]]) if len(rows) else None

    @property
    def draws(self) -> Tensor:
        """A number for every image that chooses its random subspace, (N,) int64."""
        return self._scattered

    @property
    def _scattered(self) -> Tensor:
        """Numbers all of whose bits are as good as random: fingerprints are such by themselves."""
        return mix64(self.ids) if self.image_ids is None else self.image_ids

    def save(self, path: str | PathLike[str]) -> None:
        """Write one safetensors file; text and numbers go into its metadata."""
        parts = {each.name: getattr(self, each.name) for each in fields(Snapshot)}
        write_snapshot(parts, path)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Snapshot:
        """Read a file written by :meth:`save`.

        Raises:
            ValueError: if the file is no snapshot, or of a schema this version does not know.
        """
        return read_snapshot(path, lambda parts: cls(**parts))


def _shared_out(sizes: Tensor, order: Tensor) -> Tensor:
    """Sides, 0 or 1, of groups with these sizes, the largest first; of equals in a given order."""
    sides, filled = torch.empty_like(sizes), [0, 0]
    for group in order[sizes[order].argsort(descending=True, stable=True)].tolist():
        side = int(filled[1] < filled[0])
        sides[group] = side
        filled[side] += int(sizes[group])
    return sides


def hex_id(image_id: int) -> str:
    """An image id as 16 hexadecimal digits: no reader rounds it, as some do large integers."""
    return f"{image_id & 0xFFFFFFFFFFFFFFFF:016x}"


def hex_ids(image_ids: Tensor) -> list[str]:
    """The same of many, (N,) int64."""
    digits = image_ids.numpy().astype(">i8").tobytes().hex()
    return [digits[start : start + 16] for start in range(0, len(digits), 16)]


def _check_shape(name: str, tensor: Tensor | None, expected: Sequence[int]) -> None:
    if tensor is not None and tuple(tensor.shape) != tuple(expected):
        raise ValueError(
            f"{name} has shape {tuple(tensor.shape)}, expected {tuple(expected)} "
            "to fit the head's weight and the number of features."
        )


def _check_labels(name: str, labels: Tensor, count: int) -> None:
    if labels.dtype != torch.int64:
        raise ValueError(f"{name} must be int64, got {labels.dtype}; convert them with .long().")
    outside = (labels < 0) | (labels >= count)
    if outside.any():
        raise ValueError(
            f"{name} must be 0 to {count - 1}; {int(outside.sum())} of {len(labels)} are not, for "
            f"example {int(labels[outside][0])}. Leave those images out of the snapshot."
        )
