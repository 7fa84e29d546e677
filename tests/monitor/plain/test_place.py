"""Runs of others that a monitor joins, and runs of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow import MlflowClient
from torch import nn

from sing_monitor.errors import SetupError
from sing_monitor.tracking import RunReader, create_run, list_runs
from tests.helpers import tiny
from tests.helpers.disturbed import said_by_the_monitor
from tests.helpers.loops import images, quick, watched
from tests.helpers.stores.databases import empty_database
from tests.helpers.stores.servers import free_port


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return tiny.Classifier().network


@pytest.fixture
def uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A store that MLflow's fluent functions use; artifacts and spools lie below the folder."""
    monkeypatch.chdir(tmp_path)
    address = empty_database(tmp_path / "mlflow.db")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(address)
    yield address
    mlflow.end_run()
    mlflow.set_tracking_uri(before)


def status(uri: str, run_id: str) -> str:
    return str(MlflowClient(uri).get_run(run_id).info.status)


@pytest.mark.parametrize("names_the_address", [False, True])
def test_the_active_run_is_joined_and_goes_on(
    uri: str, model: nn.Module, caplog: pytest.LogCaptureFixture, names_the_address: bool
) -> None:
    given = {"tracking_uri": uri} if names_the_address else {}
    with caplog.at_level("INFO"), mlflow.start_run() as run:
        mlflow.log_metric("val_loss", 0.5, step=10)
        with quick(model, **given) as watching:
            watching.measure(images(), epoch=0, step=10, metrics={"val_acc": 0.25})
        run_id = run.info.run_id
        assert watching.run_id == run_id
        assert status(uri, run_id) == "RUNNING"
        mlflow.log_metric("val_loss", 0.4, step=20)
    assert f"findings go to the active MLflow run {run_id}" in caplog.text
    assert f"sing-monitor app --tracking-uri {uri}" in caplog.text
    (listed,) = list_runs(uri).to_dict("records")
    assert (listed["run_id"], listed["status"]) == (run_id, "FINISHED")
    curves = RunReader(uri, run_id).scalars(["head/rank"], ["val_loss", "val_acc"])
    assert curves[["step", "head/rank", "val_loss", "val_acc"]].to_numpy().tolist() == [
        [10, 4.0, 0.5, 0.25]
    ]


def test_a_run_is_joined_by_its_id_and_not_ended(uri: str, model: nn.Module) -> None:
    run_id = MlflowClient(uri).create_run("0").info.run_id
    with quick(model, run_id=run_id) as watching:
        watching.measure(images(), epoch=0)
    assert status(uri, run_id) == "RUNNING"
    assert RunReader(uri, run_id).validations() == [(0, 0)]


def test_a_run_of_a_folder_is_joined(tmp_path: Path, model: nn.Module) -> None:
    run = create_run(str(tmp_path), run_name="mine")
    with quick(model, tracking_uri=tmp_path, run_id=run.run_id) as watching:
        watching.measure(images(), epoch=0)
    (listed,) = list_runs(str(tmp_path)).to_dict("records")
    assert (listed["run_name"], listed["status"]) == ("mine", "RUNNING")


def test_a_name_makes_a_run_where_mlflow_looks(
    uri: str, model: nn.Module, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"), mlflow.start_run() as active:
        with quick(model, experiment="digits", run_name="second") as watching:
            watching.measure(images(), epoch=0)
        assert status(uri, active.info.run_id) == "RUNNING"
    assert (
        f"the MLflow run {active.info.run_id} is active, and the monitor makes one" in caplog.text
    )
    (listed,) = list_runs(uri).to_dict("records")
    assert (listed["run_name"], listed["experiment"]) == ("second", "digits")
    assert listed["status"] == "FINISHED"


def test_without_any_run_the_numbers_are_returned_and_that_is_said(
    model: nn.Module, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"), quick(model) as watching:
        assert watching.measure(images(), epoch=0)["head/rank"] == 4
    assert "nothing is kept of what is measured" in caplog.text
    assert watching.run_id is None


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"run_id": "a1", "run_name": "x"}, "run_id='a1' names a run .* of a new one"),
        ({"run_id": "0" * 32}, "has no run '0000"),
        ({"experiment": ""}, "experiment=''.*: expected a text"),
        ({"tracking_uri": 7}, "tracking_uri=7.*: expected an MLflow tracking URI"),
    ],
)
def test_a_run_that_cannot_be_is_refused_at_once(
    given: dict[str, Any], sentence: str, uri: str, model: nn.Module
) -> None:
    with pytest.raises(SetupError, match=sentence):
        quick(model, **given)


def test_a_server_that_is_away_is_said_before_the_training(model: nn.Module) -> None:
    address = f"http://me:secret@127.0.0.1:{free_port()}"
    with pytest.raises(SetupError, match="refused") as error:
        quick(model, tracking_uri=address)
    assert "secret" not in str(error.value)


def test_a_second_training_in_a_joined_run_is_said(tmp_path: Path, model: nn.Module) -> None:
    uri = str(tmp_path)
    first = quick(model, tracking_uri=uri)
    for epoch in (0, 1):
        watched(first, model, epoch)
    state = first.state_dict()
    first.close()
    joined = {"tracking_uri": uri, "run_id": first.run_id}
    with said_by_the_monitor() as said:
        watched(quick(model, **joined), model, 1)
    assert "already holds epochs 0 to 1 of another training" in said[0]
    goes_on, other = quick(model, **joined), quick(model, **joined, name="aux")
    goes_on.load_state_dict(state)
    with said_by_the_monitor() as said:
        watched(goes_on, model, 1)
        watched(other, model, 0)
        watched(quick(model, **joined), model, 2)
    assert not any("already holds" in line for line in said)


def test_a_state_of_another_run_comes_before_the_first_validation(
    tmp_path: Path, model: nn.Module
) -> None:
    uri = str(tmp_path)
    first, second = quick(model, tracking_uri=uri), quick(model, tracking_uri=uri)
    watched(first, model, 0)
    state = first.state_dict()
    first.close()
    with pytest.raises(SetupError, match="the last epoch is str, and no whole number"):
        second.load_state_dict({**state, "last_epoch": "one"})
    watched(second, model, 0)
    begun = second.run_id
    with pytest.raises(
        SetupError, match=r"Call monitor\.load_state_dict\(state\) before the first"
    ):
        second.load_state_dict(state)
    assert second.run_id == begun != first.run_id
    second.load_state_dict(second.state_dict())  # back to a checkpoint of its own
    third = quick(model, tracking_uri=uri)
    third.load_state_dict(state)
    watched(third, model, 1)
    assert third.run_id == first.run_id
