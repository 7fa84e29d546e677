"""Evolution draws between which values random heads lie."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from tests.app.conftest import Opened, copy_of
from tests.app.stores import Store, history

SPREAD = "sing/image_score_relative_spread"


@pytest.mark.parametrize("spread", [0.3, None])
def test_the_ends_of_the_band_are_curves(
    open_page: Opened, empty_store: Store, tmp_path: Path, spread: float | None
) -> None:
    more = {} if spread is None else {SPREAD: spread}
    store = copy_of(empty_store, tmp_path)
    run = store.run(f"spread {spread}", [values | more for values in history(3)])
    app = open_page("evolution", store.uri, runs=[run], groups="Scores")
    assert not app.exception
    ends = {}
    for element in app.get("vega_lite_chart"):
        if json.loads(element.proto.spec)["title"]["text"] == "IS relative to random":
            tables = [
                pa.ipc.open_stream(each.data.data).read_pandas() for each in element.proto.datasets
            ]
            found = pd.concat(tables)
            for end in ("lower", "upper"):
                ends[end] = found.loc[found["label"].str.endswith(end), "value"].unique().tolist()
    expected = ([], []) if spread is None else ([0.4], [1.6])
    assert (ends["lower"], ends["upper"]) == tuple(map(pytest.approx, expected))
