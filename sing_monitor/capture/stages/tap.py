"""StageTap: features of a model's stages, out of the batches of a validation pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from sing_monitor.analyses.layers.specs import MOST_IMAGES
from sing_monitor.capture.device_rows import BatchRows
from sing_monitor.capture.head_tap import HeadTap
from sing_monitor.capture.map_rows import MapRows
from sing_monitor.capture.stages.averages import NoStageError, averaged
from sing_monitor.capture.stages.pass_stages import PassStages
from sing_monitor.capture.stages.sites import Stage, found_stages, likely_stages, named_stages
from sing_monitor.errors import as_setup_error
from sing_monitor.feature_maps import StageFeatures
from sing_monitor.head.linear_layers import linear_layers
from sing_monitor.head.weak_hook import WeakHook

_NONE_FOUND = (
    "it is not clear which modules lead to the head; name those that are meant, as in "
    "layers=['layer1', 'layer4']"
)
_BEHIND = "it ends behind the head, or is the head"


class StageTap:
    """Takes what some modules of a model give for at most 1,024 images of the probe.

    A hook on each of them, for one batch at a time, averages its output over the locations, (B, c);
    it never raises, never returns anything and never waits for the device. Which modules they are
    is settled in the first batch in which the head answers; until then the hooks are on all that it
    may be. A stage that gives no vector for each image of a batch is left out of the pass, with the
    reason; any other fault costs the stages of the pass and nothing else.

    Args:
        layers: dotted names; True: the stages are found; False: no hook at all.
        head: the tap on the head; calls behind the head's do not count.
    """

    def __init__(self, layers: bool | Sequence[str], head: HeadTap) -> None:
        self.stages: tuple[Stage, ...] = ()
        self.error: Exception | None = None  # of a hook
        # Ids of the images whose features were kept in the last pass, of all processes.
        self.shared_ids: tuple[int, ...] = ()
        self._layers = layers
        self._head = head
        self._model: nn.Module | None = None
        self._is_settled = self._is_open = False
        self._rows = MapRows(0)
        self._widths: dict[str, int] | None = None  # of the pass, in the order of the calls
        self._left_out: dict[str, str] = {}
        self._fault: Exception | None = None
        self._handles: list[RemovableHandle] = []
        # Of a batch.
        self._calls: Counter[str] = Counter()
        self._taken: dict[str, Tensor] = {}
        self._reasons: dict[str, str] = {}
        # Of the first batch, in which the head is not known yet: layers that were called, and the
        # stages that ended by then.
        self._order: list[nn.Module | str] = []

    @property
    def is_wanted(self) -> bool:
        """Whether stages are asked for."""
        return self._layers is not False

    def check(self, model: nn.Module) -> None:
        """Make sure that a model has the modules that the user names.

        Raises:
            SetupError: if it has not.
        """
        if not isinstance(self._layers, bool):
            named_stages(model, self._layers)

    def attach(self, model: nn.Module) -> None:
        """Look for the stages of a model at the next batch."""
        self.release()
        if not self.is_wanted:
            return
        self._model = model
        with self._kept():
            self.stages = (
                likely_stages(model)
                if isinstance(self._layers, bool)
                else named_stages(model, self._layers)
            )

    def start_pass(self, known: Tensor | None) -> None:
        """Forget the features of the last pass; arguments as of the maps'."""
        if known is not None and self.shared_ids:
            # An image may come to another process than in the last pass.
            known = torch.cat([known, torch.tensor(self.shared_ids)]).unique()
        self._rows = MapRows(MOST_IMAGES, known)
        self._widths = self._fault = self.error = None
        self._left_out = {each.name: each.obstacle for each in self.stages if each.obstacle}
        if self._is_settled and not self.stages:
            self._left_out[""] = _NONE_FOUND

    @property
    def is_taking(self) -> bool:
        """Whether features can still come of this pass."""
        is_possible = any(each.name not in self._left_out for each in self.stages)
        return is_possible and self._fault is None and "" not in self._left_out

    def open(self) -> None:
        """Listen to the next forward pass, until :meth:`shut`."""
        self.shut()
        self._forget_batch()
        if not self.is_taking:
            return
        self._is_open = True
        self._handles = [
            each.module.register_forward_hook(WeakHook(self, "_leave", each), with_kwargs=True)
            for each in self.stages
            if each.name not in self._left_out
        ]
        if not self._is_settled and self._model is not None:
            self._handles += [
                each.module.register_forward_pre_hook(WeakHook(self, "_enter", each.module))
                for each in linear_layers(self._model)
            ]

    def shut(self) -> None:
        """Listen no longer, and take all hooks off the model."""
        self._is_open = False
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def settle(self) -> None:
        """Conclude which modules are the stages, once the head is known."""
        if self._is_settled or self._model is None or self._fault is not None:
            return
        self._is_settled = True
        self._forget_what_is_behind(self._head.module)
        if isinstance(self._layers, bool):
            with self._kept():
                self.stages = found_stages(self._model, self._head.module)
                names = {each.name for each in self.stages}
                self._left_out = {k: why for k, why in self._left_out.items() if k in names}
                if not self.stages:
                    self._left_out[""] = _NONE_FOUND

    def _forget_what_is_behind(self, head: nn.Module) -> None:
        """Forget calls of the first batch that ended behind the head's."""
        if head in self._order:
            at = self._order.index(head)
            before = Counter(each for each in self._order[:at] if isinstance(each, str))
            for name in self._calls.keys() - before.keys():
                self._taken.pop(name, None)
                self._reasons[name] = _BEHIND
            self._calls = Counter({name: before[name] for name in self._calls if name in before})
        self._order.clear()

    def expect(self, batch: BatchRows) -> None:
        """Settle which images' features are taken of a batch."""
        if self.is_taking:
            with self._kept():
                self._rows.expect(batch)

    def add(self, rows_of_head: int) -> None:
        """Keep what the hooks have taken of a batch, whose features could be used.

        Args:
            rows_of_head: how many the head saw.
        """
        if not self.is_taking:
            return
        with self._kept():
            if self.error is not None:
                raise self.error
            calls = self._head.calls_per_batch
            if calls > 1:
                self._left_out[""] = (
                    f"the head is called {calls} times for each batch, so that an image has "
                    "several vectors"
                )
                return
            self._judge(rows_of_head)
            if self._widths is None:
                usable = {each.name for each in self.stages} - self._left_out.keys()
                # The order of the calls.
                self._widths = {
                    name: self._taken[name].shape[1] for name in self._calls if name in usable
                }
            if self.is_taking and self._widths:
                self._rows.take(self._side_by_side(rows_of_head, self._widths), _AsMaps())
                self._rows.add(rows_of_head)
        self._forget_batch()

    def skip(self) -> None:
        """Keep nothing of a batch whose features could not be used."""
        self._rows.skip()
        self._forget_batch()

    def finish(self) -> PassStages:
        """End the pass and hand over its features. Waits for the device."""
        rows, left_out, widths = self._rows, dict(self._left_out), self._widths or {}
        self.abandon()
        if not self.is_wanted:
            return PassStages(was_asked=False)
        if self._fault is None:
            with self._kept():
                found = rows.on_cpu("")
                names = [name for name in widths if name not in left_out]
                if found is None or not names:
                    return PassStages(left_out=left_out)
                columns = found.values.flatten(1).split(list(widths.values()), dim=1)
                values = {
                    name: part.clone()
                    for name, part in zip(widths, columns, strict=True)
                    if name in names
                }
                return PassStages(StageFeatures(found.image_ids, values), left_out)
        return PassStages(left_out=left_out, fault=as_setup_error(self._fault or RuntimeError()))

    def abandon(self) -> None:
        """End a pass without its features."""
        self.shut()
        self._rows = MapRows(0)
        self._widths = None
        self._forget_batch()

    def release(self) -> None:
        """Take all hooks off the model, and forget its stages."""
        self.abandon()
        self.stages, self._left_out = (), {}
        self._model = self._fault = self.error = None
        self._is_settled = False

    def __str__(self) -> str:
        kept = [each.name for each in self.stages if each.name not in self._left_out]
        if self._fault is not None or "" in self._left_out or not kept:
            return f"none: {self._fault or self._left_out.get('') or 'no stage gives a vector'}"
        without = [f"{name} ({why})" for name, why in self._left_out.items()]
        return ", ".join(kept) + (f"; without {', '.join(without)}" if without else "")

    def _judge(self, rows_of_head: int) -> None:
        """Leave out the stages whose output in this batch is no vector for each image."""
        for stage in self.stages:
            name = stage.name
            if name in self._left_out:
                continue
            rows = self._taken.get(name)
            reason = self._reasons.get(name, "")
            if self._calls[name] != 1:
                often = self._calls[name]
                reason = (
                    f"it is called {often} times for a batch"
                    if often
                    else reason or "it is not called"
                )
            elif rows is not None and len(rows) != rows_of_head:
                reason = f"it gives {len(rows)} rows for a batch of {rows_of_head} images"
            elif rows is not None and self._widths is not None:
                first = self._widths.get(name)
                if first != rows.shape[1]:
                    reason = f"it gives {rows.shape[1]} channels, and {first} before"
            if reason:
                self._left_out[name] = reason

    def _side_by_side(self, images: int, widths: dict[str, int]) -> Tensor:
        """The vectors of all stages, (B, sum c); zeros for a stage that was left out meanwhile."""
        known = {name: rows for name, rows in self._taken.items() if name not in self._left_out}
        some = next(iter(known.values()))
        with torch.inference_mode(False), torch.no_grad():
            return torch.cat(
                [
                    known[name].to(some.device, non_blocking=True)
                    if name in known
                    else some.new_zeros(images, width)
                    for name, width in widths.items()
                ],
                dim=1,
            )

    @torch.inference_mode(False)
    @torch.no_grad()
    def _leave(self, stage: Stage, _args: object, _kwargs: object, output: object) -> None:
        if not self._is_open:
            return
        if self._head.is_called:
            if stage.name not in self._calls:
                self._reasons[stage.name] = _BEHIND
            return
        self._calls[stage.name] += 1
        self._order.append(stage.name)
        if self._calls[stage.name] > 1:
            return
        try:
            self._taken[stage.name] = averaged(output, stage)
        except NoStageError as error:
            self._reasons[stage.name] = str(error)

    def _enter(self, layer: nn.Module, _args: object) -> None:
        if self._is_open:
            self._order.append(layer)

    def _forget_batch(self) -> None:
        self._order.clear()
        self._calls.clear()
        self._taken.clear()
        self._reasons.clear()

    @contextmanager
    def _kept(self) -> Generator[None, None, None]:
        """Keep what is raised in the block: it costs the stages of this pass."""
        try:
            yield
        except Exception as error:
            self._fault = error


class _AsMaps:
    """Reads vectors as maps of one location."""

    def maps(self, tensor: Tensor) -> Tensor:
        return tensor[..., None, None]
