"""MapRows: the maps of the images of smallest hash, out of the batches of one pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from sing_monitor.capture.device_rows import BatchRows, wanted
from sing_monitor.capture.pass_maps import PassMaps
from sing_monitor.capture.probe import hashes, in_probe
from sing_monitor.feature_maps import FeatureMaps

_NO_BOUND = 2**63 - 1


class Site(Protocol):
    """Where in a model maps are taken."""

    def maps(self, tensor: Tensor) -> Tensor:
        """Maps out of some rows of its tensor, (R, c, h, w)."""


@dataclass(frozen=True, eq=False)
class _Plan:
    """Rows of a batch whose maps are kept.

    Args:
        rows: of all images of the batch, (R,), on the device of their ids.
        labeled: the same among the images that have a class.
        images: of the batch.
        keys: ids of the rows' images, where the host has them.
        is_found: where it has not, which of the known images are in the batch, (R,) bool.
    """

    rows: Tensor
    labeled: Tensor
    images: int
    keys: Sequence[int] = ()
    is_found: Tensor | None = None


class MapRows:
    """Keeps the maps of at most ``count`` images: those with a class and the smallest hashes.

    Which rows of a batch are kept is best settled before the model sees it, so that only those are
    copied. Once the ids are known, nothing waits for a device; ``count`` rows of every batch are
    copied there, and those of known images are kept. Of copies of an image the first counts. Until
    :meth:`on_cpu` the device holds ``count`` maps, and as many of one batch.

    Args:
        count: the most maps.
        known: ids of the images that are wanted, (R,) int64, distinct; None where the host looks at
            all that come.

    Attributes:
        is_settled: whether it is settled which rows of the batch under way are kept.
    """

    def __init__(self, count: int, known: Tensor | None = None) -> None:
        self.is_settled = False
        self._count = count
        self._known = None if known is None else smallest(known, count)
        self._device_known: Tensor | None = None
        self._plan: _Plan | None = None
        self._taken: Tensor | None = None
        self._rows_seen = 0
        self._kept: dict[int, Tensor] = {}  # where the host has the ids
        self._matrix: Tensor | None = None  # where it has not
        self._has: Tensor | None = None

    @cached_property
    def _known_set(self) -> frozenset[int]:
        return frozenset(() if self._known is None else self._known.tolist())

    @torch.inference_mode(False)
    @torch.no_grad()
    def expect(self, batch: BatchRows) -> None:
        """Settle which rows of the next batch are kept."""
        self._taken = self._plan = None
        self.is_settled = True
        ids = batch.image_ids if batch.looked is None else batch.looked
        is_wanted = wanted(batch.labels, ids.device)
        labeled = (is_wanted.cumsum(0) - 1).clamp(min=0)
        if self._known is None or is_on_host(ids):
            looks = self._known is None
            keys = self._chosen(ids, is_wanted) if looks else self._found(ids, is_wanted)
            rows = torch.tensor(list(keys.values()), dtype=torch.int64)
            self._plan = _Plan(rows, labeled[rows], len(ids), tuple(keys))
        elif len(self._known) and len(ids):
            if self._device_known is None:
                self._device_known = self._known.to(ids.device, non_blocking=True)
            matches = (self._device_known[:, None] == ids) & is_wanted
            rows, is_found = matches.int().argmax(dim=1), matches.any(dim=1)
            self._plan = _Plan(rows, labeled[rows], len(ids), is_found=is_found)

    @torch.inference_mode(False)
    @torch.no_grad()
    def take(self, tensor: Tensor, site: Site) -> None:
        """Copy the settled rows of the tensor that holds the maps of a batch, (R, ...).

        Raises:
            NoMapError: if its maps have another shape than the site.
        """
        plan, self._taken, self._rows_seen = self._plan, None, len(tensor)
        if plan is None or len(plan.rows) == 0:
            return
        rows = plan.rows if len(tensor) == plan.images else plan.labeled.clamp(max=len(tensor) - 1)
        chosen = rows.to(tensor.device, non_blocking=True)
        self._taken = site.maps(tensor.detach().index_select(0, chosen))

    @torch.inference_mode(False)
    @torch.no_grad()
    def add(self, rows_of_head: int) -> None:
        """Keep what was taken, if its rows are those of the batch, or those that the head saw."""
        plan, taken = self._plan, self._taken
        self.skip()
        if plan is None or taken is None or self._rows_seen not in (plan.images, rows_of_head):
            return
        if plan.is_found is None:
            # Of known images none is given up; a part would keep the memory of the whole.
            parts = taken if self._known is not None else map(torch.clone, taken)
            self._kept.update(zip(plan.keys, parts, strict=True))
            for key in self._surplus():
                del self._kept[key]
            return
        is_found = plan.is_found.to(taken.device, non_blocking=True)
        if self._matrix is None or self._has is None:
            self._matrix, self._has = taken, is_found
            return
        is_new = is_found & ~self._has
        self._matrix = torch.where(is_new[:, None, None, None], taken, self._matrix)
        self._has = self._has | is_found

    def skip(self) -> None:
        """Keep nothing of the batch."""
        self._plan = self._taken = None
        self.is_settled = False

    def on_cpu(self, layer: str) -> FeatureMaps | None:
        """All maps, sorted by image id; None if there is none. Waits for the device."""
        if self._kept:
            keys = sorted(self._kept)
            values = torch.stack([self._kept[key].cpu() for key in keys])
            return FeatureMaps(torch.tensor(keys), values, layer)
        if self._matrix is None or self._has is None or self._known is None:
            return None
        has = self._has.cpu()
        if not bool(has.any()):
            return None
        order = self._known[has].argsort()
        return FeatureMaps(self._known[has][order], self._matrix.cpu()[has][order], layer)

    def _chosen(self, ids: Tensor, is_wanted: Tensor) -> dict[int, int]:
        """Ids of the images whose maps are kept, and their rows."""
        new: dict[int, int] = {}
        for row in (is_wanted & in_probe(ids, self._bound)).nonzero().flatten().tolist():
            key = int(ids[row])
            if key not in self._kept and key not in new:
                new[key] = row
        stays = smallest(torch.tensor([*self._kept, *new], dtype=torch.int64), self._count)
        return {key: new[key] for key in stays.tolist() if key in new}

    def _found(self, ids: Tensor, is_wanted: Tensor) -> dict[int, int]:
        """Ids of the known images that a batch brings for the first time, and their rows."""
        new: dict[int, int] = {}
        for row, (key, is_one) in enumerate(zip(ids.tolist(), is_wanted.tolist(), strict=True)):
            if is_one and key in self._known_set and key not in self._kept:
                new.setdefault(key, row)
        return new

    @property
    def _bound(self) -> int:
        if len(self._kept) < self._count:
            return _NO_BOUND
        return int(hashes(torch.tensor(list(self._kept))).max())

    def _surplus(self) -> list[int]:
        if len(self._kept) <= self._count:
            return []
        stays = set(smallest(torch.tensor(list(self._kept)), self._count).tolist())
        return [key for key in self._kept if key not in stays]


def is_on_host(tensor: Tensor) -> bool:
    """Whether reading a number of a tensor waits for no device."""
    return tensor.device.type == "cpu"


def smallest(image_ids: Tensor, count: int) -> Tensor:
    """Ids of smallest hash, (R,) with R at most ``count``, out of distinct ones, (N,)."""
    return image_ids[hashes(image_ids).argsort(stable=True)[:count]]


def joined_maps(parts: Sequence[PassMaps], count: int, image_ids: Tensor) -> PassMaps:
    """Maps of all processes as those of one.

    Every process holds its ``count`` maps of smallest hash, so the ``count`` of all are among them.

    Args:
        parts: of the processes that have seen images of the probe.
        count: the most maps.
        image_ids: of the probe, (N,).
    """
    if count == 0:
        return PassMaps()
    # Maps of some processes alone would be those of other images.
    failed = [part for part in parts if part.fault or (part.maps is None and part.reason)]
    if failed:
        return min(failed, key=lambda part: part.fault is None)
    found = [part.maps for part in parts if part.maps is not None]
    if not found:
        return PassMaps(reason="no batch gave maps for the images of the probe")
    first = found[0]
    for each in found[1:]:
        if each.layer != first.layer or each.values.shape[1:] != first.values.shape[1:]:
            return PassMaps(
                reason=f"one process has maps {tuple(first.values.shape[1:])} of {first.layer}, "
                f"another {tuple(each.values.shape[1:])} of {each.layer}"
            )
    ids = torch.cat([each.image_ids for each in found])
    kept = smallest(ids[torch.isin(ids, image_ids)].unique(), count).sort().values
    if len(kept) == 0:
        return PassMaps(reason="none of the images with maps belongs to the probe")
    row_of = {key: row for row, key in reversed(list(enumerate(ids.tolist())))}
    rows = torch.tensor([row_of[key] for key in kept.tolist()])
    values = torch.cat([each.values for each in found])[rows]
    reason = next((part.reason for part in parts if part.reason), "")
    return PassMaps(FeatureMaps(kept, values, first.layer), reason)
