"""Exchange between the processes of a training; every process takes part every time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from sing_monitor.capture.probe import Account, ProbeRows
from sing_monitor.errors import SetupError


@dataclass(frozen=True)
class Share:
    """Contribution of one process to an analysis: its rows, or the reason why it has none.

    Args:
        rows: of the probe, or None.
        failure: the error of this process, or None.
        is_setup_fault: whether it will go wrong again at every validation.
        expected: number of probe images of the whole pass; None where it is not known.
        attributes: names of the annotated attributes that this rank has seen.
        account: what became of the images that are not among the rows.
    """

    rows: ProbeRows | None = None
    failure: SetupError | None = None
    is_setup_fault: bool = False
    expected: int | None = None
    attributes: tuple[str, ...] = ()
    account: Account = field(default_factory=Account)


@dataclass(frozen=True)
class Outcome:
    """Result of an analysis on process 0; every process logs the same.

    Args:
        scalars: by key of the catalogue.
        intervals: ends of the 95 % intervals of those that have one, by key.
        failure: why there are none, or None.
        is_setup_fault: whether the monitor is turned off for good.
        wanted: ids of the images whose thumbnails are to be stored.
        poor_classes: those whose scores mean nothing, because the translator fails on them.
        attributes: names of the annotated attributes. They are part of the metrics' keys, which
            must be the same on every rank.
        notes: what the user should know about these scalars.
        infos: what is worth a line, and no reason to worry.
        threshold: of the hashes that belong to the probe from now on; None: as before.
        seen: how many images came, on all ranks together; None: as before.
        map_ids: ids of the images whose maps or stages were kept.
        kept: what the analyses want to find at the next validation, by name.
    """

    scalars: Mapping[str, float] = field(default_factory=dict)
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    failure: SetupError | None = None
    is_setup_fault: bool = False
    wanted: Sequence[int] = ()
    poor_classes: Sequence[str] = ()
    attributes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    infos: tuple[str, ...] = ()
    threshold: int | None = None
    seen: int | None = None
    map_ids: tuple[int, ...] = ()
    kept: Mapping[str, Tensor] = field(default_factory=dict)
