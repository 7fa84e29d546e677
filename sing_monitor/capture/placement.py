"""Which row of a matrix on the device holds the features of which image of the probe."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from sing_monitor.capture.probe import hashes, in_probe


class Placement(Protocol):
    """Gives images their rows, 1 and on; row 0 takes what is not kept.

    Attributes:
        rows: how many rows there are besides row 0.
        threshold: of the hashes that belong to the probe.
    """

    rows: int
    threshold: int

    def place(self, image_ids: Tensor, wanted: Tensor) -> Tensor:
        """Rows of the images of one batch, (B,) int64, on the device of their ids.

        Args:
            image_ids: content fingerprints, (B,).
            wanted: which of them may belong to the probe, (B,) bool.
        """

    def places(self, image_ids: Tensor, wanted: Tensor) -> Tensor:
        """Rows of all images of the pass, (N,) int64, on the CPU."""


class InOrder:
    """Rows in the order in which the images come, worked out on the device. It never waits.

    Args:
        threshold: of the hashes that belong to the probe.
        expected: how many images of the probe will come. A few more have a row; features of those
            beyond are dropped.
    """

    def __init__(self, threshold: int, expected: int) -> None:
        self.threshold = threshold
        self.rows = with_spare(expected)
        self._count: Tensor | None = None

    def place(self, image_ids: Tensor, wanted: Tensor) -> Tensor:
        """Rows of the images of one batch, (B,)."""
        if self._count is None:
            self._count = torch.zeros((), dtype=torch.int64, device=image_ids.device)
        chosen = in_probe(image_ids, self.threshold) & wanted
        place = self._numbered(self._count, chosen)
        self._count = self._count + chosen.sum()
        return place

    def places(self, image_ids: Tensor, wanted: Tensor) -> Tensor:
        """Rows of all images of the pass, (N,)."""
        chosen = in_probe(image_ids, self.threshold) & wanted
        return self._numbered(torch.zeros((), dtype=torch.int64), chosen)

    def _numbered(self, before: Tensor, chosen: Tensor) -> Tensor:
        place = before + chosen.cumsum(0)
        # Leaving out what is not kept would need its number on the host.
        return place * (chosen & (place <= self.rows))


class ById:
    """A row for each of the images of the last pass, however often it comes. It never waits.

    Args:
        threshold: of the hashes that belong to the probe.
        known: their ids, (R,), distinct and sorted, on the CPU.
    """

    def __init__(self, threshold: int, known: Tensor) -> None:
        self.threshold = threshold
        self.rows = len(known)
        self._known = known

    def place(self, image_ids: Tensor, wanted: Tensor) -> Tensor:
        """Rows of the images of one batch, (B,)."""
        if self._known.device != image_ids.device:
            self._known = self._known.to(image_ids.device, non_blocking=True)
        found = torch.searchsorted(self._known, image_ids).clamp(max=self.rows - 1)
        return (found + 1) * ((self._known[found] == image_ids) & wanted)

    def places(self, image_ids: Tensor, wanted: Tensor) -> Tensor:
        """Rows of all images of the pass, (N,)."""
        self._known = self._known.cpu()
        return self.place(image_ids, wanted)


class Smallest:
    """Rows for the images of smallest hash, worked out on the host while the pass goes on.

    However many images come, and however many were expected, about ``size`` rows are enough: once
    there are more, the threshold shrinks to the ``size``-th smallest hash seen so far.

    Args:
        threshold: of the hashes that may belong to the probe.
        size: the most rows that are wanted; only copies of one image may exceed it.
        is_once: whether an image that comes again has its row already.
        expected: how many images of the probe will come, as far as that is known.
    """

    def __init__(self, threshold: int, size: int, *, is_once: bool, expected: int = 0) -> None:
        self.threshold = threshold
        self.rows = expected
        self._size = size
        self._is_once = is_once
        self._ids = torch.empty(0, dtype=torch.int64)  # by row
        self._row_of: dict[int, int] = {}
        self._places: list[Tensor] = []

    def choose(self, image_ids: Tensor, wanted: Tensor) -> Tensor:
        """Which images of a batch will get rows if it is placed, (B,) bool; all on the CPU."""
        threshold, _ = self._with(image_ids, wanted)
        return in_probe(image_ids, threshold) & wanted

    def place(self, image_ids: Tensor, wanted: Tensor) -> Tensor:
        """Rows of the images of one batch, (B,); all on the CPU."""
        self.threshold, new = self._with(image_ids, wanted)
        chosen = in_probe(image_ids, self.threshold) & wanted
        new &= chosen
        place = (len(self._ids) + new.cumsum(0)) * new
        self._ids = torch.cat([self._ids, image_ids[new]])
        if self._is_once:
            for image_id, row in zip(image_ids[new].tolist(), place[new].tolist(), strict=True):
                self._row_of[image_id] = row
            again = (chosen & ~new).nonzero().flatten()
            place[again] = torch.tensor(
                [self._row_of[image_id] for image_id in image_ids[again].tolist()],
                dtype=torch.int64,
            )
        self._places.append(place)
        self.rows = max(self.rows, len(self._ids))
        return place

    def compact(self) -> Tensor | None:
        """Give up rows whose images have left the probe, once there are many of them.

        Returns:
            The rows (R,) that stay, in the order of their new numbers; None if all stay.
        """
        if len(self._ids) <= with_spare(self._size):
            return None
        stays = in_probe(self._ids, self.threshold)
        if bool(stays.all()):
            return None
        new_row = torch.cat([torch.zeros(1, dtype=torch.int64), stays.cumsum(0) * stays])
        self._places = [new_row[torch.cat(self._places)]]
        self._ids = self._ids[stays]
        self._row_of = {
            image_id: int(new_row[row])
            for image_id, row in self._row_of.items()
            if new_row[row] > 0
        }
        return stays.nonzero().flatten() + 1

    def skip(self, images: int) -> None:
        """Give so many images no rows."""
        self._places.append(torch.zeros(images, dtype=torch.int64))

    def places(self, image_ids: Tensor, wanted: Tensor) -> Tensor:
        """Rows of all images of the pass, (N,)."""
        return torch.cat(self._places)

    def _with(self, image_ids: Tensor, wanted: Tensor) -> tuple[int, Tensor]:
        """The threshold once a batch is added, and which of its images would get new rows, (B,)."""
        new = in_probe(image_ids, self.threshold) & wanted
        if self._is_once:
            new &= self._is_first(image_ids, new)
        found = hashes(torch.cat([self._ids, image_ids[new]]))
        if len(found) <= self._size:
            return self.threshold, new
        return min(self.threshold, int(found.kthvalue(self._size).values)), new

    def _is_first(self, image_ids: Tensor, chosen: Tensor) -> Tensor:
        """Which chosen images have come neither before nor earlier in their batch, (B,) bool."""
        seen: set[int] = set()
        first = torch.zeros(len(image_ids), dtype=torch.bool)
        for place, image_id in enumerate(image_ids.tolist()):
            if chosen[place] and image_id not in self._row_of and image_id not in seen:
                first[place] = True
                seen.add(image_id)
        return first


def with_spare(rows: int) -> int:
    """Some more rows than are planned, so that a few unplanned images have a place."""
    return rows + rows // 8 + 64
