"""The app on a real MLflow server."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

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
    with serving(command, f"{uri}/health", folder, MLFLOW_DISABLE_TELEMETRY="true"):
        yield uri


def test_runs_and_curves_of_a_server(server: str, open_page: Opened, tmp_path: Path) -> None:
    app = open_page("runs", server)
    assert not app.exception
    store = Store(tmp_path, MlflowClient(server))
    run = store.run("served", history(3))
    app.button[0].click().run()
    table = app.dataframe[0].value
    assert table["run"].tolist() == ["served"]
    assert table["mlflow"].tolist() == [f"{server}/#/experiments/1/runs/{run}"]
    app.switch_page("views/evolution.py").run()
    assert not app.exception
    assert app.get("vega_lite_chart")
