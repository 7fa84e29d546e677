"""Hooks that leave no trace in the model: weakly linked, inert in copies, never raising."""

from __future__ import annotations

import weakref
from typing import Any

from torch import nn


class WeakHook:
    """What a module holds: a weak link to its owner, cut in every copy and pickle of the model.

    Args:
        owner: its ``error`` takes what a call raises, because a monitor's fault must not surface
            inside the forward pass. None: an inert hook.
        method: of the owner, called with what the module saw.
        first: an argument before those.
    """

    # Tools that print or script a model ask for it.
    __name__ = "WeakHook"

    def __init__(self, owner: Any = None, method: str = "", *first: object) -> None:
        self._owner = weakref.ref(owner) if owner is not None else None
        self._method = method
        self._first = first

    def __call__(self, _module: nn.Module, *seen: Any) -> None:
        """Hand over what the module saw, and return nothing, which leaves it as it is."""
        owner = self._owner() if self._owner is not None else None
        if owner is None:
            return
        try:
            getattr(owner, self._method)(*self._first, *seen)
        except Exception as error:
            owner.error = error

    def __deepcopy__(self, _memo: object) -> WeakHook:
        return WeakHook()

    def __reduce__(self) -> tuple[type[WeakHook], tuple[()]]:
        return WeakHook, ()
