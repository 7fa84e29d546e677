"""Damaged and hostile artifacts: they are read, or refused in one of the documented ways."""

from __future__ import annotations

import json
import shutil
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mlflow import MlflowClient
from PIL import Image

from sing_monitor.app.read.alerts import alert_rules, fired_alerts
from sing_monitor.tracking import (
    FolderStore,
    NotFoundError,
    RunNotFoundError,
    RunReader,
    StoreError,
    list_runs,
)
from sing_monitor.tracking.layout import load_sheet
from sing_monitor.untrusted.tables import MOST_ROWS, read_table
from tests.helpers.finished_run import FinishedRun

MUTATIONS = 24  # of each kind of file
Mutation = Callable[[bytes, Random], bytes]


@dataclass(frozen=True)
class Copied:
    """A run in a folder of runs, with everything that a finished run stored."""

    folder: Path
    reader: RunReader

    def file(self, name: str) -> Path:
        """The last file with this name or ending."""
        kind = "sprites/*.json" if name == "sprites.json" else f"*{name}"
        return sorted(self.folder.rglob(kind))[-1]


@pytest.fixture(scope="module")
def copied(run_with_snapshot: FinishedRun, tmp_path_factory: pytest.TempPathFactory) -> Copied:
    store, root = run_with_snapshot.reader.store, tmp_path_factory.mktemp("damaged") / "runs"
    run = FolderStore(str(root)).create_run(run_name="copy", tags={"sing_monitor": "true"})
    stored = store.run(run_with_snapshot.run_id)
    run.put_tags({key: value for key, value in stored.tags.items() if key.startswith("sing")})
    run.put_tags({"sing.alerts": "class_hidden@1"})
    points = store.histories([run_with_snapshot.run_id], sorted(stored.metrics))
    for (step, timestamp), at in points.groupby(["step", "timestamp"]):
        values = dict(zip(at["metric"], at["value"], strict=True))
        run.put_scalars(values, int(step), int(timestamp))
    for path in files_below(run_with_snapshot, "sing"):
        target = run.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with store.read_file(run_with_snapshot.run_id, path) as file:
            shutil.copy(file, target)
    return Copied(run.folder, RunReader(str(root), run.run_id))


def files_below(run: FinishedRun, folder: str) -> Iterator[str]:
    for path in run.reader.store.files(run.run_id, folder):
        if Path(path).suffix:
            yield path
        else:
            yield from files_below(run, path)


def questions(reader: RunReader, name: str) -> list[Callable[[], object]]:
    """All that a reader can be asked about a file."""
    at, of_run = (2, 9), [lambda: list_runs(reader.uri), lambda: reader.scalars(["head/rank"])]
    of_run += [reader.alerts, reader.other_metrics, lambda: fired(reader)]
    table = name.removesuffix(".parquet")
    return {
        "config.json": [reader.config, lambda: fired(reader)],
        "run.json": of_run,
        "tags.json": of_run,
        "scalars.parquet": of_run,
        "snapshot.safetensors": [reader.snapshot],
        ".png": [lambda: reader.thumbnails(known_ids(reader))],
        "sprites.json": [lambda: known_ids(reader), lambda: reader.thumbnails(["0" * 16])],
    }.get(
        name,
        [
            lambda: reader.table(table, *at),
            lambda: reader.table(table, *at, columns=["n", "key", "image", "class_index"]),
            lambda: reader.table(table, *at, where=("class_index", 1)),
            lambda: reader.table(table, *at, where=("image", "0" * 16)),
        ],
    )


def known_ids(reader: RunReader) -> list[str]:
    return [image for _, ids in reader.sheets() for image in ids]


def fired(reader: RunReader) -> pd.DataFrame:
    """The alerts as the app reads them."""
    tag = reader.layout.tags(reader.store.run(reader.run_id).tags).get("alerts")
    return fired_alerts(tag, alert_rules(reader.config()))


def refused(question: Callable[[], object]) -> str:
    """Why it was refused, empty if it was not; any other exception is a fault."""
    try:
        question()
    # The run is there, whatever becomes of its files.
    except RunNotFoundError:
        raise
    except (StoreError, NotFoundError, ValueError) as error:
        return str(error)
    return ""


TABLES = ("images", "classes", "ridge", "intervals", "class_concepts", "steering")
FILES = (
    *("config.json", "run.json", "tags.json", "scalars.parquet", "snapshot.safetensors"),
    *(f"{name}.parquet" for name in TABLES),
    *(".png", "sprites.json"),
)


def flipped(whole: bytes, random: Random) -> bytes:
    damaged = bytearray(whole)
    # Half of them in the header or the footer, where the declared sizes are.
    near = random.choice((len(whole), min(len(whole), 400)))
    for _ in range(random.choice((1, 1, 4, 30))):
        at = random.randrange(near)
        damaged[at if random.random() < 0.5 else -1 - at] ^= 1 << random.randrange(8)
    return bytes(damaged)


def cut(whole: bytes, random: Random) -> bytes:
    return whole[: random.randrange(len(whole))]


def huge(whole: bytes, random: Random) -> bytes:
    """Large numbers in place of four or eight bytes."""
    size = random.choice((4, 8))
    at = random.randrange(max(1, min(len(whole), 600) - size))
    at = at if random.random() < 0.5 else max(0, len(whole) - size - at)
    return whole[:at] + random.choice((b"\xff", b"\x7f")) * size + whole[at + size :]


def odd_value(random: Random) -> Any:
    return random.choice((None, 1e400, -1, "x", [], {}, [[{}]], {"a": None}, True, "9" * 5000))


def odd_json(whole: bytes, random: Random) -> bytes:
    """Another kind of value somewhere, or nesting that is too deep."""
    if random.random() < 0.2:
        depth = random.choice((500, 100_000))
        return b"[" * depth + b"]" * depth if random.random() < 0.5 else b'{"a":' * depth
    found = json.loads(whole)
    if isinstance(found, list) or random.random() < 0.1:
        return json.dumps(random.choice((odd_value(random), [odd_value(random)] * 3))).encode()
    key = random.choice(list(found))
    if isinstance(found[key], dict) and found[key] and random.random() < 0.5:
        found[key][random.choice(list(found[key]))] = odd_value(random)
    else:
        found[key] = odd_value(random)
    return json.dumps(found).encode()


def odd_table(whole: bytes, random: Random) -> bytes:
    """A column of another kind, twice, or none at all."""
    table = pq.read_table(pa.BufferReader(whole))
    place = random.randrange(table.num_columns)
    name, rows = table.column_names[place], table.num_rows
    kinds: list[pa.Array] = [
        pa.array(["x"] * rows),
        pa.array([b"\xff"] * rows),
        pa.array([[1, None]] * rows),
        pa.array([{"a": "b"}] * rows),
        pa.array([2**62] * rows),
        pa.array([None] * rows),
        pa.array([0] * rows, pa.decimal128(38, 10)),
        pa.array([0] * rows, pa.duration("ns")),
    ]
    changed = random.choice(
        (
            table.set_column(place, name, random.choice(kinds)),
            table.append_column(name, random.choice(kinds)),
            table.drop_columns([name]),
            table.slice(0, 0),
        )
    )
    sink = pa.BufferOutputStream()
    pq.write_table(changed, sink)
    return bytes(sink.getvalue())


def mutations_of(name: str) -> tuple[Mutation, ...]:
    more = {".json": (odd_json,), ".parquet": (odd_table,)}.get(Path(f"x{name}").suffix, ())
    return (flipped, cut, huge, *more)


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_read_or_refused_in_a_documented_way(copied: Copied, name: str) -> None:
    random, path = Random(f"16 {name}"), copied.file(name)
    kinds, whole = mutations_of(name), path.read_bytes()
    said = []
    try:
        for number in range(MUTATIONS):
            path.write_bytes(kinds[number % len(kinds)](whole, random))
            said += [refused(question) for question in questions(copied.reader, name)]
    finally:
        path.write_bytes(whole)
    assert any(said)
    assert refused(questions(copied.reader, name)[0]) == ""


def huge_png(width: int, height: int) -> bytes:
    """The header of a picture with these sides, and nothing behind it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    about = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", about) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("sides", "said"),
    [
        ((1024, 64 * 1024), "67,108,864 pixels, and at most 50 million are decoded"),
        ((2**31 - 1, 2**31 - 1), "far too many pixels"),
        ((64 * 17, 64), "1088 by 64 pixels, no sheet"),
        ((64, 65), "64 by 65 pixels, no sheet"),
    ],
)
def test_sheets_are_refused_by_their_header(
    tmp_path: Path, sides: tuple[int, int], said: str
) -> None:
    path = tmp_path / "a.png"
    # Without pixels: whoever decoded it would stumble over their absence.
    path.write_bytes(huge_png(*sides))
    with pytest.raises(ValueError, match=said):
        load_sheet(path)


def test_a_sheet_with_fewer_tiles_than_ids_is_refused(copied: Copied) -> None:
    path = copied.file(".png")
    whole = path.read_bytes()
    try:
        Image.new("RGB", (64, 64)).save(path)
        with pytest.raises(ValueError, match=r"1 thumbnails for \d+ ids"):
            copied.reader.thumbnails(known_ids(copied.reader))
    finally:
        path.write_bytes(whole)


def test_tables_of_too_many_rows_are_refused_by_their_footer(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    rows = pa.table({"n": pa.repeat(0, 1_000_000)})
    with pq.ParquetWriter(path, rows.schema) as writer:
        for _ in range(MOST_ROWS // len(rows) + 1):
            writer.write_table(rows)
    assert path.stat().st_size < 1e6
    with pytest.raises(ValueError, match=r"tells of 21,000,000 rows"):
        read_table(path)


def test_a_file_that_mlflow_refuses_is_no_deleted_run(run_with_snapshot: FinishedRun) -> None:
    reader = run_with_snapshot.reader
    run = MlflowClient(run_with_snapshot.uri).get_run(reader.run_id)
    refused_file = Path(run.info.artifact_uri) / "sing" / "sprites" / "zz#y.json"
    refused_file.write_text("[]")
    try:
        with pytest.raises(StoreError, match="cannot be read"):
            list(reader.sheets())
    finally:
        refused_file.unlink()
    with pytest.raises(RunNotFoundError):
        list(RunReader(reader.uri, "0" * 32).sheets())
