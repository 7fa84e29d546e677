"""Which files tables are read from: their own ones, or those that join many of them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import pandas as pd

from sing_monitor.app.read.held_tables import Asked, held, not_at_hand
from sing_monitor.app.read.sources import RunSource, listing_of
from sing_monitor.tracking import ArtifactNotFoundError
from sing_monitor.tracking.disk.joined_tables import JoinedFile, Place

# What is read from one joined file, or from files of their own.
Part = tuple[JoinedFile | None, list[Asked]]


def parts(source: RunSource, asked: Sequence[Asked]) -> list[Part]:
    """As few questions as what is asked for can be had by."""
    # Files on this machine are read where they lie, and nobody has joined them.
    is_local = source.reader.store.at_a_time == 1
    unread = [] if is_local else not_at_hand(source, asked)
    together: dict[JoinedFile, list[Asked]] = {}
    for each in unread if len(unread) > 1 else ():
        if file := _joined_with(source, each):
            together.setdefault(file, []).append(each)
    # Of one table alone, its own file is the smaller one.
    several = {file: rows for file, rows in together.items() if len(rows) > 1}
    in_joined = {each for rows in several.values() for each in rows}
    return [*several.items(), *((None, [each]) for each in asked if each not in in_joined)]


def read_part(source: RunSource, part: Part) -> dict[tuple[int, int], pd.DataFrame]:
    """Tables by their validation; those that are missing or damaged are left out."""
    joined, together = part
    files = {} if joined is None else _files_of(source, joined)
    found = {}
    for each in together:
        with suppress(ArtifactNotFoundError, ValueError):
            place = _place(source, each) if files else None
            found[each.at] = held(source, each, files.get(place) if place else None)
    return found


def _joined_with(source: RunSource, asked: Asked) -> JoinedFile | None:
    """The joined file that should hold a table."""
    place, joined = _place(source, asked), listing_of(source).joined
    known = (file for file in joined if file.table == asked.table)
    return next((file for file in known if place and file.may_hold(place.when)), None)


def _place(source: RunSource, asked: Asked) -> Place | None:
    """Where the file comes from; None where earlier versions kept no number of the try."""
    when = listing_of(source).whole.get(asked.at)
    return Place(*asked.at, when) if when else None


def _files_of(source: RunSource, joined: JoinedFile) -> dict[Place, bytes]:
    """What a joined file holds; what it lacks is read from the files of the tables."""
    try:
        return source.reader.joined_files(joined)
    except (ArtifactNotFoundError, ValueError):
        return {}
