"""Place: the run that the findings of a loop of one's own go to."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from sing_monitor.errors import Option, SetupError
from sing_monitor.messages import info
from sing_monitor.monitor.plain.options import MonitorOptions
from sing_monitor.monitor.publishing import NewRun, Target
from sing_monitor.monitor.summary import how_to_look
from sing_monitor.no_trace import no_trace
from sing_monitor.tracking.addresses import redact, shown_address
from sing_monitor.tracking.mlflow import current_uri, fluent_run
from sing_monitor.tracking.stores import open_store

if TYPE_CHECKING:
    from sing_monitor.tracking.backend import Run


@dataclass(frozen=True)
class Place:
    """The run that findings go to: a new one, one that is there already, or none.

    Args:
        uri: address of the store; None: nothing is kept.
        run_id: of a run that is there already; None: a new one is made.
        new_run: what is known of the new one.
    """

    uri: str | None = None
    run_id: str | None = None
    new_run: NewRun | None = None

    @property
    def tracking(self) -> str | None:
        """Where the monitor keeps a run of its own; None: nowhere."""
        return self.uri if self.run_id is None else None

    def targets(self) -> list[Target]:
        """The run that is there already, if that is the place."""
        if self.uri is None or self.run_id is None:
            return []
        return [Target("joined", partial(_open, self.uri, self.run_id))]


def find_place(options: MonitorOptions) -> Place:
    """The run that the options mean.

    Raises:
        SetupError: if a server is away, or there is no such run.
    """
    uri = None if options.tracking_uri is None else str(options.tracking_uri)
    if options.run_id is not None:
        return _checked(Place(uri or current_uri(), options.run_id))
    active = fluent_run()
    is_named = options.experiment or options.run_name
    if active is not None and not is_named and uri in (None, active[0]):
        info(f"findings go to the active MLflow run {active[1]}.")
        return Place(*active)
    if uri or is_named:
        if active is not None:
            info(
                f"the MLflow run {active[1]} is active, and the monitor makes one of its own. To "
                "join the active one, leave out experiment, run_name and another tracking_uri."
            )
        new_run = NewRun(options.experiment, options.run_name)
        return _checked(Place(uri or current_uri(), new_run=new_run))
    info(
        "nothing is kept of what is measured: no run is active, and none was asked for. Pass "
        'Monitor(model, tracking_uri="sqlite:///mlflow.db"), or a folder: tracking_uri="runs/".'
    )
    return Place()


def earlier_training(place: Place, name: str | None, epoch: int) -> str | None:
    """A warning where the run that is joined holds epochs that a new training will come by.

    Args:
        place: of the findings.
        name: of the monitor.
        epoch: of the new training's first validation.
    """
    if place.uri is None or place.run_id is None:
        return None
    from sing_monitor.tracking.reader import training_epochs

    with no_trace():
        held = sorted(training_epochs(place.uri, place.run_id, name))
    if not held or held[-1] < epoch:
        return None
    epochs = f"epoch {held[0]}" if len(held) == 1 else f"epochs {held[0]} to {held[-1]}"
    return (
        f"the run {place.run_id} already holds {epochs} of another training or monitor, and this "
        f"one begins at epoch {epoch}. In one run their curves mix, and tables of the same epoch "
        "and step are replaced. Give each training a run of its own, "
        f'Monitor(model, tracking_uri={shown_address(place.uri)!r}, run_name="fold-1"); each '
        'monitor of one training a name of its own, Monitor(model, name="aux"); and to go on with '
        "that training, hand its state over: monitor.load_state_dict(state)."
    )


def how_to_open(place: Place) -> str:
    """The command that shows the run; empty where nothing is kept."""
    return "" if place.uri is None else how_to_look(place.uri)


def _checked(place: Place) -> Place:
    """The place, once the store has given a sign of life, and has the run that is joined."""
    uri = str(place.uri)
    try:
        open_store(uri).check()
        if place.run_id is not None:
            _open(uri, place.run_id)
    except (OSError, LookupError) as error:
        at = Option("tracking_uri", repr(shown_address(uri)))
        raise SetupError(at, f": {redact(str(error), uri)}") from None
    return place


def _open(uri: str, run_id: str) -> Run:
    return open_store(uri).open_run(run_id)
