"""Spelling of options in errors, as users of SINGTrainerCallback write them."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from sing_monitor.errors import Option, SetupError


def spell(option: Option) -> str:
    """An option as users of the callback write it.

    Example::

        >>> spell(Option("head", '"classifier"'))
        'SINGTrainerCallback(head="classifier")'
    """
    return f"SINGTrainerCallback({option})"


@contextmanager
def spelled() -> Generator[None, None, None]:
    """Spell the errors of a set-up for the callback.

    Raises:
        SetupError: with another spelling.
    """
    try:
        yield
    except SetupError as error:
        raise SetupError(error.spelled(spell)) from error
