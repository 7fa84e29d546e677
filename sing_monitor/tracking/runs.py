"""Which runs a monitor wrote to, and the metrics they hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
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
# What the tables of curves call the place of a validation: trainings log some of them as metrics.
_PLACE = {"run_id", "epoch", "global_step", "step", "timestamp"}
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
    store = open_store(uri)
    return runs_table(store, store.runs(experiment))


def runs_table(store: Store, runs: Iterable[StoredRun]) -> DataFrame:
    """Runs as `list_runs` gives them."""
    import pandas as pd

    rows = [_run_row(store, run, name) for run in runs for name in monitor_names(run.tags)]
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
    groups = layout.tags(run.tags).get("groups", "")
    prefix = metric_prefix(store, run, layout)
    return dict(_own_metrics(layout, groups, prefix, frozenset(run.metrics)))


# Most runs of a store log the same.
@lru_cache(maxsize=256)
def _own_metrics(
    layout: Layout, groups: str, prefix: str, metrics: frozenset[str]
) -> Mapping[str, str]:
    found = {
        layout.catalogue_key(metric.removeprefix(prefix)): metric
        for metric in sorted(metrics)
        if metric.startswith(prefix)
    }
    known = set(groups.split(","))
    return {key: metric for key, metric in found.items() if key and key.split("/")[0] in known}


def other_metrics(store: Store, run: StoredRun, layout: Layout) -> list[str]:
    """Metrics of a run that no monitor logged, as the logger was given them."""
    ours = {
        metric
        for name in {layout.name, *monitor_names(run.tags)}
        for metric in own_metrics(store, run, Layout(name)).values()
    }
    prefix = metric_prefix(store, run, layout)
    names = {metric.removeprefix(prefix) for metric in run.metrics.keys() - ours}
    return sorted(names - _PLACE)


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
    named = [_names(store, run, layout, keys, others) for run, layout in runs]
    asked = list(dict.fromkeys(metric for names, _ in named for _, metric in names))
    ids = list(dict.fromkeys(run.run_id for run, _ in runs))
    points = _in_time(store.histories(ids, asked), [dict(names) for names, _ in named])
    newest = points.drop_duplicates(["run_id", "metric", "step"], keep="last")
    values = newest["value"].astype("float64")
    newest = newest.assign(value=values.where(values.abs() < _INFINITE))
    found: list[DataFrame | None] = [None] * len(runs)
    # Runs that logged the same are worked out together.
    for alike in dict.fromkeys(named):
        places = [place for place, each in enumerate(named) if each == alike]
        mine = newest["run_id"].isin([runs[place][0].run_id for place in places])
        frame = _validations(newest[mine], dict(alike[0]), alike[1], others)
        by_run = dict(iter(frame.groupby("run_id", sort=False)))
        for place in places:
            rows = by_run.get(runs[place][0].run_id, frame.iloc[:0])
            found[place] = rows.drop(columns="run_id").reset_index(drop=True)
    return [frame for frame in found if frame is not None]


def _in_time(points: DataFrame, names: Sequence[Mapping[str, str]]) -> DataFrame:
    """Points from the oldest to the newest; of a step's epochs, the monitor's own come last.

    Others log an ``epoch`` to the same run: Hugging Face's Trainer counts it from 1, in fractions.
    The monitor's bears the time of its global step.

    Args:
        points: of the runs.
        names: for each run the metrics by key.
    """
    import pandas as pd

    place = ["run_id", "step", "timestamp"]
    is_epoch, is_witness = (
        points["metric"].isin([each[key] for each in names if key in each])
        for key in ("epoch", GLOBAL_STEP)
    )
    witnessed = pd.MultiIndex.from_frame(points.loc[is_witness, place])
    # Of a large store few points are epochs.
    is_own = is_epoch.copy()
    is_own[is_epoch] = pd.MultiIndex.from_frame(points.loc[is_epoch, place]).isin(witnessed)
    in_order = points.assign(is_own=is_own).sort_values(["is_own", "timestamp"], kind="stable")
    return in_order.drop(columns="is_own")


def _names(
    store: Store,
    run: StoredRun,
    layout: Layout,
    keys: Sequence[str] | None,
    others: Sequence[str],
) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...]]:
    """The key and the name of each metric that the run holds, and the keys that are asked for."""
    logged, prefix = own_metrics(store, run, layout), metric_prefix(store, run, layout)
    wanted = tuple(logged if keys is None else keys)
    names = {key: logged.get(key, "") for key in (GLOBAL_STEP, STAGE, *wanted)}
    names |= {other: prefix + other for other in ("epoch", *others)}
    return tuple((key, name) for key, name in names.items() if name in run.metrics), wanted


def _validations(
    points: DataFrame, names: Mapping[str, str], keys: Sequence[str], others: Sequence[str]
) -> DataFrame:
    """One row for each validation of each run, sorted by the tracker's step.

    Args:
        points: each metric of a run once at a step.
        names: the metrics by the key that they get.
        keys: of the catalogue.
        others: metrics that no monitor logged.
    """
    import pandas as pd

    own = [names[key] for key in (GLOBAL_STEP, *keys) if key in names]
    place = ["run_id", "step"]
    timestamp = points[points["metric"].isin(own)].groupby(place)["timestamp"].max()
    asked = list(dict.fromkeys((GLOBAL_STEP, STAGE, "epoch", *keys, *others)))
    held = [key for key in asked if key in names]
    logged = points.pivot(index=place, columns="metric", values="value")
    history = logged.reindex(index=timestamp.index, columns=[names[key] for key in held])
    history = history.set_axis(held, axis="columns").reindex(columns=asked).astype("float64")
    history.index = pd.RangeIndex(len(history))
    frame = pd.DataFrame(
        {
            "run_id": timestamp.index.get_level_values("run_id"),
            "epoch": history["epoch"].round().astype("Int64"),
            "global_step": history[GLOBAL_STEP].round().astype("Int64"),
            "step": timestamp.index.get_level_values("step").astype("int64"),
            "timestamp": pd.to_datetime(timestamp.to_numpy("int64"), unit="ms", utc=True),
        }
    )
    is_newest = _is_newest(frame.assign(stage=history[STAGE]))
    columns = history[list(dict.fromkeys((*keys, *others)))]
    return pd.concat([frame, columns], axis=1)[is_newest]


def _is_newest(validations: DataFrame) -> Series[bool]:
    """Whether each is the last of its run, epoch, global step and stage.

    Lightning's batch counter, which is the logger's step, is off by one after some resumes.
    """
    in_time = validations.sort_values("timestamp", kind="stable")
    repeated = in_time.duplicated(["run_id", "epoch", "global_step", "stage"], keep="last")
    is_placed = validations[["epoch", "global_step"]].notna().all(axis=1)
    return ~(repeated.reindex(validations.index) & is_placed)


def finite(value: float) -> float:
    """The value, or NaN for an infinite one, which would ruin any chart."""
    return value if abs(value) < _INFINITE else np.nan
