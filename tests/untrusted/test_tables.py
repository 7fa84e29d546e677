"""What takes little in a Parquet file may take much in memory: it is refused before."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sing_monitor.untrusted import tables
from sing_monitor.untrusted.tables import read_table

LONG, TIMES = "x" * 50_000, 100
REPEATED = {
    "words": pa.array([LONG] * TIMES),
    "bytes": pa.array([LONG.encode()] * TIMES),
    "missing": pa.array([LONG, None] * TIMES),
    "lists": pa.array([[LONG, LONG]] * (TIMES // 2)),
    "one list": pa.array([[LONG] * TIMES]),
    "lists of lists": pa.array([[[LONG], []]] * TIMES),
    "parts": pa.array([{"a": LONG, "b": 1}] * TIMES),
    "map": pa.array([[(LONG, 1)]] * TIMES, pa.map_(pa.string(), pa.int64())),
    "categories": pa.array([LONG] * TIMES).dictionary_encode(),
}


def parquet(table: pa.Table, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **options)
    return bytes(sink.getvalue())


@pytest.mark.parametrize("row_group_size", [TIMES, 30])
@pytest.mark.parametrize("name", REPEATED)
def test_a_long_word_counts_as_often_as_it_is_repeated(
    name: str, row_group_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    column = REPEATED[name]
    file = parquet(
        pa.table({"n": [0] * len(column), "name": column}), row_group_size=row_group_size
    )
    assert len(file) < 60_000
    monkeypatch.setattr(tables, "MOST_BYTES", 4_000_000)
    before = pa.total_allocated_bytes()
    with pytest.raises(ValueError, match=r"decoded it takes [45],\d{3},\d{3} bytes or more"):
        read_table(file)
    # Even this much only as long as the error holds it.
    assert pa.total_allocated_bytes() < before + 1_000_000
    # What else the table has can be read.
    assert read_table(file, ["n"])["n"].tolist() == [0] * len(column)


@pytest.mark.parametrize("name", REPEATED)
def test_what_fits_is_read_as_it_always_was(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    column = REPEATED[name]
    file = parquet(pa.table({"n": range(len(column)), "name": column}), row_group_size=30)
    usual = read_table(file, filters=[("n", ">", 0)])
    monkeypatch.setattr(tables, "MOST_BYTES", 6_000_000)
    monkeypatch.setattr(tables, "_size_at_most", lambda file: (0, tables.MOST_BYTES + 1))
    pd.testing.assert_frame_equal(read_table(file, filters=[("n", ">", 0)]), usual)


def test_an_index_and_its_words_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pd.DataFrame({"a": ["x", None], "b": [1.0, 2.0]}, index=pd.Index(["u", "v"], name="i"))
    file = frame.to_parquet()
    usual = read_table(file, ["a"])
    monkeypatch.setattr(tables, "MOST_BYTES", 1000)
    monkeypatch.setattr(tables, "_size_at_most", lambda file: (0, 1001))
    pd.testing.assert_frame_equal(read_table(file, ["a"]), usual)


@pytest.mark.parametrize("column", [pa.repeat(0, 40_000), pa.array([[0] * 40_000])])
def test_numbers_count_though_they_are_all_equal(
    column: pa.Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = parquet(pa.table(dict.fromkeys("abc", column)))
    assert len(file) < 10_000
    monkeypatch.setattr(tables, "MOST_BYTES", 900_000)
    with pytest.raises(ValueError, match="decoded it takes 960,000 bytes"):
        read_table(file)


def test_words_that_are_written_by_their_beginnings_are_not_read_when_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = pa.table({"name": [LONG] * TIMES})
    file = parquet(table, use_dictionary=False, column_encoding={"name": "DELTA_BYTE_ARRAY"})
    assert len(read_table(file)) == TIMES
    monkeypatch.setattr(tables, "MOST_BYTES", 4_000_000)
    with pytest.raises(ValueError, match="encoded as DELTA_BYTE_ARRAY; in a table that may take"):
        read_table(file)
