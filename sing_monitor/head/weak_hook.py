"""WeakHook: a hook that leaves no trace in the model and never raises."""

from __future__ import annotations

import weakref
from typing import Any

from torch import nn


class WeakHook:
    """Hook with a weak link to its owner, which every copy and pickle of the model cuts.

    Args:
        owner: its method is called, and its ``error`` keeps what the call raises, because a fault
            of the monitor must not surface inside the forward pass. None: a hook without effect.
        method: name of the owner's method.
        first: arguments of the method before those of the hook.
    """

    # Tools that print or script a model read this name.
    __name__ = "WeakHook"

    def __init__(self, owner: Any = None, method: str = "", *first: object) -> None:
        self._owner = weakref.ref(owner) if owner is not None else None
        self._method = method
        self._first = first

    def __call__(self, _module: nn.Module, *arguments: Any) -> None:
        """Call the owner's method; return nothing, so that the module's output stays as it is."""
        owner = self._owner() if self._owner is not None else None
        if owner is None:
            return
        try:
            getattr(owner, self._method)(*self._first, *arguments)
        except Exception as error:
            owner.error = error

    def __deepcopy__(self, _memo: object) -> WeakHook:
        return WeakHook()

    def __reduce__(self) -> tuple[type[WeakHook], tuple[()]]:
        return WeakHook, ()
