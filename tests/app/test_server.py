"""The app on a real MLflow server."""

from __future__ import annotations

from pathlib import Path

from mlflow import MlflowClient

from tests.app.conftest import Opened
from tests.app.stores import Store, history
from tests.servers import MlflowServer


def test_runs_and_curves_of_a_server(
    mlflow_server: MlflowServer, open_page: Opened, tmp_path: Path
) -> None:
    server = mlflow_server.uri
    app = open_page("runs", server)
    assert not app.exception
    store = Store(tmp_path, MlflowClient(server))
    run = store.run("served", history(3))
    app.button[0].click().run()
    table = app.dataframe[0].value
    served = table[table["run"] == "served"]
    experiment = store.client.get_run(run).info.experiment_id
    assert served["mlflow"].tolist() == [f"{server}/#/experiments/{experiment}/runs/{run}"]
    app.switch_page("views/evolution.py").run()
    assert not app.exception
    assert app.get("vega_lite_chart")
