"""Tables in Parquet files, refused by their footer when they are too large to decode."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pandas import DataFrame

# Of the columns that the catalogue names, these hold words, and all but `_LISTS` numbers.
_WORDS = frozenset(
    {
        *("ancestor", "class", "class_a", "class_b", "class_name", "concept", "image", "image_a"),
        *("image_b", "key", "layer", "part", "source", "target"),
    }
)
# In one table words, in another one numbers.
_WORDS_OF = {"similarity_images": frozenset({"prediction"})}
_LISTS = frozenset(
    {
        *("neighbours_before", "neighbours_after", "neighbours_after_centered"),
        *("images_a", "images_b", "curve", "levels"),
        *("nearest_spatial", "nearest_semantic", "positions_a", "positions_b", "strengths"),
    }
)
MOST_ROWS = 20_000_000
MOST_BYTES = 4 * 1024**3


def read_table(
    source: Path | bytes,
    columns: Sequence[str] | None = None,
    filters: list[tuple[str, str, Any]] | None = None,
    *,
    most_rows: int = MOST_ROWS,
) -> DataFrame:
    """The table in a Parquet file.

    Args:
        source: the file, or what it holds.
        columns: to read, as far as the table has them; None: all.
        filters: which rows to read, as pyarrow takes them; None: all.
        most_rows: that the file may hold.

    Raises:
        ValueError: if the footer tells of more than ``most_rows`` rows, or of more than
            `MOST_BYTES` without compression.
        Exception: whatever pyarrow raises for a damaged file.
    """
    from pyarrow.parquet import ParquetFile, filters_to_expression

    with ParquetFile(BytesIO(source) if isinstance(source, bytes) else source) as file:
        about, held = file.metadata, file.schema_arrow.names
        size = sum(about.row_group(each).total_byte_size for each in range(about.num_row_groups))
        if about.num_rows > most_rows or size > MOST_BYTES:
            raise ValueError(
                f"it tells of {about.num_rows:,} rows and {size:,} bytes; at most {most_rows:,} "
                f"rows and {MOST_BYTES:,} bytes are read"
            )
        wanted = held if columns is None else [name for name in columns if name in held]
        judged = {name for name, *_ in filters or ()} - set(wanted)
        # pandas would open the file as a data set of many, which takes as long again.
        table = file.read([*wanted, *judged], use_pandas_metadata=True)
    if filters:
        table = table.filter(filters_to_expression(filters)).drop_columns(list(judged))
    found: DataFrame = table.to_pandas()
    return found


def check_columns(table: DataFrame, known: Collection[str], name: str = "") -> None:
    """Refuse a table in which a column of the catalogue holds another kind of values.

    Args:
        table: as it was read; what is missing in a cell is of any kind.
        known: names of the columns that the catalogue tells of.
        name: of the table.

    Raises:
        ValueError: if words stand for numbers, or the other way round.
    """
    from pandas import StringDtype
    from pandas.api.types import is_numeric_dtype

    words = _WORDS | _WORDS_OF.get(name, frozenset())
    for column, values in table.items():
        is_text = isinstance(values.dtype, StringDtype)
        is_right = is_text if column in words else is_numeric_dtype(values)
        if column not in known or column in _LISTS or is_right:
            continue
        expected = (str,) if column in words else (bool, int, float)
        if not all(isinstance(value, expected) for value in values.dropna()):
            raise ValueError(
                f"its column {column!r} does not hold {'words' if column in words else 'numbers'}"
            )
