"""Validations of which a killed training left only some tables: named, and not drawn."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from sing_monitor.app.read import store as data
from sing_monitor.findings import Findings
from sing_monitor.tracking import DeliveryError, MlflowRun, RunWriter
from tests.app.conftest import Opened, copy_of
from tests.app.stores import Store, history


class TooLarge(pd.DataFrame):
    """A table that does not fit on the disk."""

    def to_parquet(self, *args: object, **kwargs: object) -> None:
        raise OSError("No space left on device")


def test_an_incomplete_validation_is_named_and_its_tables_are_not_offered(
    empty_store: Store, tmp_path: Path, open_page: Opened
) -> None:
    (tmp_path / "store").mkdir()
    store = copy_of(empty_store, tmp_path / "store")
    table = pd.DataFrame({"class_name": ["a"], "n": [3]})
    run = store.run("cut off", history(3), tables=Findings(tables={"support": table}))
    app = open_page("tables", store.uri, runs=[run])
    assert not any("have not all arrived" in each.value for each in app.warning)

    writer = RunWriter(MlflowRun(store.client, run), tmp_path / "spool")
    both = {"support": table, "classes": TooLarge(table)}
    with pytest.raises(DeliveryError, match="were lost"):
        writer.write(Findings(tables=both), epoch=2, step=300)
    data.forget()
    app = open_page("tables", store.uri, runs=[run])
    assert not app.exception
    (warning,) = (each.value for each in app.warning if "have not all arrived" in each.value)
    assert "cut off" in warning
    assert "epoch 2 (step 300)" in warning
    assert "sing-monitor sync" in warning
    # The epochs before it are there.
    assert app.dataframe
