"""Spelling of options as arguments of Monitor."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from sing_monitor.errors import Option, SetupError, as_setup_error


def spell(option: Option) -> str:
    """An option as users of the monitor write it.

    Example::

        >>> spell(Option("head", '"fc"'))
        'Monitor(model, head="fc")'
        >>> spell(Option("probe", "DataLoader(...)"))
        'monitor.measure(DataLoader(...), epoch=epoch)'
    """
    if option.name == "probe":
        return f"monitor.measure({option.value}, epoch=epoch)"
    return f"Monitor(model, {option})"


@contextmanager
def spelled() -> Generator[None, None, None]:
    """Spell options in errors as users of the monitor write them.

    Raises:
        SetupError: for every error of a set-up.
    """
    try:
        yield
    except (ValueError, TypeError) as error:
        raise SetupError(as_setup_error(error).spelled(spell)) from error
