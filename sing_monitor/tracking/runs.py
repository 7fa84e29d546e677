"""Which runs a monitor wrote to, and the metrics they hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from sing_monitor.tracking.backend import Store, StoredRun
from sing_monitor.tracking.layout import Layout, monitor_names
from sing_monitor.tracking.stores import open_store

if TYPE_CHECKING:
    from pandas import DataFrame

_RUN_COLUMNS = (
    "run_id",
    "name",
    "run_name",
    "experiment",
    "experiment_id",
    "status",
    "start_time",
    "end_time",
)


def list_runs(uri: str, experiment: str | None = None) -> DataFrame:
    """Runs that a monitor wrote to, newest first, one row for each monitor of a run.

    Columns: run_id, name (of the monitor, None for the unnamed one), run_name, experiment,
    experiment_id, status, start_time and end_time (UTC); the monitor's tags as ``sing.<key>`` and
    the run's parameters as ``param.<key>``; the latest value of each of the monitor's metrics by
    catalogue key. Deleted runs are absent.

    Args:
        uri: of the store: a tracking URI of MLflow's, or a folder of runs.
        experiment: an experiment's name; None: all of them.

    Raises:
        NotFoundError: if there is no such experiment.
        StoreError: if the store cannot be reached.
    """
    import pandas as pd

    store = open_store(uri)
    rows = [
        _run_row(store, run, name)
        for run in store.runs(experiment)
        for name in monitor_names(run.tags)
    ]
    others = sorted({column for row in rows for column in row} - set(_RUN_COLUMNS))
    frame = pd.DataFrame(rows, columns=[*_RUN_COLUMNS, *others])
    # pandas would make NaN of None, and NaN is no monitor's name.
    frame["name"] = pd.Series([row["name"] for row in rows], dtype=object)
    for column in ("start_time", "end_time"):
        frame[column] = pd.to_datetime(frame[column], unit="ms", utc=True)
    return frame


def _run_row(store: Store, run: StoredRun, name: str | None) -> dict[str, Any]:
    layout = Layout(name)
    metrics = own_metrics(store, run, layout)
    return {
        **{key: finite(run.metrics[metric]) for key, metric in metrics.items()},
        **{f"sing.{key}": value for key, value in layout.tags(run.tags).items()},
        **{f"param.{key}": value for key, value in run.params.items()},
        "run_id": run.run_id,
        "name": name,
        "run_name": run.run_name,
        "experiment": run.experiment,
        "experiment_id": run.experiment_id,
        "status": run.status,
        "start_time": run.start_time,
        "end_time": run.end_time,
    }


def metric_prefix(store: Store, run: StoredRun, layout: Layout) -> str:
    """What the logger put before every metric's name in a run."""
    return store.logged_prefix(layout.tags(run.tags).get("metric_prefix", ""))


def own_metrics(store: Store, run: StoredRun, layout: Layout) -> dict[str, str]:
    """Logged names by catalogue key, of the groups that the writer named."""
    groups = set(layout.tags(run.tags).get("groups", "").split(","))
    prefix = metric_prefix(store, run, layout)
    found = {
        layout.catalogue_key(metric.removeprefix(prefix)): metric
        for metric in sorted(run.metrics)
        if metric.startswith(prefix)
    }
    return {key: metric for key, metric in found.items() if key and key.split("/")[0] in groups}


def metric_histories(store: Store, run: StoredRun, names: Mapping[str, str]) -> DataFrame:
    """Columns key, step, timestamp (ms) and value; of each key and step the newest value.

    Args:
        store: holds the run.
        run: the run.
        names: metrics by the key they get; those that the run does not hold have no rows.
    """
    import pandas as pd

    held = {key: metric for key, metric in names.items() if metric in run.metrics}
    points = store.history(run.run_id, list(dict.fromkeys(held.values())))
    points = points.astype({"step": "int64", "timestamp": "int64", "value": "float64"})
    points["value"] = points["value"].map(finite)
    keys = pd.DataFrame({"key": list(held), "metric": list(held.values())}, dtype=object)
    frame = keys.merge(points.astype({"metric": object}), on="metric").drop(columns="metric")
    newest = frame.sort_values("timestamp", kind="stable")
    return newest.drop_duplicates(["key", "step"], keep="last")


def finite(value: float) -> float:
    """The value, or NaN for an infinite one, which would ruin any chart.

    MLflow's databases store infinity as 1.797e308.
    """
    return value if abs(value) < 1e300 else np.nan
