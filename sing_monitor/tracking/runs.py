"""Which runs a monitor wrote to, and the metrics they hold."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from sing_monitor.tracking.layout import MARKER_TAG, Layout, monitor_names
from sing_monitor.tracking.store import NotFoundError, gather, reaching, redact

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run
    from pandas import DataFrame

RUNS_PER_PAGE = 1000
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
        uri: the tracking URI.
        experiment: an experiment's name; None: all of them.

    Raises:
        NotFoundError: if there is no such experiment.
        StoreError: if the store cannot be reached.
    """
    import pandas as pd

    with reaching(uri) as client:
        experiments = dict(_experiments(client))
        if experiment is not None:
            chosen = {key: name for key, name in experiments.items() if name == experiment}
            if not chosen:
                raise NotFoundError(
                    f"MLflow at {redact(uri)} has no experiment {experiment!r}; "
                    f"it has {', '.join(sorted(experiments.values()))}."
                )
            experiments = chosen
        runs = list(monitored_runs(client, list(experiments)))
    rows = [
        _run_row(run, name, experiments[run.info.experiment_id])
        for run in runs
        for name in monitor_names(run.data.tags)
    ]
    others = sorted({column for row in rows for column in row} - set(_RUN_COLUMNS))
    frame = pd.DataFrame(rows, columns=[*_RUN_COLUMNS, *others])
    # pandas would make NaN of None, and NaN is no monitor's name.
    frame["name"] = pd.Series([row["name"] for row in rows], dtype=object)
    for column in ("start_time", "end_time"):
        frame[column] = pd.to_datetime(frame[column], unit="ms", utc=True)
    return frame


def _experiments(client: MlflowClient) -> Iterator[tuple[str, str]]:
    token = None
    while token != "":
        page = client.search_experiments(max_results=RUNS_PER_PAGE, page_token=token)
        yield from ((found.experiment_id, found.name) for found in page)
        token = page.token or ""


def monitored_runs(client: MlflowClient, experiment_ids: list[str]) -> Iterator[Run]:
    """Every run of some experiments that a monitor wrote to, newest first."""
    token = None
    while token != "":
        page = client.search_runs(
            experiment_ids,
            f"tags.`{MARKER_TAG}` = 'true'",
            max_results=RUNS_PER_PAGE,
            order_by=["attributes.start_time DESC"],
            page_token=token,
        )
        yield from page
        token = page.token or ""


def _run_row(run: Run, name: str | None, experiment: str) -> dict[str, Any]:
    layout = Layout(name)
    metrics = own_metrics(run, layout)
    return {
        **{key: finite(run.data.metrics[metric]) for key, metric in metrics.items()},
        **{f"sing.{key}": value for key, value in layout.tags(run.data.tags).items()},
        **{f"param.{key}": value for key, value in run.data.params.items()},
        "run_id": run.info.run_id,
        "name": name,
        "run_name": run.info.run_name,
        "experiment": experiment,
        "experiment_id": run.info.experiment_id,
        "status": run.info.status,
        "start_time": run.info.start_time,
        "end_time": run.info.end_time,
    }


def metric_prefix(run: Run, layout: Layout) -> str:
    """What Lightning's MLFlowLogger put before every metric's name in a run."""
    return logged_prefix(layout.tags(run.data.tags).get("metric_prefix", ""))


def logged_prefix(prefix: str) -> str:
    """What Lightning's MLFlowLogger puts before every metric's name, given its ``prefix``."""
    return re.sub(r"[^a-zA-Z0-9_/. -]+", "", prefix) + "-" if prefix else ""


def own_metrics(run: Run, layout: Layout) -> dict[str, str]:
    """Logged names by catalogue key, of the groups that the writer named."""
    groups = set(layout.tags(run.data.tags).get("groups", "").split(","))
    prefix = metric_prefix(run, layout)
    found = {
        layout.catalogue_key(metric.removeprefix(prefix)): metric
        for metric in sorted(run.data.metrics)
        if metric.startswith(prefix)
    }
    return {key: metric for key, metric in found.items() if key and key.split("/")[0] in groups}


def metric_histories(client: MlflowClient, run: Run, names: Mapping[str, str]) -> DataFrame:
    """Columns key, step, timestamp (ms) and value; of each key and step the newest value.

    Args:
        client: knows the tracking URI.
        run: the MLflow run.
        names: metrics by the key they get; those that the run does not hold have no rows.
    """
    import pandas as pd

    held = {key: metric for key, metric in names.items() if metric in run.data.metrics}

    def read(metric: str) -> list[Metric]:
        return client.get_metric_history(run.info.run_id, metric)

    found = gather(str(client.tracking_uri), read, held.values())
    points = [
        (key, point.step, point.timestamp, finite(point.value))
        for key, history in zip(held, found, strict=True)
        for point in history
    ]
    frame = pd.DataFrame(points, columns=["key", "step", "timestamp", "value"])
    frame = frame.astype({"step": "int64", "timestamp": "int64", "value": "float64"})
    newest = frame.sort_values("timestamp", kind="stable")
    return newest.drop_duplicates(["key", "step"], keep="last")


def finite(value: float) -> float:
    """MLflow's databases store infinity as 1.797e308, which would ruin any chart."""
    return value if abs(value) < 1e300 else np.nan
