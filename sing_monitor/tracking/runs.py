"""Which runs a monitor wrote to, and the metrics they hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sing_monitor.tracking.backend import Store, StoredRun
from sing_monitor.tracking.layout import Layout, monitor_names
from sing_monitor.tracking.stores import open_store

if TYPE_CHECKING:
    from pandas import DataFrame, Series

GLOBAL_STEP, STAGE = "monitor/global_step", "monitor/stage"

# MLflow's databases store infinity as 1.797e308.
_INFINITE = 1e300
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


def curves_of_runs(
    store: Store,
    runs: Sequence[tuple[StoredRun, Layout]],
    keys: Sequence[str] | None = None,
    others: Sequence[str] = (),
) -> list[DataFrame]:
    """The curves of each run as `RunReader.scalars` gives them; the store is asked once for all.

    Args:
        store: holds the runs.
        runs: each with the names of its monitor.
        keys: of the catalogue; None: all that the monitor of the run logged.
        others: further metrics of the runs at the same steps.
    """
    logged = [own_metrics(store, run, layout) for run, layout in runs]
    wanted = [list(each) if keys is None else list(keys) for each in logged]
    held = []
    for (run, layout), own, mine in zip(runs, logged, wanted, strict=True):
        prefix = metric_prefix(store, run, layout)
        names = {key: own.get(key, "") for key in (GLOBAL_STEP, STAGE, *mine)}
        names |= {other: prefix + other for other in ("epoch", *others)}
        held.append({key: metric for key, metric in names.items() if metric in run.metrics})
    asked = list(dict.fromkeys(metric for each in held for metric in each.values()))
    ids = list(dict.fromkeys(run.run_id for run, _ in runs))
    points = store.histories(ids, asked).sort_values("timestamp", kind="stable")
    newest = points.drop_duplicates(["run_id", "metric", "step"], keep="last")
    values = newest["value"].astype("float64")
    newest = newest.assign(value=values.where(values.abs() < _INFINITE))
    by_run = dict(iter(newest.groupby("run_id", sort=False)))
    return [
        _validations(by_run.get(run.run_id, newest.iloc[:0]), names, mine, others)
        for (run, _), names, mine in zip(runs, held, wanted, strict=True)
    ]


def _validations(
    points: DataFrame, names: Mapping[str, str], keys: Sequence[str], others: Sequence[str]
) -> DataFrame:
    """One row for each validation, sorted by the tracker's step.

    Args:
        points: of one run, each metric once at a step.
        names: the run's metrics by the key that they get.
        keys: of the catalogue.
        others: metrics that no monitor logged.
    """
    import pandas as pd

    own = list(dict.fromkeys(names[key] for key in (GLOBAL_STEP, *keys) if key in names))
    timestamp = points[points["metric"].isin(own)].groupby("step")["timestamp"].max()
    timestamp.index = timestamp.index.astype("int64")
    asked = list(dict.fromkeys((GLOBAL_STEP, STAGE, "epoch", *keys, *others)))
    held = [key for key in asked if key in names]
    logged = points.pivot(index="step", columns="metric", values="value")
    history = logged.reindex(index=timestamp.index, columns=[names[key] for key in held])
    history = history.set_axis(held, axis="columns").reindex(columns=asked).astype("float64")
    frame = pd.DataFrame(
        {
            "epoch": history["epoch"].round().astype("Int64"),
            "global_step": history[GLOBAL_STEP].round().astype("Int64"),
            "step": timestamp.index,
            "timestamp": pd.to_datetime(timestamp.astype("int64"), unit="ms", utc=True),
        }
    )
    is_newest = _is_newest(frame.assign(stage=history[STAGE]))
    columns = history[list(dict.fromkeys((*keys, *others)))]
    return pd.concat([frame, columns], axis=1)[is_newest].reset_index(drop=True)


def _is_newest(validations: DataFrame) -> Series[bool]:
    """Whether each is the last of its epoch, global step and stage.

    Lightning's batch counter, which is the logger's step, is off by one after some resumes.
    """
    in_time = validations.sort_values("timestamp", kind="stable")
    repeated = in_time.duplicated(["epoch", "global_step", "stage"], keep="last")
    is_placed = validations[["epoch", "global_step"]].notna().all(axis=1)
    return ~(repeated.reindex(validations.index) & is_placed)


def finite(value: float) -> float:
    """The value, or NaN for an infinite one, which would ruin any chart."""
    return value if abs(value) < _INFINITE else np.nan
