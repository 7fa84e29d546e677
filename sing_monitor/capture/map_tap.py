"""MapTap: the maps before a model's head, out of the batches of a validation pass."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from sing_monitor.capture.device_rows import BatchRows
from sing_monitor.capture.head_tap import HeadTap
from sing_monitor.capture.map_choice import find_map_site
from sing_monitor.capture.map_rows import MapRows
from sing_monitor.capture.map_search import MapSearch
from sing_monitor.capture.map_site import GridError, MapSite, NoMapError
from sing_monitor.capture.pass_maps import PassMaps
from sing_monitor.errors import as_setup_error
from sing_monitor.head.torch_internals import is_compiled
from sing_monitor.head.weak_hook import WeakHook


class MapTap:
    """Takes the maps of some images of the probe, from the layer that the head's features average.

    Which layer that is, is searched once for a model, in the first batch in which the head answers.
    From then on one hook is on that layer, for one batch at a time; it copies the rows that are
    kept, never raises, never returns anything and never waits for the device. What goes wrong costs
    the maps of the pass and nothing else.

    Args:
        count: the most images; 0: no hook at all.
        head: the tap on the head; calls of the layer behind the head's do not count.
    """

    def __init__(self, count: int, head: HeadTap) -> None:
        self.site: MapSite | None = None
        self.error: Exception | None = None  # of a hook
        # Ids of the images whose maps were kept in the last pass, of all processes.
        self.shared_ids: tuple[int, ...] = ()
        self._count = count
        self._head = head
        self._model: nn.Module | None = None
        self._search: MapSearch | None = None
        self._reason = ""  # why the model has no map
        self._rows = MapRows(count)
        self._whole: Tensor | None = None
        self._is_open = self._is_called = False
        self._fault: Exception | None = None  # of the pass
        self._handle: RemovableHandle | None = None

    def attach(self, model: nn.Module) -> None:
        """Search the map of a model at the next batch."""
        self.release()
        self._model = model
        if self._count == 0:
            self._reason = "n_maps is 0"
        elif is_compiled(model):
            self._reason = "torch.compile runs the model, which calls no hooks on its layers"
        else:
            self._search = MapSearch(model)

    def start_pass(self, known: Tensor | None) -> None:
        """Forget the maps of the last pass.

        Args:
            known: ids of the images of the probe that will come, (R,) int64; None where that is
                not known, and the host looks at them.
        """
        if known is not None and self.shared_ids:
            # An image may come to another process than in the last pass.
            known = torch.cat([known, torch.tensor(self.shared_ids)]).unique()
        self._rows = MapRows(self._count, known)
        self._whole = self._fault = self.error = None
        self._is_called = False

    def open(self) -> None:
        """Listen to the next forward pass, until :meth:`shut`."""
        self.shut()
        if self._search is not None:
            self._search.open()
        elif self.site is not None and self._fault is None:
            self._is_open = True
            module = self.site.module
            self._handle = (
                module.register_forward_pre_hook(WeakHook(self, "_enter"), with_kwargs=True)
                if self.site.is_input
                else module.register_forward_hook(WeakHook(self, "_leave"), with_kwargs=True)
            )

    def shut(self) -> None:
        """Listen no longer, and take all hooks off the model."""
        self._is_open = False
        if self._search is not None:
            self._search.close()
        if self._handle is not None:
            self._handle.remove()
        self._handle = None

    def settle(self) -> None:
        """Conclude from the batch that was just seen which layer's maps are taken."""
        search = self._search
        if search is None:
            return
        self._search = None
        with self._kept():
            if search.error is not None:
                raise search.error
            self.site, candidate = find_map_site(search, self._head.module)
            self._is_called, self._reason = True, ""
            self._whole = search.whole(candidate, self.site.reading)

    def expect(self, batch: BatchRows) -> None:
        """Settle which images' maps are taken of a batch.

        Before the model sees it only these are copied, else the maps of the whole batch.
        """
        if self.is_taking:
            with self._kept():
                self._rows.expect(batch)

    @property
    def is_taking(self) -> bool:
        """Whether maps can still come of this pass."""
        is_known = self.site is not None or self._search is not None
        return is_known and self._fault is None

    def add(self, rows_of_head: int) -> None:
        """Keep what the hook has taken of a batch, whose features could be used.

        Args:
            rows_of_head: how many the head saw.
        """
        whole, self._whole = self._whole, None
        if self.site is None or not self.is_taking:
            return
        with self._kept():
            if self.error is not None:
                raise self.error
            if self._head.calls_per_batch > 1:
                raise NoMapError(
                    f"the head is called {self._head.calls_per_batch} times for each batch, so "
                    "that an image has several maps"
                )
            if whole is not None:
                self._rows.take(whole, self.site)
            self._rows.add(rows_of_head)

    def skip(self) -> None:
        """Keep nothing of a batch whose features could not be used."""
        self._whole = None
        self._rows.skip()

    def finish(self) -> PassMaps:
        """End the pass and hand over its maps. Waits for the device."""
        site, rows = self.site, self._rows
        self.abandon()
        if site is not None and isinstance(self._fault, GridError):
            # Images may have another size from now on.
            self._search_anew()
        if site is None or self._fault is not None:
            return self._without_maps()
        if not self._is_called:
            # Another layer may have taken its place.
            self._search_anew()
            self._reason = f"the layer {site.label}, whose maps were kept, is called no more"
            return self._without_maps()
        with self._kept():
            found = rows.on_cpu(site.label)
            # Another process may have the images that are wanted.
            return PassMaps() if found is None else PassMaps(found, _averaging(site))
        return self._without_maps()

    def abandon(self) -> None:
        """End a pass without its maps."""
        self.shut()
        self._rows = MapRows(self._count)
        self._whole = None

    def release(self) -> None:
        """Take all hooks off the model, and forget its map."""
        self.abandon()
        self.site = self._model = self._search = self._fault = self.error = None
        self._reason = ""

    def __str__(self) -> str:
        if self.site is not None:
            return str(self.site)
        return f"none: {self._reason or 'no batch was seen'}"

    def _search_anew(self) -> None:
        self.site = None
        self._search = None if self._model is None else MapSearch(self._model)

    def _without_maps(self) -> PassMaps:
        fault = self._fault
        if isinstance(fault, NoMapError) or fault is None:
            reason = self._reason if fault is None else str(fault)
            return PassMaps(reason="" if self._count == 0 else reason)
        return PassMaps(fault=as_setup_error(fault))

    @contextmanager
    def _kept(self) -> Generator[None, None, None]:
        """Keep what is raised in the block: it costs the maps of this pass."""
        try:
            yield
        except Exception as error:
            self._fault = error
            if self.site is None:
                self._reason = str(error)

    def _enter(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        self._take(args[0] if args else next(iter(kwargs.values())))

    def _leave(self, _args: object, _kwargs: object, output: Tensor) -> None:
        self._take(output)

    def _take(self, tensor: Tensor) -> None:
        if self._is_open and self.site is not None and not self._head.is_called:
            self._is_called = True
            if self._rows.is_settled:
                self._rows.take(tensor, self.site)
            else:
                # A layer behind may change it in place.
                self._whole = tensor.detach().clone()


def _averaging(site: MapSite) -> str:
    if site.kept_grid == site.grid:
        return ""
    (height, width), kept = site.grid, site.kept_grid
    return (
        f"maps of {site.label} have {height} x {width} locations; they are averaged to "
        f"{kept[0]} x {kept[1]}, by which images are compared."
    )
