"""Loops of a Hugging Face Trainer: finding the Trainer, and running code around its methods."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from transformers import Trainer

Around = Callable[..., Any]


def calling_trainer() -> Trainer | None:
    """The Trainer whose event is being handled, or None.

    No event tells a callback which Trainer it belongs to, and none tells when an evaluation begins
    or what its batches are; only the Trainer's methods know.
    """
    frame = inspect.currentframe()
    try:
        while frame is not None:
            owner = frame.f_locals.get("self")
            if isinstance(owner, Trainer):
                return owner
            frame = frame.f_back
        return None
    finally:
        del frame  # or it would keep alive whatever its callers hold


def surround(trainer: Trainer, name: str, around: Around) -> None:
    """Let a function run around a method of this Trainer from now on.

    Args:
        trainer: only this one is changed, and not its class.
        name: of the method.
        around: called with the method as it was, and the arguments of the call.
    """
    inner = getattr(trainer, name)

    @functools.wraps(inner)
    def outer(*args: Any, **kwargs: Any) -> Any:
        return around(inner, *args, **kwargs)

    setattr(trainer, name, outer)


@contextmanager
def surrounded(trainer: Trainer, name: str, around: Around) -> Generator[None, None, None]:
    """The same for the time of a block."""
    own = vars(trainer)
    before = {name: own[name]} if name in own else {}
    surround(trainer, name, around)
    try:
        yield
    finally:
        del own[name]
        own.update(before)


def arguments(method: Callable[..., Any], *args: Any, **kwargs: Any) -> Mapping[str, Any]:
    """Arguments of a call by name, defaults included; empty where they do not fit the method.

    A method of a user's own Trainer may hand on what it gets, ``def evaluate(self, *args,
    **kwargs)``; the names are then those of the Trainer's own method.
    """
    found = _bound(method, *args, **kwargs)
    own = getattr(Trainer, method.__name__, None)
    if found is not None and (own is None or not found.rest):
        return found.named
    handed_on = None if own is None else _bound(own, None, *args, **kwargs)
    named = {} if handed_on is None else handed_on.named
    return {**named, **({} if found is None else found.named)}


class _Bound(NamedTuple):
    named: dict[str, Any]
    rest: bool  # whether the method takes any further arguments


def _bound(method: Callable[..., Any], *args: Any, **kwargs: Any) -> _Bound | None:
    signature = inspect.signature(method)
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError:  # the call itself will say so
        return None
    bound.apply_defaults()
    rest = {
        name
        for name, each in signature.parameters.items()
        if each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    }
    named = {name: value for name, value in bound.arguments.items() if name not in rest}
    return _Bound(named, bool(rest))
