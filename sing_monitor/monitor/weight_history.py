"""Weights of a training under watch, from validation to validation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from sing_monitor.capture.head_watch import HeadWatch
from sing_monitor.capture.weight_tap import WeightTap
from sing_monitor.monitor.faults import Faults
from sing_monitor.monitor.state import MonitorState
from sing_monitor.monitor.validation import Moment
from sing_monitor.no_trace import no_trace
from sing_monitor.weights.trajectory import Trajectory

_SHARED_OUT = (
    "the parameters are shared out among processes, and nothing is gathered: the weights that are "
    "followed are those of the first process's part."
)


class WeightHistory:
    """Reads the weights once in every validation of a training, also where it is not analyzed.

    What goes wrong is said once, and costs nothing but the dynamics.

    Args:
        count: of the weights; 0: none.
        watch: knows the head.
        state: of the training; updated in place.
        faults: of the monitor.
    """

    def __init__(self, count: int, watch: HeadWatch, state: MonitorState, faults: Faults) -> None:
        # Up to this validation; None outside a training, and where nothing could be read.
        self.trajectory: Trajectory | None = None
        self._tap = WeightTap(count)
        self._watch = watch
        self._state = state
        self._faults = faults
        self._model: nn.Module | None = None  # while its weights are to be read
        self._moment = Moment(0, 0)

    def start(self, model: nn.Module, moment: Moment) -> None:
        """Begin a validation."""
        self.trajectory = None
        self._tap.start_pass()
        self._moment = moment
        is_read = self._tap.is_open and self._is_history and not self._faults.is_off
        self._model = model if is_read else None

    @property
    def _is_history(self) -> bool:
        return self._moment.is_training and not self._moment.is_rehearsal

    def read(self) -> None:
        """Read the weights, unless that was done; not before the head is known.

        Not when the validation starts: averaging callbacks swap in the weights to validate later.
        Where the head is known before the first batch, shared-out parameters are still in parts,
        which a forward pass may put together.
        """
        if self._model is None or not self._watch.is_settled:
            return
        model, self._model = self._model, None
        with self._guarded():
            self._tap.read(model, self._watch.head.name)

    def finish(self) -> None:
        """End a validation: keep its weights."""
        self._model = None
        state, moment = self._state, self._moment
        if not self._is_history or self._tap.is_open:
            return
        with self._guarded(), no_trace():
            state.weights = self._tap.finish(state.weights, moment.epoch, moment.step)
            self.trajectory = self._tap.trajectory(state.weights)

    def abandon(self) -> None:
        """End a validation of which nothing is kept."""
        self._model, self.trajectory = None, None
        self._tap.start_pass()

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._tap.close()
            self._faults.warn_once(f"the weights are not followed, dynamics/* is NaN: {error}")

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is worth a line."""
        return (_SHARED_OUT,) if self._tap.is_sharded else ()
