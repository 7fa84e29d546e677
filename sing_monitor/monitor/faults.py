"""Faults of a pass: they end the run, turn the monitor off, or cost the numbers of one epoch."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

from sing_monitor.errors import ChangedImagesError, Option, SetupError, as_setup_error
from sing_monitor.messages import warn


class Faults:
    """Keeps a fault for the end of its pass, where all ranks hear of it, and says what it costs.

    In the sanity check it ends the run, before any training. Later it costs the numbers of one
    epoch, or, where it can only come back at every validation, turns the monitor off. It can where
    the set-up is wrong and no whole validation has gone well with it, and where the validation
    images are others every time. Whatever else happens, even in the first validation, may have been
    chance.

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
        self._is_proved = False  # a whole validation has gone well
        self._said: set[str] = set()

    @contextmanager
    def kept(self, *, of_model: bool = False) -> Iterator[None]:
        """Keep what is raised in the block.

        Args:
            of_model: whether a wrong type is that of the model, which will not change.
        """
        try:
            yield
        except TypeError as error:
            self.current = as_setup_error(error) if of_model else error
        except Exception as error:
            self.current = error

    def start_pass(self) -> None:
        """Forget the fault of the last pass."""
        self.current = None

    def pass_went_well(self) -> None:
        """From here on a fault is no sign of a wrong set-up: a whole validation went well."""
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
        can_only_return = is_setup_fault and not self._is_proved
        if can_only_return or isinstance(failure, ChangedImagesError):
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
