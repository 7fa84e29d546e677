"""ForwardCount: how often a model has run."""

from __future__ import annotations

from torch import nn
from torch.utils.hooks import RemovableHandle

from sing_monitor.head.torch_internals import is_compiled_in_place
from sing_monitor.head.weak_hook import WeakHook


class ForwardCount:
    """Counts the forward passes of a module while it is open.

    The hook changes nothing and never raises. Of a module that was compiled in place passes are not
    counted: its code would not notice the hook.
    """

    def __init__(self) -> None:
        self.passes = 0
        self.error: Exception | None = None
        self._handle: RemovableHandle | None = None

    def open(self, module: nn.Module) -> None:
        """Count from now on."""
        self.close()
        self.passes = 0
        if not is_compiled_in_place(module):
            self._handle = module.register_forward_pre_hook(WeakHook(self, "_count"))

    def take(self) -> int:
        """How many passes there were since the last call."""
        passes, self.passes = self.passes, 0
        return passes

    def close(self) -> None:
        """Take the hook off the module."""
        if self._handle is not None:
            self._handle.remove()
            self._handle = None

    def _count(self, *_args: object) -> None:
        self.passes += 1
