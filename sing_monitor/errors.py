"""SetupError: the error for a set-up that cannot be used, with the options that correct it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Option:
    """Option of the user in the sentence of an error.

    Args:
        name: keyword of ``SINGCallback`` and ``analyze``.
        value: an example, as Python spells it.
    """

    name: str
    value: str = "..."

    def __str__(self) -> str:
        return f"{self.name}={self.value}"


class SetupError(ValueError):
    """Error for a set-up that cannot be used; its sentence names the options that correct it.

    ``str(error)`` spells options as keywords, ``head="fc"``. :meth:`spelled` gives the sentence in
    another spelling, such as that of the command line.

    Args:
        parts: texts and options of the sentence, in order.

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
        """Spell the sentence with every option as ``spell`` writes it."""
        return "".join(part if isinstance(part, str) else spell(part) for part in self.parts)

    def __reduce__(self) -> tuple[type[SetupError], tuple[str | Option, ...]]:
        return type(self), self.parts


class ChangedImagesError(SetupError):
    """Error for validation images that are others in every epoch, which no epoch mends."""


def as_setup_error(error: BaseException) -> SetupError:
    """The error with its parts, which another process can spell; of other kinds the sentence."""
    if isinstance(error, SetupError):
        return error
    return SetupError(str(error) or type(error).__name__)
