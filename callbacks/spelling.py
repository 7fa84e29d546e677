"""How SINGCallback and analyze spell the options that an error names."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from lightning.pytorch.utilities.exceptions import MisconfigurationException

from sing_monitor.errors import Option, SetupError


def for_callback(error: BaseException) -> str:
    """The sentence of an error, with options as arguments of SINGCallback.

    Example::

        >>> for_callback(SetupError("Name the head: ", Option("head", '"fc"'), "."))
        'Name the head: SINGCallback(head="fc").'
    """
    if isinstance(error, SetupError):
        return error.spelled(lambda option: f"SINGCallback({option})")
    return str(error) or type(error).__name__


@contextmanager
def as_misconfiguration() -> Generator[None, None, None]:
    """Turn a SetupError of the block into Lightning's kind of error.

    Raises:
        MisconfigurationException: spelled for the callback.
    """
    try:
        yield
    except SetupError as error:
        raise MisconfigurationException(for_callback(error)) from error


def for_analyze(error: SetupError) -> SetupError:
    """The same error, with ``loader`` where the callback would take a ``probe``."""
    return SetupError(*map(_of_analyze, error.parts))


def _of_analyze(part: str | Option) -> str | Option:
    if isinstance(part, Option) and part.name == "probe":
        return Option("loader", part.value)
    return part
