"""Tables as Parquet files: read as those that pandas writes."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pandas as pd
import pytest

from sing_monitor.tracking.disk.table_files import parquet
from sing_monitor.untrusted.tables import read_table

TABLE = pd.DataFrame(
    {
        "class_name": ["cat", None, "dog"],
        "n": [3, 0, 2**40],
        "is_hidden": [True, False, True],
        "degree": [0.1, np.nan, -np.inf],
        "single": np.array([0.1, np.nan, 2], dtype=np.float32),
        "small": np.array([1, 2, 3], dtype=np.uint8),
        "images_a": [["a", "b"], [], ["c"]],
        "curve": [np.array([0.5, np.nan]), np.zeros(0), np.ones(1)],
        "unknown": [None, None, None],
        "words": pd.Series(["a", None, "b"], dtype=object),
    }
)
KINDS = {
    "plain": TABLE,
    "one row": TABLE[:1],
    "no rows": TABLE[:0],
    "later rows": TABLE[1:],
    "sorted": TABLE.sort_values("n"),
    "named rows": TABLE.rename_axis("image"),
    "named columns": TABLE.rename_axis(columns="quantity"),
    "numbers as names": pd.DataFrame(np.ones((2, 3))),
    "no columns": pd.DataFrame(),
    "integers that may be missing": pd.DataFrame({"n": pd.array([1, None], dtype="Int64")}),
    "categories": pd.DataFrame({"class": pd.Categorical(["b", "a"], ["b", "a"], ordered=True)}),
    "times": pd.DataFrame({"when": pd.to_datetime(["2024-01-01", None])}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_is_read_as_one_that_pandas_wrote(kind: str) -> None:
    table = KINDS[kind]
    file, by_pandas = parquet(table), table.to_parquet()
    for read in (read_table, lambda content: pd.read_parquet(BytesIO(content))):
        pd.testing.assert_frame_equal(read(file), read(by_pandas))


def test_a_table_keeps_what_is_said_of_it() -> None:
    table = TABLE.copy()
    table.attrs["unit"] = "degree"
    assert read_table(parquet(table)).attrs == table.attrs


def test_no_column_is_left_out_because_another_has_its_name() -> None:
    with pytest.raises(ValueError, match="Duplicate column names"):
        parquet(pd.DataFrame([[1, 2]], columns=["n", "n"]))
