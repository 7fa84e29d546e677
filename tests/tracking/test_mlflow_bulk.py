"""Many runs and curves at once hold what MLflow's client gives one by one."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from pandas.testing import assert_frame_equal

from sing_monitor.tracking import MlflowStore, RunReader, list_runs
from sing_monitor.tracking.layout import Layout
from sing_monitor.tracking.mlflow_access import database_stamp
from sing_monitor.tracking.mlflow_bulk import database, server
from sing_monitor.tracking.mlflow_queries import curves
from sing_monitor.tracking.runs import curves_of_runs
from tests.app.stores import MINUTE, START, Store, history
from tests.helpers.stores.servers import MlflowServer


def by_client(client: MlflowClient, run_id: str) -> dict[str, Any]:
    run = client.get_run(run_id)
    return {
        "run_name": run.info.run_name,
        "status": run.info.status,
        "start_time": run.info.start_time,
        "end_time": run.info.end_time,
        "experiment_id": run.info.experiment_id,
        "tags": run.data.tags,
        "params": run.data.params,
        "metrics": _sure(run.data.metrics),
    }


def _sure(values: Mapping[str, float]) -> dict[str, float | str]:
    return {key: "NaN" if math.isnan(value) else value for key, value in values.items()}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Three runs, one of which has an undefined, an infinite and a repeated value."""
    store = Store.at(tmp_path_factory.mktemp("bulk"))
    odd = [dict(each) for each in history(4, 0.5)]
    odd[1]["sing/retention"] = math.nan
    odd[3]["sing/retention"] = math.nan
    odd[2]["translator/r2"] = math.inf
    store.run("plain", history(3), params={"seed": "1"})
    run = store.run("odd", odd, started=START + MINUTE, status="FAILED")
    store.client.log_metric(run, "sing/image_score_centered", 5.0, START + 10**9, step=199)
    store.run("other", history(2), started=START + 2 * MINUTE, experiment="second", status=None)
    return store


def test_a_database_gives_what_the_client_gives(store: Store) -> None:
    runs = MlflowStore(store.uri).runs()
    assert [run.run_name for run in runs] == ["other", "odd", "plain"]
    for run in runs:
        found = {key: getattr(run, key) for key in by_client(store.client, run.run_id)}
        found["metrics"] = _sure(found["metrics"])
        assert found == by_client(store.client, run.run_id)
    assert {run.experiment for run in runs} == {"digits", "second"}


def test_curves_of_a_database_are_those_of_the_client(store: Store) -> None:
    runs = [run.run_id for run in MlflowStore(store.uri).runs()]
    keys = ["sing/retention", "translator/r2", "sing/image_score_centered", "epoch", "absent"]
    order = ["run_id", "metric", "step", "timestamp"]
    direct = database.curves(store.uri, runs, keys).sort_values(order, ignore_index=True)
    asked = curves(store.client, MlflowStore(store.uri), runs, keys)
    assert_frame_equal(direct, asked.sort_values(order, ignore_index=True))
    assert len(direct) == 4 * (3 + 4 + 2) + 1


def test_runs_that_are_read_together_are_as_read_alone(store: Store) -> None:
    here = MlflowStore(store.uri)
    runs = here.runs()
    keys = ["sing/retention", "sing/image_score_centered"]
    together = curves_of_runs(here, [(run, Layout()) for run in runs], keys)
    for run, found in zip(runs, together, strict=True):
        assert_frame_equal(found, RunReader(store.uri, run.run_id).scalars(keys))
    assert together[1]["sing/image_score_centered"].tolist()[1] == 5.0


def test_a_deleted_run_leaves_the_list_and_comes_back(store: Store) -> None:
    run = store.run("gone", history(1))
    assert run in set(list_runs(store.uri)["run_id"])
    store.client.delete_run(run)
    assert run not in set(list_runs(store.uri)["run_id"])
    store.client.restore_run(run)
    assert run in set(list_runs(store.uri)["run_id"])
    store.client.delete_run(run)


def test_a_server_is_asked_for_a_metric_of_all_runs(
    mlflow_server: MlflowServer, tmp_path: Path
) -> None:
    uri = mlflow_server.uri
    store = Store(tmp_path, MlflowClient(uri))
    nan = [{**each, "translator/r2": math.nan} for each in history(2)]
    place = str(tmp_path)
    runs = [store.run(*each, experiment=place) for each in (("one", history(3)), ("two", nan))]
    points = server.curve_of_runs(uri, runs, "translator/r2")
    assert points is not None
    assert len(points) == 5
    here = MlflowStore(uri)
    stored = [here.run(run) for run in runs]
    together = curves_of_runs(here, [(run, Layout()) for run in stored], ["translator/r2"])
    for run, found in zip(runs, together, strict=True):
        assert_frame_equal(found, RunReader(uri, run).scalars(["translator/r2"]))
    assert together[1]["translator/r2"].isna().all()


def test_a_server_that_takes_no_such_question_is_asked_one_by_one(
    mlflow_server: MlflowServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_PATH", "/ajax-api/2.0/mlflow/metrics/no-such-question")
    uri = mlflow_server.uri
    store = Store(tmp_path, MlflowClient(uri))
    runs = [store.run(name, history(3), experiment=str(tmp_path)) for name in "ab"]
    assert server.curve_of_runs(uri, runs, "translator/r2") is None
    assert len(MlflowStore(uri).histories(runs, ["translator/r2"])) == 6


def test_more_points_than_a_server_tells_are_asked_for_one_by_one(
    mlflow_server: MlflowServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_MOST_POINTS", 4)
    uri = mlflow_server.uri
    store = Store(tmp_path, MlflowClient(uri))
    runs = [store.run(name, history(3), experiment=str(tmp_path)) for name in "ab"]
    assert server.curve_of_runs(uri, runs, "translator/r2") is None
    assert len(MlflowStore(uri).histories(runs, ["translator/r2"])) == 6


def test_a_stamp_changes_with_every_write_and_is_none_soon_after_one(store: Store) -> None:
    path = store.folder / "mlflow.db"
    store.client.set_tag(MlflowStore(store.uri).runs()[0].run_id, "written", "now")
    assert database_stamp(store.uri) is None
    for end in ("", "-wal", "-journal"):
        if (beside := Path(f"{path}{end}")).exists():
            os.utime(beside, (time.time() - 3600,) * 2)
    before = database_stamp(store.uri)
    assert before is not None
    assert database_stamp(store.uri) == before
    store.client.set_tag(MlflowStore(store.uri).runs()[0].run_id, "written", "later")
    assert database_stamp(store.uri) != before
    assert database_stamp("http://127.0.0.1:1") is None
    assert database_stamp("postgresql://host/name") is None


def test_a_server_is_asked_again_only_for_what_moves(
    mlflow_server: MlflowServer, tmp_path: Path
) -> None:
    here = MlflowStore(mlflow_server.uri)
    store = Store(tmp_path, MlflowClient(here.uri))
    place = str(tmp_path)
    ended = store.run("ended", history(1), experiment=place, started=START)
    last = store.run("last", history(1), experiment=place, started=START + 10**12)
    growing = store.run("growing", history(1), experiment=place, status=None)
    known = here.runs()
    store.client.log_metric(growing, "sing/retention", 0.125, step=10**6)
    begun = store.run("begun", history(1), experiment=place, status=None)
    # Nobody looks at a run that had ended before the last one did.
    store.client.set_tag(ended, "sing.model", "another")
    new = {run.run_id: run for run in here.renewed(known)}
    assert new[growing].metrics["sing/retention"] == 0.125
    assert new[begun].status == "RUNNING"
    assert new[ended].tags["sing.model"] == "ResNet"
    assert [run.run_id for run in new.values()] == [run.run_id for run in here.runs()]
    # A clock that goes wrong: this one ends before the last one did.
    store.client.set_terminated(begun, "FAILED", START + 1)
    assert {run.run_id: run.status for run in here.renewed(list(new.values()))}[begun] == "FAILED"
    store.client.set_terminated(growing, "FINISHED", START + 10**13)
    found = {run.run_id: run for run in here.renewed(here.runs())}
    assert found[growing].status == "FINISHED"
    assert last in found
