"""What MLflow is asked: experiments, runs and files, page by page and as few times as possible."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sing_monitor.tracking.addresses import shown_address
from sing_monitor.tracking.backend import CURVE_COLUMNS, Store, StoredRun, ask_each
from sing_monitor.tracking.errors import ArtifactNotFoundError, RunNotFoundError, StoreError
from sing_monitor.tracking.layout import MARKER_TAG
from sing_monitor.tracking.mlflow_access import is_server, reaching
from sing_monitor.tracking.mlflow_bulk import server
from sing_monitor.tracking.time_limit import within_limit

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from pandas import DataFrame

RUNS_PER_PAGE = 1000
RUNNING = "attributes.status = 'RUNNING'"


def experiments(client: MlflowClient) -> Iterator[tuple[str, str]]:
    """Id and name of every experiment."""
    token = None
    while token != "":
        page = client.search_experiments(max_results=RUNS_PER_PAGE, page_token=token)
        yield from ((found.experiment_id, found.name) for found in page)
        token = page.token or ""


def monitored_runs(
    client: MlflowClient, experiment_ids: list[str], condition: str = ""
) -> Iterator[Run]:
    """Every run of some experiments that a monitor wrote to, newest first.

    Args:
        client: of the store.
        experiment_ids: where to look.
        condition: a further one, as MLflow writes it.
    """
    marked = f"tags.`{MARKER_TAG}` = 'true'"
    token = None
    while token != "":
        page = client.search_runs(
            experiment_ids,
            f"{marked} AND {condition}" if condition else marked,
            max_results=RUNS_PER_PAGE,
            order_by=["attributes.start_time DESC"],
            page_token=token,
        )
        yield from page
        token = page.token or ""


def active_run(client: MlflowClient, run_id: str) -> Run:
    """A run that was not deleted.

    Raises:
        RunNotFoundError: if it was.
    """
    run = client.get_run(run_id)
    if run.info.lifecycle_stage != "active":
        raise RunNotFoundError(
            f"run {run_id} in MLflow at {shown_address(str(client.tracking_uri))} was deleted; "
            "restore it there, or choose another."
        )
    return run


def stored_run(run: Run, experiment: str) -> StoredRun:
    """A run of MLflow's in our words; ``experiment`` is the name of its experiment."""
    info, data = run.info, run.data
    return StoredRun(
        run_id=info.run_id,
        run_name=info.run_name,
        experiment=experiment,
        experiment_id=info.experiment_id,
        status=info.status,
        start_time=info.start_time,
        end_time=info.end_time,
        tags=data.tags,
        metrics=data.metrics,
        params=data.params,
    )


def curves(
    client: MlflowClient, store: Store, run_ids: Sequence[str], metrics: Sequence[str]
) -> DataFrame:
    """All points of some metrics of some runs, from a store that is no database.

    A server is asked for a metric of many runs at once, where it takes such questions.
    """
    import pandas as pd

    def read(asked: tuple[str, str]) -> list[tuple[Any, ...]]:
        run_id, metric = asked
        history = client.get_metric_history(run_id, metric)
        return [(run_id, metric, each.step, each.timestamp, each.value) for each in history]

    def read_many(asked: tuple[Sequence[str], str]) -> list[tuple[Any, ...]]:
        ids, metric = asked
        found = None
        if len(ids) > 1:
            found = within_limit(lambda: server.curve_of_runs(store.uri, ids, metric))
        return [row for run in ids for row in read((run, metric))] if found is None else found

    most = server.RUNS_AT_ONCE if is_server(store.uri) else 1
    parts = [run_ids[at : at + most] for at in range(0, len(run_ids), most)]
    found = ask_each(store, read_many, [(ids, metric) for ids in parts for metric in metrics])
    rows = [row for part in found for row in part]
    return pd.DataFrame(rows, columns=list(CURVE_COLUMNS))


def download(client: MlflowClient, run_id: str, path: str, folder: str) -> str:
    """Copy a file of a run into a folder; where it lies then.

    By the address of the run's folder: MLflow would look the run up twice for each file.

    Raises:
        ArtifactNotFoundError: if the run does not hold the file.
    """
    from mlflow.artifacts import download_artifacts

    try:
        root = _artifact_root(str(client.tracking_uri), run_id)
        if _is_cut(root):
            return client.download_artifacts(run_id, path, folder)

        def copy() -> str:
            return download_artifacts(
                artifact_uri=f"{root.rstrip('/')}/{path}",
                dst_path=folder,
                tracking_uri=str(client.tracking_uri),
            )

        return within_limit(copy, into=Path(folder)) if _local(root) is None else copy()
    except (StoreError, TimeoutError):
        raise
    except Exception:
        _explain_missing(client, run_id, path)
        raise


def _explain_missing(client: MlflowClient, run_id: str, path: str) -> None:
    run = active_run(client, run_id)
    present = [info.path for info in client.list_artifacts(run_id, path.rpartition("/")[0])]
    if path not in present:
        place = shown_address(run.info.artifact_uri)
        raise ArtifactNotFoundError.at(run_id, path, present, place) from None


def local_root(uri: str, run_id: str) -> Path | None:
    """The folder of the run's files, where it lies on this machine's own disk."""
    root = _artifact_root(uri, run_id)
    return None if _is_cut(root) else _local(root)


def _local(root: str) -> Path | None:
    from mlflow.utils.file_utils import get_local_path_or_none

    local = get_local_path_or_none(root)
    return None if local is None else Path(local)


def _is_cut(root: str) -> bool:
    """Whether MLflow takes a part of the address for its end, and would look elsewhere."""
    return not {"?", "#"}.isdisjoint(root)


# Where MLflow keeps the files of runs, by store and run; lists of runs bring it along.
_roots: dict[tuple[str, str], str] = {}
_MOST_ROOTS = 50_000


def remember_root(uri: str, run_id: str, root: str) -> None:
    """Keep where the files of a run are, which would cost a question."""
    if len(_roots) >= _MOST_ROOTS:
        _roots.clear()
    _roots[uri, run_id] = root


def _artifact_root(uri: str, run_id: str) -> str:
    root = _roots.get((uri, run_id))
    if root is None:
        with reaching(uri, run_id) as client:
            root = str(client.get_run(run_id).info.artifact_uri)
        remember_root(uri, run_id, root)
    return root
