"""Moments: the epochs of one training, in their order."""

from __future__ import annotations

import operator
from typing import Any, Literal

from sing_monitor.errors import SetupError
from sing_monitor.messages import warn
from sing_monitor.monitor.validation import Moment


class Moments:
    """Order of the validations of one training.

    Attributes:
        running: epoch of the validation that goes on; None outside one.
        is_closed: whether the training has ended.
    """

    def __init__(self) -> None:
        self.running: int | None = None
        self.is_closed = False
        self._newest: Moment | None = None
        self._has_said_step = False

    @property
    def is_new(self) -> bool:
        """Whether nothing was validated yet, in this training or the one that it resumes."""
        return self._newest is None

    def next(self, epoch: Any, step: Any) -> Moment:
        """The moment of a validation that may begin.

        Args:
            epoch: as the user gave it.
            step: None: the epoch.

        Raises:
            SetupError: if it is no number, goes back, or comes within another one.
        """
        number = _count("epoch", epoch)
        moment = Moment(number, number if step is None else _count("step", step))
        newest = self._newest
        self._refuse_within(number)
        if newest is not None and number < newest.epoch:
            raise SetupError(
                f"epoch {number} comes after epoch {newest.epoch}, and a monitor watches one "
                "training: in one run their curves would mix, so nothing of this epoch is logged. "
                "Make a monitor for every training; to go back to a checkpoint, hand its state "
                "over: monitor.load_state_dict(state)."
            )
        if newest == moment and step is None:
            warn(
                f"epoch {number} is validated again without a step: the later numbers take the "
                "place of the earlier ones. Pass step=, the number of optimizer steps so far."
            )
        elif newest is not None and _stands_still(newest, moment) and not self._has_said_step:
            self._has_said_step = True
            warn(
                f"epoch {number} stands at step {moment.step}, and epoch {newest.epoch} stood at "
                f"step {newest.step}: the curves of the run do not go forward. Pass step= in every "
                "epoch, the number of optimizer steps since the training began, such as "
                "(epoch + 1) * len(train_loader)."
            )
        return moment

    def begin(self, moment: Moment) -> Literal[True]:
        """Begin the validation of a moment.

        Raises:
            SetupError: if another one goes on, or the training has ended.
        """
        self._refuse_within(moment.epoch)
        self._newest, self.running = moment, moment.epoch
        return True

    def end(self) -> bool:
        """End the validation that goes on; False if there is none."""
        was_running, self.running = self.running is not None, None
        return was_running

    def go_on_after(self, epoch: int | None) -> None:
        """Forget what came, and go on after an epoch; None: from the start."""
        self._newest = None if epoch is None else Moment(epoch, -1)

    def _refuse_within(self, number: int) -> None:
        if self.is_closed:
            raise SetupError("the monitor is closed; make one for every training.")
        if self.running is not None:
            raise SetupError(
                f"epoch {number} begins, and the block of epoch {self.running} has not ended. Call "
                "monitor.epoch(...) in a `with` statement, one after the other."
            )


def _stands_still(before: Moment, after: Moment) -> bool:
    is_later = after.epoch > before.epoch
    return after.step < before.step or (is_later and after.step == before.step)


def _count(name: str, value: Any) -> int:
    """A number of epochs or steps.

    Raises:
        SetupError: if it is none.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = -1
    if number < 0 or isinstance(value, bool):
        raise SetupError(f"{name}={value!r}: expected an integer of at least 0.")
    return number
