"""The app on a real MLflow server."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from mlflow import MlflowClient

from sing_monitor.app.read import store as data
from sing_monitor.app.ui.selection import run_source
from sing_monitor.findings import Findings
from tests.app.conftest import Opened
from tests.app.stores import Store, history
from tests.helpers.stores.servers import MlflowServer


def test_runs_curves_and_tables_of_a_server(
    mlflow_server: MlflowServer, open_page: Opened, tmp_path: Path
) -> None:
    server = mlflow_server.uri
    app = open_page("runs", server)
    assert not app.exception
    store = Store(tmp_path, MlflowClient(server))
    classes = pd.DataFrame({"class_index": [0, 1], "class_name": ["a", "b"]})
    run = store.run("served", history(3), tables=Findings({}, {"classes": classes}))
    app.button[0].click().run()
    table = app.dataframe[0].value
    served = table[table["run"] == "served"]
    experiment = store.client.get_run(run).info.experiment_id
    assert served["mlflow"].tolist() == [f"{server}/#/experiments/{experiment}/runs/{run}"]
    app.switch_page("views/evolution.py").run()
    assert not app.exception
    assert app.get("vega_lite_chart")
    listing = data.listing(server)
    served = run_source(server, listing[listing["run_id"] == run].iloc[0])
    validations = data.validations(served)
    read = data.tables(served, "classes", validations, where=("class_name", "b"))
    assert validations == [(0, 100), (1, 200), (2, 300)] == list(read)
    assert {table["class_index"].item() for table in read.values()} == {1}
