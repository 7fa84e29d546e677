"""What a pass takes from its batches, kept where the model is until the pass has ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from sing_monitor.capture.placement import Placement, Smallest, with_spare
from sing_monitor.inputs.labels import has_class

Attributes = Mapping[str, tuple[Tensor, tuple[str, ...]]]


@dataclass(frozen=True, eq=False)
class BatchRows:
    """What is kept of a batch before the model has seen it.

    Args:
        image_ids: content fingerprints, (B,).
        labels: (B,) int64.
        attributes: value indices, (B,) int64, and names of the values, by attribute.
        positions: in the data set, (B,), on the CPU; None where they are not known.
        looked: where the host looks at the images, their ids on the CPU; else None.
        groups: numbers of the groups, (B,) int64; None where the batches tell none.
    """

    image_ids: Tensor
    labels: Tensor
    attributes: Attributes
    positions: Tensor | None
    looked: Tensor | None
    groups: Tensor | None = None

    def __len__(self) -> int:
        return len(self.image_ids)

    def __getitem__(self, rows: Tensor) -> BatchRows:
        """Some of the rows, by their numbers, (R,) on the CPU."""

        def some(column: Tensor) -> Tensor:
            return column[rows.to(column.device, non_blocking=True)]

        return BatchRows(
            some(self.image_ids),
            some(self.labels),
            {name: (some(values), names) for name, (values, names) in self.attributes.items()},
            None if self.positions is None else some(self.positions),
            None if self.looked is None else some(self.looked),
            None if self.groups is None else some(self.groups),
        )


@dataclass(frozen=True)
class SeenRows:
    """All images of a pass, and the features of those that belong to the probe, on the CPU.

    Args:
        image_ids: content fingerprints, (N,), in the order in which the images came.
        labels: (N,) int64.
        attributes: value indices, (N,) int64, and names of the values, by attribute.
        features: (R, m).
        places: which of the features are an image's, (N,) int64; -1 where there are none.
        used: which images are of batches whose features could be used, (N,) bool.
        groups: numbers of the groups, (N,) int64; None where the batches tell none.
    """

    image_ids: Tensor
    labels: Tensor
    attributes: Attributes
    features: Tensor
    places: Tensor
    used: Tensor
    groups: Tensor | None = None


class DeviceRows:
    """Gathers the rows of a pass; whether that waits for the device is up to the placement.

    Features of the probe are written into a matrix on the device, in the rows that the placement
    gives them. Only :meth:`on_cpu` copies, once. Until then the device holds (m,) features in their
    own dtype for each row of the placement, and 8 bytes for the id, label, group and each attribute
    of every image.

    Args:
        placement: of the images of the probe.
    """

    def __init__(self, placement: Placement) -> None:
        self._placement = placement
        self._batches: list[BatchRows] = []
        self._used: list[Tensor] = []
        self._features: Tensor | None = None

    @property
    def threshold(self) -> int:
        """Of the hashes that belong to the probe."""
        return self._placement.threshold

    @torch.inference_mode(False)
    @torch.no_grad()
    def add(self, batch: BatchRows, features: Tensor | None) -> None:
        """Take the rows of one batch.

        Args:
            batch: its ids and labels, which may lie on another device than the features.
            features: (B, m), or None where they cannot be used.
        """
        self._batches.append(batch)
        self._used.append(torch.full((len(batch),), features is not None))
        if features is None:
            if isinstance(self._placement, Smallest):
                self._placement.skip(len(batch))
            return
        ids = batch.image_ids if batch.looked is None else batch.looked
        place = self._placement.place(ids, wanted(batch.labels, ids.device))
        matrix = self._features = self._with_room(features)
        matrix.index_copy_(0, place.to(matrix.device, non_blocking=True), features)
        if isinstance(self._placement, Smallest):
            stays = self._placement.compact()
            if stays is not None:
                matrix[1 : 1 + len(stays)] = matrix[stays.to(matrix.device)]

    def on_cpu(self) -> SeenRows | None:
        """All that was taken; None if that is nothing. Waits for the device."""
        if not self._batches:
            return None
        image_ids, labels = (
            torch.cat([getattr(batch, name) for batch in self._batches]).cpu()
            for name in ("image_ids", "labels")
        )
        used = torch.cat(self._used)
        places = self._placement.places(image_ids, has_class(labels) & used)
        filled = int(places.max()) if len(places) else 0
        features = torch.empty(0, 0) if self._features is None else self._features
        return SeenRows(
            image_ids,
            labels,
            {
                name: (torch.cat([b.attributes[name][0] for b in self._batches]).cpu(), names)
                for name, (_, names) in self._batches[0].attributes.items()
            },
            features[1 : 1 + filled].cpu(),
            places - 1,
            used,
            self._groups(),
        )

    def _groups(self) -> Tensor | None:
        found = [batch.groups.cpu() for batch in self._batches if batch.groups is not None]
        return torch.cat(found) if found else None

    def _with_room(self, features: Tensor) -> Tensor:
        rows, filled = self._placement.rows, self._features
        if filled is None:
            return features.new_empty(1 + rows, features.shape[1])
        if len(filled) >= 1 + rows:
            return filled
        matrix = filled.new_empty(1 + with_spare(rows), filled.shape[1])
        matrix[: len(filled)] = filled
        return matrix


def wanted(labels: Tensor, device: torch.device) -> Tensor:
    """Which images of a batch may belong to the probe, (B,) bool."""
    if device.type == "cpu":
        return has_class(labels).cpu()
    return has_class(labels).to(device, non_blocking=True)
