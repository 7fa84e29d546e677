"""Tables as Parquet files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pandas import DataFrame


def parquet(table: DataFrame) -> bytes:
    """A table as a Parquet file, which pandas reads back as it was.

    Of a plain table the columns alone: pandas would describe each once more, which takes as long
    as to write it.
    """
    from pyarrow import BufferOutputStream, array
    from pyarrow import table as arrow_table
    from pyarrow.parquet import write_table

    # Hardly two numbers are equal, and no reader skips rows by their range: the file is smaller.
    without = {"use_dictionary": False, "write_statistics": False}
    if not _is_plain(table):
        by_pandas: bytes = table.to_parquet(**without)
        return by_pandas
    file = BufferOutputStream()
    columns = {name: array(column) for name, column in table.items()}
    write_table(arrow_table(columns), file, **without)
    content: bytes = file.getvalue().to_pybytes()
    return content


def _is_plain(table: DataFrame) -> bool:
    """Whether rows are numbered from 0, and columns of numbers, words or lists named by words.

    Of two columns of the same name pandas says that they cannot be stored.
    """
    from pandas import DataFrame, RangeIndex

    names, rows = table.columns, table.index
    return (
        type(table) is DataFrame
        and not table.attrs
        and names.is_unique
        and (names.inferred_type, names.name, rows.name) == ("string", None, None)
        and isinstance(rows, RangeIndex)
        and rows.equals(RangeIndex(len(table)))
        and all(isinstance(kind, np.dtype) or kind == "str" for kind in table.dtypes)
    )
