"""What MLflow is asked: experiments, runs and files, page by page and as few times as possible."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from sing_monitor.tracking.addresses import shown_address
from sing_monitor.tracking.backend import StoredRun
from sing_monitor.tracking.errors import ArtifactNotFoundError, RunNotFoundError, StoreError
from sing_monitor.tracking.layout import MARKER_TAG
from sing_monitor.tracking.mlflow_access import is_local, reaching
from sing_monitor.tracking.time_limit import within_limit

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

RUNS_PER_PAGE = 1000


def experiments(client: MlflowClient) -> Iterator[tuple[str, str]]:
    """Id and name of every experiment."""
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


def download(client: MlflowClient, run_id: str, path: str, folder: str) -> str:
    """Copy a file of a run into a folder; where it lies then.

    By the address of the run's folder: MLflow would look the run up twice for each file.

    Raises:
        ArtifactNotFoundError: if the run does not hold the file.
    """
    from mlflow.artifacts import download_artifacts

    try:
        root = _artifact_root(str(client.tracking_uri), run_id)
        # MLflow takes these for the end of the path, and would look elsewhere.
        if {"?", "#"} & set(root):
            return client.download_artifacts(run_id, path, folder)

        def copy() -> str:
            return download_artifacts(
                artifact_uri=f"{root.rstrip('/')}/{path}",
                dst_path=folder,
                tracking_uri=str(client.tracking_uri),
            )

        return copy() if is_local(root) else within_limit(copy, into=Path(folder))
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


@lru_cache(maxsize=4096)
def _artifact_root(uri: str, run_id: str) -> str:
    """Where MLflow keeps the run's files; it never changes."""
    with reaching(uri, run_id) as client:
        return str(client.get_run(run_id).info.artifact_uri)
