"""Spelling of options as arguments of SINGCallback, in Lightning's kind of error."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from lightning.pytorch.utilities.exceptions import MisconfigurationException

from sing_monitor.errors import Option, SetupError


def spell(option: Option) -> str:
    """An option as users of the callback write it.

    Example::

        >>> spell(Option("head", '"fc"'))
        'SINGCallback(head="fc")'
    """
    return f"SINGCallback({option})"


@contextmanager
def as_misconfiguration() -> Generator[None, None, None]:
    """Turn the errors of a set-up into Lightning's kind of error.

    Raises:
        MisconfigurationException: spelled for the callback.
    """
    try:
        yield
    except SetupError as error:
        raise MisconfigurationException(error.spelled(spell)) from error
