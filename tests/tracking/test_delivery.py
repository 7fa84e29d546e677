"""When what waits is sent: scalars that a logger may still bring, and servers that are silent."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric

from sing_monitor.findings import Findings
from sing_monitor.tracking import DeliveryError, MlflowRun, RunReader, RunWriter, delivery, mlflow
from tests.helpers.stores.databases import empty_database
from tests.helpers.stores.servers import busy_server

LATER = 4_000_000_000_000  # ms


@pytest.fixture
def writer(tmp_path: Path) -> RunWriter:
    """Of a new run whose logger is about to log the scalars of one validation."""
    client = MlflowClient(empty_database(tmp_path / "mlflow.db"))
    writer = RunWriter(MlflowRun(client, client.create_run("0").info.run_id), tmp_path / "spool")
    writer.keep_scalars(
        {"sing/image_score": 7.0}, epoch=4, step=15, tracker_step=14, metric_prefix="fold:1"
    )
    return writer


@pytest.fixture
def run(writer: RunWriter, tmp_path: Path) -> tuple[MlflowClient, str]:
    return MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}"), next(
        path.name for path in (tmp_path / "spool").iterdir()
    )


def values(run: tuple[MlflowClient, str], key: str) -> list[tuple[int, float]]:
    client, run_id = run
    return [(p.step, p.value) for p in client.get_metric_history(run_id, f"fold1-{key}")]


def test_a_delivery_leaves_to_the_logger_what_it_may_still_bring(
    writer: RunWriter, run: tuple[MlflowClient, str]
) -> None:
    writer.deliver()
    assert writer.pending == 1
    assert values(run, "sing/image_score") == []
    client, run_id = run
    logged = {"monitor/global_step": 15.0, "sing/image_score": 7.0}
    client.log_batch(
        run_id, [Metric(f"fold1-{key}", value, LATER, 14) for key, value in logged.items()]
    )
    writer.deliver()
    assert writer.pending == 0
    assert values(run, "sing/image_score") == [(14, 7.0)]


def test_the_last_delivery_sends_what_the_logger_did_not_bring(
    writer: RunWriter, run: tuple[MlflowClient, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "_SETTLING_SECONDS", 0.2)
    writer.deliver(last=True)
    assert writer.pending == 0
    expected = {"sing/image_score": 7.0, "monitor/global_step": 15.0, "epoch": 4.0}
    assert {key: values(run, key) for key in expected} == {
        key: [(14, value)] for key, value in expected.items()
    }


def test_a_delivery_sends_what_mlflow_has_given_up(
    writer: RunWriter, run: tuple[MlflowClient, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlflow, "PATIENCE_SECONDS", -1.0)
    writer.deliver()
    assert values(run, "sing/image_score") == [(14, 7.0)]


def test_the_next_process_sends_what_the_logger_of_the_first_did_not_bring(
    writer: RunWriter, run: tuple[MlflowClient, str], tmp_path: Path
) -> None:
    client, run_id = run
    later = RunWriter(MlflowRun(client, run_id), tmp_path / "spool")
    later.describe({}, {"metric_prefix": "fold:1"})
    later.write(Findings({"sing/image_score": 7.0}), epoch=5, step=18)
    assert later.pending == 0
    row = RunReader(client.tracking_uri, run_id).scalars().iloc[0]
    assert (row["epoch"], row["global_step"], row["step"]) == (4, 15, 14)
    writer.deliver(last=True)
    assert values(run, "sing/image_score") == [(14, 7.0)]


def test_a_silent_server_is_asked_once_for_several_writes(tmp_path: Path) -> None:
    table = Findings({"sing/x": 1.0}, {"classes": pd.DataFrame({"x": [1]})})
    with busy_server(health=503) as (uri, asked):
        writer = RunWriter(MlflowRun(MlflowClient(uri), "a" * 32), tmp_path)

        def publish(epoch: int) -> None:
            with writer.together():
                writer.describe({}, {})
                writer.write(table, epoch=epoch, step=epoch)

        for epoch in (1, 2):
            with pytest.raises(DeliveryError, match="503"):
                publish(epoch)
            assert asked == ["/health"] * epoch
    assert writer.pending == 8  # tags, config and two tables, each with its marks


def test_several_losses_are_one_error(tmp_path: Path) -> None:
    client = MlflowClient(empty_database(tmp_path / "mlflow.db"))
    writer = RunWriter(MlflowRun(client, client.create_run("0").info.run_id), tmp_path / "spool")
    (tmp_path / "spool").write_text("in the way")

    def publish() -> None:
        with writer.together():
            writer.describe({}, {})
            writer.write(Findings({"sing/x": 1.0}), epoch=3, step=1)

    with pytest.raises(
        DeliveryError, match="the settings and the tables of epoch 3 were lost"
    ) as caught:
        publish()
    assert caught.value.is_loss
