"""Options of the monitor for loops of one's own: those of every adapter, and where the run lies."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from os import PathLike
from typing import Any

from sing_monitor.errors import Option, SetupError
from sing_monitor.monitor.options import Options, option


@dataclass(frozen=True, kw_only=True)
class MonitorOptions(Options):
    """What `Monitor` takes besides the model.

    Every field holds its help text; :func:`~sing_monitor.monitor.options.help_of` gives them all.

    Raises:
        SetupError: for a value that cannot be used.
    """

    # Of a trainer's loop; here `measure` takes a loader, and `tracking_uri` names the store.
    probe: Any = field(default=None, init=False)
    dataloader_idx: int = field(default=0, init=False)
    tracking: Any = field(default=None, init=False)

    tracking_uri: str | PathLike[str] | None = option(
        None,
        "where a new run is kept: an MLflow tracking URI, or a folder such as "
        '``"runs/"``, which needs neither a server nor a database. None, or the address of the '
        "MLflow run that is active: this one is joined, and not ended.",
    )
    experiment: str | None = option(None, "of the new run; None: the tracker's default.")
    run_name: str | None = option(None, "of the new run; None: the tracker's choice.")
    run_id: str | None = option(
        None, "of a run that is there already, and is joined; it is not ended."
    )
    loader: Any = option(
        None,
        "the validation loader, which tells the names of the classes, how images were normalized "
        "and which images they are. None: ``class_names`` and ``pixel_stats`` tell it, or it is "
        "not known; images in [0, 1] need no ``pixel_stats``.",
    )
    alone: bool = option(
        False,
        "whether this process of a distributed training validates alone, as rank 0 does in many "
        "scripts, and the others make no monitor. By default every process makes one and calls "
        "every method.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("experiment", "run_name", "run_id"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, str) and value):
                raise SetupError(Option(name, repr(value)), ": expected a text, or None.")
        uri = self.tracking_uri
        if uri is not None and not (isinstance(uri, (str, PathLike)) and str(uri)):
            raise SetupError(
                Option("tracking_uri", repr(uri)),
                ": expected an MLflow tracking URI, such as 'sqlite:///mlflow.db', a folder, such "
                "as 'runs/', or None.",
            )
        named = [name for name in ("experiment", "run_name") if getattr(self, name) is not None]
        if self.run_id is not None and named:
            raise SetupError(
                Option("run_id", repr(self.run_id)),
                " names a run that is there already, and ",
                Option(named[0], repr(getattr(self, named[0]))),
                " is of a new one. Give one of the two.",
            )

    def with_tracking(self, uri: str | None) -> Options:
        """The same options for the session, which keeps a run of its own at an address."""
        copied = copy.copy(self)
        object.__setattr__(copied, "tracking", uri)
        return copied
