"""Faults of a pass: they end the run, turn the monitor off, or cost the numbers of one epoch."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

from sing_monitor.errors import Option, SetupError
from sing_monitor.messages import warn


class Faults:
    """Keeps a fault for the end of its pass, where all ranks hear of it, and says what it costs.

    In the sanity check it ends the run, before any training; later it costs the numbers of one
    epoch, or, if it will come back at every validation, turns the monitor off.

    Args:
        on_error: ``"raise"`` ends the run each time.
        spell: an option as the adapter's users write it.
    """

    def __init__(
        self, on_error: Literal["warn", "raise"], spell: Callable[[Option], str] = str
    ) -> None:
        self.current: Exception | None = None
        self.is_off = False
        self._on_error = on_error
        self.spell = spell
        self._is_proved = False  # a validation, or the sanity check, has gone well
        self._said: set[str] = set()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keep what is raised in the block."""
        try:
            yield
        except Exception as error:
            self.current = error

    def start_pass(self) -> None:
        """Forget the fault of the last pass."""
        self.current = None

    def pass_went_well(self) -> None:
        """From here on a fault is no sign of a wrong set-up."""
        self._is_proved = True

    def complain(
        self, failure: SetupError, *, epoch: int, is_setup_fault: bool, is_rehearsal: bool
    ) -> None:
        """Report the failure of a pass, in this process or in another.

        Raises:
            SetupError: in the sanity check, or with ``on_error="raise"``.
        """
        if is_rehearsal or self._on_error == "raise":
            raise failure from (None if failure is self.current else self.current)
        reason = failure.spelled(self.spell)
        if is_setup_fault or not self._is_proved:
            self.is_off = True
            self.warn_once(reason, "turned off for this run: ")
        else:
            self.warn_once(reason, f"no scores for epoch {epoch}: ")

    def say(self, fault: SetupError) -> None:
        """Say once what costs nothing but what was asked for.

        Raises:
            SetupError: with ``on_error="raise"``.
        """
        if self._on_error == "raise":
            raise fault
        self.warn_once(fault.spelled(self.spell))

    def warn_once(self, reason: str, context: str = "") -> None:
        """Warn, unless the same was said before."""
        # Counts differ from epoch to epoch, and the reason is still the same.
        topic = re.sub(r"\d+", "#", reason)
        if topic not in self._said:
            self._said.add(topic)
            warn(f"{context}{reason}")
