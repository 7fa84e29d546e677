"""The app on a real MLflow server."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from mlflow import MlflowClient

from sing_monitor.app import data
from sing_monitor.app.selection import source
from sing_monitor.findings import Findings
from tests.app.conftest import Opened, copy_of
from tests.app.stores import Store, history
from tests.servers import free_port, serving


@pytest.fixture(scope="module")
def server(empty_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("server")
    backend = copy_of(empty_store, folder).uri
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", backend]
    command += ["--artifacts-destination", str(folder / "artifacts"), "--workers", "1"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    uri = f"http://127.0.0.1:{port}"
    # Processes of its own for background jobs: nobody asks for one, and they start slowly.
    environment = {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    with serving(command, f"{uri}/health", folder, **environment):
        yield uri


def test_runs_curves_and_tables_of_a_server(server: str, open_page: Opened, tmp_path: Path) -> None:
    app = open_page("runs", server)
    assert not app.exception
    store = Store(tmp_path, MlflowClient(server))
    classes = pd.DataFrame({"class_index": [0, 1], "class_name": ["a", "b"]})
    run = store.run("served", history(3), tables=Findings({}, {"classes": classes}))
    app.button[0].click().run()
    table = app.dataframe[0].value
    assert table["run"].tolist() == ["served"]
    assert table["mlflow"].tolist() == [f"{server}/#/experiments/1/runs/{run}"]
    app.switch_page("views/evolution.py").run()
    assert not app.exception
    assert app.get("vega_lite_chart")
    listing = data.listing(server)
    served = source(server, listing[listing["run_id"] == run].iloc[0])
    validations = data.validations(served)
    read = data.tables(served, "classes", validations, where=("class_name", "b"))
    assert validations == [(0, 100), (1, 200), (2, 300)] == list(read)
    assert {table["class_index"].item() for table in read.values()} == {1}
