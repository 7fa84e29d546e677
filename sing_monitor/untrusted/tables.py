"""Tables in Parquet files, refused before they are decoded when they would be too large."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pandas import DataFrame
    from pyarrow import Array, Table
    from pyarrow.parquet import ParquetFile

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
_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "INT96": 12, "FLOAT": 4, "DOUBLE": 8}
# Of words; other encodings write one by what it shares with the one before.
_ENCODINGS = {
    *("PLAIN", "RLE", "BIT_PACKED", "PLAIN_DICTIONARY", "RLE_DICTIONARY"),
    "DELTA_LENGTH_BYTE_ARRAY",
}


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
        ValueError: if it has more than ``most_rows`` rows, or would take more than `MOST_BYTES`,
            without compression or decoded, where each word counts as often as it stands there.
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
        numbers, words = _size_at_most(file)
        if numbers > MOST_BYTES:
            raise ValueError(f"decoded it takes {numbers:,} bytes; at most {MOST_BYTES:,} are read")
        if numbers + words > MOST_BYTES:
            table = _read_repeated(source, file, [*wanted, *judged])
        else:
            # pandas would open the file as a data set of many, which takes as long again.
            table = file.read([*wanted, *judged], use_pandas_metadata=True)
    if filters:
        table = table.filter(filters_to_expression(filters)).drop_columns(list(judged))
    found: DataFrame = table.to_pandas()
    return found


def _size_at_most(file: ParquetFile) -> tuple[int, int]:
    """Bytes of all decoded numbers, and a bound of those of words, as the footer tells.

    It tells how many values there are, but what is repeated is written once. No word is longer than
    all that is written of its column.
    """
    about, numbers, words = file.metadata, 0, 0
    for group in map(about.row_group, range(about.num_row_groups)):
        for place in range(about.num_columns):
            chunk = group.column(place)
            kind, values = chunk.physical_type, chunk.num_values
            if kind == "BYTE_ARRAY":
                words += values * chunk.total_uncompressed_size
            else:
                numbers += values * (_WIDTHS.get(kind) or file.schema.column(place).length)
    return numbers, words


def _read_repeated(source: Path | bytes, plain: ParquetFile, names: list[str]) -> Table:
    """The columns, whose words are counted before they are written out.

    Until then they are places in dictionaries, which take little whatever they stand for.
    """
    from pyarrow import compute, concat_tables, schema, types
    from pyarrow.parquet import ParquetFile

    leaves = {
        leaf.path: place
        for place in range(plain.metadata.num_columns)
        if (leaf := plain.schema.column(place)).physical_type == "BYTE_ARRAY"
    }
    groups = map(plain.metadata.row_group, range(plain.metadata.num_row_groups))
    used = {
        each for group in groups for at in leaves.values() for each in group.column(at).encodings
    }
    if not used <= _ENCODINGS:
        raise ValueError(
            f"its words are encoded as {', '.join(sorted(used - _ENCODINGS))}; in a table that may "
            f"take more than {MOST_BYTES:,} bytes, {', '.join(sorted(_ENCODINGS))} are read"
        )
    held, size, parts = plain.schema_arrow, 0, []
    opened = BytesIO(source) if isinstance(source, bytes) else source
    with ParquetFile(opened, read_dictionary=list(leaves)) as file:
        # Each group of rows has dictionaries of its own.
        for group in range(file.num_row_groups):
            part = file.read_row_group(group, names, use_pandas_metadata=True)
            chunks = [chunk for column in part.columns for chunk in column.chunks]
            for leaf in (leaf for chunk in chunks for leaf in _leaves(chunk)):
                if types.is_dictionary(leaf.type):
                    lengths = compute.binary_length(leaf.dictionary).take(leaf.indices)
                    size += leaf.indices.nbytes + (compute.sum(lengths).as_py() or 0)
                else:
                    size += leaf.nbytes
            if size > MOST_BYTES:
                raise ValueError(
                    f"decoded it takes {size:,} bytes or more; at most {MOST_BYTES:,} are read"
                )
            fields = [held.field(name) for name in part.column_names]
            parts.append(part.cast(schema(fields, part.schema.metadata)))
    return concat_tables(parts)


def _leaves(array: Array) -> Iterator[Array]:
    """The arrays in lists and structures, or the array itself."""
    from pyarrow import types

    if not types.is_nested(array.type):
        yield array
        return
    if types.is_map(array.type):
        inner = [array.keys, array.items]
    else:
        inner = array.flatten() if types.is_struct(array.type) else [array.flatten()]
    for each in inner:
        yield from _leaves(each)


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
    for column, kind in table.dtypes.items():
        is_text = isinstance(kind, StringDtype)
        is_right = is_text if column in words else is_numeric_dtype(kind)
        if column not in known or column in _LISTS or is_right:
            continue
        expected = (str,) if column in words else (bool, int, float)
        if not all(isinstance(value, expected) for value in table[column].dropna()):
            raise ValueError(
                f"its column {column!r} does not hold {'words' if column in words else 'numbers'}"
            )
