"""What a pass takes from its batches, kept where the model is until the pass has ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from sing_monitor.callbacks.batches import Batch
from sing_monitor.callbacks.probe import in_probe


@dataclass(frozen=True)
class SeenRows:
    """All images of a pass, and the features of those that belong to the probe, on the CPU.

    Args:
        image_ids: content fingerprints, (N,), in the order in which the images came.
        labels: (N,) int64.
        attributes: value indices, (N,) int64, and names of the values, by attribute.
        features: (R, m), of the first R of the images that belong to the probe.
    """

    image_ids: Tensor
    labels: Tensor
    attributes: Mapping[str, tuple[Tensor, tuple[str, ...]]]
    features: Tensor


class DeviceRows:
    """Gathers the rows of a pass without ever waiting for the device.

    Which images belong to the probe is worked out on the device, and their features are written
    there, one after the other, into a matrix that was made large enough before. Only
    :meth:`on_cpu` copies, once. Until then the device holds (m,) features in their own dtype for
    each place of the matrix, and 8 bytes for the id, label and each attribute of every image.

    Args:
        threshold: of the hashes that belong to the probe.
        expected: about how many images of the probe will come. A few more have a place; without
            :meth:`reserve`, features of those beyond are dropped.
    """

    def __init__(self, threshold: int, expected: int) -> None:
        self._threshold = threshold
        self._places = _with_spare(expected)
        self._reserved = 0
        self._image_ids: list[Tensor] = []
        self._labels: list[Tensor] = []
        self._attributes: dict[str, tuple[list[Tensor], tuple[str, ...]]] = {}
        self._features: Tensor | None = None
        self._count = torch.empty(0)

    def reserve(self, rows: int) -> None:
        """Make sure that ``rows`` further images of the probe have a place."""
        self._reserved += rows
        if self._reserved > self._places:
            self._places = _with_spare(self._reserved)
            if self._features is not None:
                filled, self._features = self._features, self._matrix(self._features)
                self._features[: len(filled)] = filled

    def add(self, image_ids: Tensor, features: Tensor, batch: Batch) -> None:
        """Take the rows of one batch: ids (B,) and features (B, m), which may share no device."""
        with torch.inference_mode(False), torch.no_grad():
            # Copies, because a loader may use the memory of a batch again.
            self._image_ids.append(image_ids.clone())
            self._labels.append(batch.labels.clone())
            for name, (values, names) in batch.attributes.items():
                self._attributes.setdefault(name, ([], tuple(names)))[0].append(values.clone())
            if self._features is None:
                self._features = self._matrix(features)
                self._count = torch.zeros((), dtype=torch.int64, device=features.device)
            chosen = in_probe(image_ids, self._threshold).to(features.device, non_blocking=True)
            place = self._count + chosen.cumsum(0)
            # Row 0 takes what is not kept: leaving it out would need its number on the host.
            place = place * (chosen & (place <= self._places))
            self._features.index_copy_(0, place, features)
            self._count += chosen.sum()

    def on_cpu(self) -> SeenRows | None:
        """All that was taken; None if that is nothing. Waits for the device."""
        if self._features is None:
            return None
        kept = min(int(self._count), self._places)
        return SeenRows(
            torch.cat(self._image_ids).cpu(),
            torch.cat(self._labels).cpu(),
            {
                name: (torch.cat(values).cpu(), names)
                for name, (values, names) in self._attributes.items()
            },
            self._features[1 : 1 + kept].cpu(),
        )

    def _matrix(self, like: Tensor) -> Tensor:
        return like.new_empty(1 + self._places, like.shape[1])


def _with_spare(rows: int) -> int:
    """Where the probe is a share of all images, their number differs a little from the plan."""
    return rows + rows // 8 + 64
