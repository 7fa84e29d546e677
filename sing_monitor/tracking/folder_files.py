"""The files of one run in a folder of runs, read and written as a whole."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sing_monitor.tracking.backend import POINT_COLUMNS, StoredRun
from sing_monitor.tracking.errors import StoreError, reason
from sing_monitor.untrusted.plain_json import read_mapping
from sing_monitor.untrusted.tables import read_table

if TYPE_CHECKING:
    from pandas import DataFrame

_NUMBERS = {"step": "int64", "timestamp": "int64", "value": "float64"}
RUN, TAGS, SCALARS = "run.json", "tags.json", "scalars.parquet"


def is_run(entry: os.DirEntry[str]) -> bool:
    """Whether a folder is that of a run."""
    return not entry.name.startswith(".") and Path(entry.path, RUN).is_file()


def stored_run(folder: Path) -> StoredRun:
    """What a run's folder says of it.

    Raises:
        StoreError: if a file is damaged.
    """
    about = read_json(folder / RUN)
    with reading(folder / RUN):
        tags = read_json(folder / TAGS)
        times = [about["start_time"], about["end_time"]]
        if not all(isinstance(each, str) for each in tags.values()):
            raise ValueError("its tags are no texts")
        if not all(each is None or type(each) in (int, float) for each in times):
            raise ValueError("its times are no numbers")
        return StoredRun(
            run_id=folder.name,
            run_name=str(about["run_name"]),
            experiment=str(about["experiment"]),
            experiment_id=str(about["experiment"]),
            status=str(about["status"]),
            start_time=times[0],
            end_time=times[1],
            tags=tags,
            metrics=_latest(folder),
            params={},
        )


def points_of(folder: Path, metrics: Sequence[str] | None = None) -> DataFrame:
    """The points of some metrics, or of all, in the order of logging.

    Raises:
        StoreError: if the file is damaged.
    """
    import pandas as pd

    path = folder / SCALARS
    if not path.exists():
        empty = pd.DataFrame(columns=list(POINT_COLUMNS))
        return empty.astype(_NUMBERS)
    filters = None if metrics is None else [("metric", "in", list(metrics))]
    with reading(path):
        points = read_table(path, POINT_COLUMNS, filters)
        if not pd.api.types.is_string_dtype(points["metric"]):
            raise ValueError("its metrics have no names")
        return points[list(POINT_COLUMNS)].astype(_NUMBERS)


def _latest(folder: Path) -> dict[str, float]:
    """The latest value of each metric: that of the last step, and of it the newest."""
    path = folder / SCALARS
    with reading(path):
        if not path.exists():
            return {}
        status = path.stat()
    return _latest_of(folder, status.st_ino, status.st_mtime_ns, status.st_size)


# Whoever lists runs asks every few seconds.
@lru_cache(maxsize=4096)
def _latest_of(folder: Path, *_state: int) -> dict[str, float]:
    in_order = points_of(folder).sort_values(["step", "timestamp"], kind="stable")
    newest = in_order.drop_duplicates("metric", keep="last")
    return dict(zip(newest["metric"], newest["value"].tolist(), strict=True))


def as_json(values: Mapping[str, Any]) -> Callable[[Path], object]:
    """Writes the values to a path."""
    text = json.dumps(dict(values), indent=2)
    return lambda path: path.write_text(text, "utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """The values that `as_json` wrote.

    Raises:
        StoreError: if the file is damaged.
    """
    with reading(path):
        return read_mapping(path)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what reading a file may raise into `StoreError`."""
    try:
        yield
    except StoreError:
        raise
    # What reads a damaged file raises whatever it stumbles over.
    except Exception as error:
        raise StoreError(
            f"{path} cannot be read: {reason(error)}. It is damaged, or may not be read."
        ) from None
