"""SetupError: what was given, what was expected, and the option that mends it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Option:
    """An option of the user's, as a sentence mentions it.

    Args:
        name: keyword of ``SINGCallback`` and ``analyze``.
        value: an example, as Python spells it.
    """

    name: str
    value: str = "..."

    def __str__(self) -> str:
        return f"{self.name}={self.value}"


class SetupError(ValueError):
    """A set-up that cannot be used. Its sentence names the options that mend it.

    ``str(error)`` spells them as keywords, ``head="fc"``; an adapter with another spelling, such
    as the command line, asks for it: :meth:`spelled`.

    Args:
        parts: the sentence, with an :class:`Option` wherever it mentions one.

    Example::

        >>> error = SetupError("Two layers could be the head. Pass ", Option("head", '"fc"'), ".")
        >>> print(error)
        Two layers could be the head. Pass head="fc".
        >>> print(error.spelled(lambda option: f"--{option.name} {option.value}"))
        Two layers could be the head. Pass --head "fc".
    """

    def __init__(self, *parts: str | Option) -> None:
        self.parts = parts
        super().__init__("".join(map(str, parts)))

    def spelled(self, spell: Callable[[Option], str]) -> str:
        """The sentence, with every option as ``spell`` writes it."""
        return "".join(part if isinstance(part, str) else spell(part) for part in self.parts)

    def __reduce__(self) -> tuple[type[SetupError], tuple[str | Option, ...]]:
        return type(self), self.parts


def as_setup_error(error: BaseException) -> SetupError:
    """The error with its parts, which another process can spell; of other kinds the sentence."""
    if isinstance(error, SetupError):
        return error
    return SetupError(str(error) or type(error).__name__)
