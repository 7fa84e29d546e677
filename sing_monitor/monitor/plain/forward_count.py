"""ForwardCount: how often a model has run, and on what."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from sing_monitor.head.torch_internals import is_compiled_in_place
from sing_monitor.head.weak_hook import WeakHook
from sing_monitor.inputs.batches import Batch

_REMEMBERED = 16  # inputs of earlier passes


class ForwardCount:
    """Counts the forward passes of a module while it is open, and knows their inputs again.

    The hook changes nothing and never raises, and keeps no input alive. Of a module that was
    compiled in place passes are not counted: its code would not notice the hook.
    """

    def __init__(self) -> None:
        self.passes = 0
        self.error: Exception | None = None
        self.is_late = False  # whether a pass had the images of a batch that came before it
        self._handle: RemovableHandle | None = None
        self._latest: list[weakref.ref[Tensor]] = []
        self._earlier: deque[weakref.ref[Tensor]] = deque(maxlen=_REMEMBERED)
        self._unheard: list[weakref.ref[Tensor]] = []  # of the last batch, if no pass had them

    def open(self, module: nn.Module) -> None:
        """Count from now on."""
        self.close()
        self.passes, self.is_late = 0, False
        self._latest, self._unheard = [], []
        self._earlier.clear()
        if not is_compiled_in_place(module):
            self._handle = module.register_forward_pre_hook(WeakHook(self, "_count"))

    def take(self) -> int:
        """How many passes there were since the last call."""
        passes, self.passes = self.passes, 0
        return passes

    def is_of_another_pass(self, batch: Any) -> bool:
        """Whether it is certain that the last pass was one of other images than a batch's.

        A model that gets the batch changed, such as normalized, tells nothing.

        Args:
            batch: that was just handed over.
        """
        given = [weakref.ref(each) for each in _tensors(batch)]
        if _shared(given, self._latest):
            self._unheard = []
            return False
        self._unheard = given
        return _shared(given, self._earlier)

    def close(self) -> None:
        """Take the hook off the module."""
        if self._handle is not None:
            self._handle.remove()
            self._handle = None

    def _count(self, inputs: tuple[Any, ...]) -> None:
        self.passes += 1
        if torch.compiler.is_compiling():  # what follows would break the graph
            return
        self._earlier.extend(self._latest)
        self._latest = [weakref.ref(each) for each in inputs if isinstance(each, Tensor)]
        self.is_late = self.is_late or _shared(self._unheard, self._latest)


def _tensors(batch: Any) -> list[Tensor]:
    """Tensors of a batch that a model may have got as they are."""
    if isinstance(batch, Batch):
        return [batch.images]
    if isinstance(batch, Mapping):
        return [each for each in batch.values() if isinstance(each, Tensor)]
    if isinstance(batch, (list, tuple)):
        return [each for each in batch if isinstance(each, Tensor)]
    return []


def _shared(some: Iterable[weakref.ref[Tensor]], others: Iterable[weakref.ref[Tensor]]) -> bool:
    living = {id(tensor) for ref in others if (tensor := ref()) is not None}
    return any((tensor := ref()) is not None and id(tensor) in living for ref in some)
