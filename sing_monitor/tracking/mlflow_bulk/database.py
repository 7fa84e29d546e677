"""Runs and curves straight from an MLflow database, in a handful of statements.

MLflow's client makes an object of every number, which takes ten times as long as reading it, and
is asked once for each curve. Here its own models of the tables are read column by column.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sing_monitor.tracking.backend import CURVE_COLUMNS, StoredRun
from sing_monitor.tracking.layout import MARKER_TAG

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pandas import DataFrame
    from sqlalchemy import Engine, Select

# A database takes a bounded number of values in one statement.
_IDS_AT_ONCE = 400


def is_database(uri: str) -> bool:
    """Whether MLflow keeps the runs of an address in a database that this process can open."""
    from mlflow.environment_variables import MLFLOW_ENABLE_WORKSPACES
    from mlflow.store.db.db_types import DATABASE_ENGINES

    # What a workspace may see only MLflow knows.
    is_shared = MLFLOW_ENABLE_WORKSPACES.get()
    return uri.partition(":")[0].partition("+")[0] in DATABASE_ENGINES and not is_shared


def monitored_runs(uri: str, experiments: Mapping[str, str]) -> list[tuple[StoredRun, str]]:
    """Every run of some experiments that a monitor wrote to, newest first, and its files' address.

    Args:
        uri: of the database.
        experiments: names by id.
    """
    from mlflow.store.tracking.dbmodels import models
    from sqlalchemy import select

    run, tag = models.SqlRun, models.SqlTag
    chosen: Select[Any] = (
        select(run.run_uuid)
        .join(tag, tag.run_uuid == run.run_uuid)
        .where(tag.key == MARKER_TAG, tag.value == "true", run.lifecycle_stage == "active")
    )
    about: Any = select(
        run.run_uuid,
        run.name,
        run.experiment_id,
        run.status,
        run.start_time,
        run.end_time,
        run.artifact_uri,
    ).where(run.run_uuid.in_(chosen))
    metric = models.SqlLatestMetric
    values = select(metric.run_uuid, metric.key, metric.value, metric.is_nan)
    with _engine(uri).connect() as connection:
        found = connection.execute(about.order_by(run.start_time.desc(), run.run_uuid)).fetchall()

        def words(of: Any) -> dict[str, dict[str, str]]:
            rows: dict[str, dict[str, str]] = {row.run_uuid: {} for row in found}
            texts = select(of.run_uuid, of.key, of.value).where(of.run_uuid.in_(chosen))
            for run_id, key, value in connection.execute(texts).all():
                # A run that has begun since comes with the next question.
                if run_id in rows:
                    rows[run_id][key] = value
            return rows

        tags, params = words(tag), words(models.SqlParam)
        metrics: dict[str, dict[str, float]] = {row.run_uuid: {} for row in found}
        numbers = connection.execute(values.where(metric.run_uuid.in_(chosen)))
        for run_id, key, value, is_nan in numbers.all():
            if run_id in metrics:
                metrics[run_id][key] = float("nan") if is_nan else value
    return [
        (
            StoredRun(
                run_id=row.run_uuid,
                run_name=row.name or tags[row.run_uuid].get("mlflow.runName", ""),
                experiment=experiments[str(row.experiment_id)],
                experiment_id=str(row.experiment_id),
                status=row.status,
                start_time=row.start_time,
                end_time=row.end_time,
                tags=tags[row.run_uuid],
                metrics=metrics[row.run_uuid],
                params=params[row.run_uuid],
            ),
            str(row.artifact_uri),
        )
        for row in found
        if str(row.experiment_id) in experiments
    ]


def curves(uri: str, run_ids: Sequence[str], metrics: Sequence[str]) -> DataFrame:
    """All points of some metrics of some runs; see `Store.histories`."""
    import pandas as pd
    from mlflow.store.tracking.dbmodels.models import SqlMetric as Point
    from sqlalchemy import select

    points: Any = select(
        Point.run_uuid, Point.key, Point.step, Point.timestamp, Point.value, Point.is_nan
    )
    rows: list[Any] = []
    with _engine(uri).connect() as connection:
        for ids in _parts(run_ids):
            for keys in _parts(metrics):
                wanted = points.where(Point.run_uuid.in_(ids), Point.key.in_(keys))
                rows += connection.execute(_ordered(wanted, Point)).fetchall()
    # pandas looks at every row of a database as if it might be a table of its own.
    frame = pd.DataFrame(list(map(tuple, rows)), columns=[*CURVE_COLUMNS, "is_nan"])
    frame["value"] = frame["value"].astype("float64").mask(frame["is_nan"].astype(bool))
    return frame.drop(columns="is_nan")


def _ordered(points: Select[Any], point: Any) -> Select[Any]:
    return points.order_by(point.timestamp, point.step, point.value)


def _parts(values: Iterable[str]) -> list[list[str]]:
    every = list(values)
    return [every[at : at + _IDS_AT_ONCE] for at in range(0, len(every), _IDS_AT_ONCE)]


@lru_cache(maxsize=8)
def _engine(uri: str) -> Engine:
    from mlflow.store.db.utils import create_sqlalchemy_engine

    engine: Engine = create_sqlalchemy_engine(uri)
    return engine
