"""The app on a real MLflow server."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pandas as pd
import pytest
from mlflow import MlflowClient

from sing_monitor.app import data
from sing_monitor.app.selection import source
from sing_monitor.findings import Findings
from tests.app.conftest import Opened, copy_of
from tests.app.stores import Store, history


@pytest.fixture(scope="module")
def server(
    empty_store: Store, tmp_path_factory: pytest.TempPathFactory, free_port: int
) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("server")
    backend = copy_of(empty_store, folder).uri
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", backend]
    command += ["--artifacts-destination", str(folder / "artifacts"), "--workers", "1"]
    command += ["--host", "127.0.0.1", "--port", str(free_port)]
    uri = f"http://127.0.0.1:{free_port}"
    environment = {
        **os.environ,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        # Processes of its own for background jobs: nobody asks for one, and they start slowly.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    log = (folder / "log").open("wb")
    with subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=environment) as process:
        try:
            wait_for(f"{uri}/health", process, Path(log.name))
            yield uri
        finally:
            process.terminate()
    log.close()


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            with urlopen(url, timeout=5):
                return
        except (URLError, ConnectionError, TimeoutError):
            time.sleep(0.3)
    raise AssertionError(f"{url} did not answer: {log.read_text()}")


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
