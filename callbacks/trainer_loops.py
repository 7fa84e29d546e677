"""Loops of a Hugging Face Trainer: finding the Trainer, and running code around its methods."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any

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
    """Arguments of a call by name, defaults included; empty where they do not fit the method."""
    try:
        bound = inspect.signature(method).bind(*args, **kwargs)
    except TypeError:  # the call itself will say so
        return {}
    bound.apply_defaults()
    return bound.arguments
