"""Files of tables of several validations: what they hold, and what of them is believed."""

from __future__ import annotations

import time
from pathlib import Path

import pandas as pd
import pytest

from sing_monitor.findings import Findings
from sing_monitor.tracking import RunReader, RunWriter, create_run
from sing_monitor.tracking.disk import joined_tables
from sing_monitor.tracking.disk.joined_tables import (
    MOST_PARTS,
    JoinedFile,
    Joiner,
    Place,
    joined_path,
    load_joined,
    save_joined,
)
from sing_monitor.tracking.layout import last_try

PARTS = {Place(epoch, 10 * epoch, 100 + epoch): bytes([epoch]) * 50 for epoch in range(3)}


def test_what_is_joined_comes_back(tmp_path: Path) -> None:
    save_joined(tmp_path / "joined", PARTS)
    assert load_joined(tmp_path / "joined") == PARTS


@pytest.mark.parametrize("column", ["epoch", "step", "when", "file"])
def test_a_part_that_is_not_what_was_joined_is_left_out(tmp_path: Path, column: str) -> None:
    path = tmp_path / "joined"
    save_joined(path, PARTS)
    table = pd.read_parquet(path)
    table.loc[1, column] = b"other" if column == "file" else table.loc[1, column] + 7
    table.to_parquet(path)
    assert load_joined(path) == {place: PARTS[place] for place in PARTS if place.epoch != 1}


def test_more_parts_than_anybody_joins_are_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "joined"
    one = pd.DataFrame({"epoch": [0], "step": 0, "when": 0, "digest": "", "file": b""})
    pd.concat([one] * (joined_tables.MOST_ROWS + 1)).to_parquet(path)
    with pytest.raises(ValueError, match="1,001 rows"):
        load_joined(path)


def test_a_name_tells_what_may_be_inside() -> None:
    found = JoinedFile.at(joined_path("sing.aux", "class_graph", PARTS))
    assert found is not None
    assert (found.table, found.first, found.last) == ("class_graph", 100, 102)
    assert [found.may_hold(when) for when in (99, 100, 102, 103)] == [False, True, True, False]
    for other in ("sing/classes.parquet", "sing/classes.5.joined.parquet", "sing/config.json"):
        assert JoinedFile.at(other) is None


def test_files_are_let_go_when_there_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    joiner = Joiner()
    places = [Place(epoch, epoch, epoch) for epoch in range(2 * MOST_PARTS)]
    let_go = []
    for place in places:
        joiner.add("classes", place, b"few")
        if place.epoch % 2:
            joiner.add("modes", place, b"few")
        let_go += list(joiner.full())
    assert [(table, list(parts)) for table, parts in let_go] == [
        ("classes", places[:MOST_PARTS]),
        ("classes", places[MOST_PARTS:]),
        ("modes", places[1::2]),
    ]
    # Large files are held no longer than their bytes allow; one alone gains nothing.
    monkeypatch.setattr(joined_tables, "MOST_BYTES", 10)
    joiner.add("images", places[0], 20 * b"x")
    assert not list(joiner.full())
    for place in places[1:3]:
        joiner.add("images", place, 6 * b"x")
    assert [(table, list(parts)) for table, parts in joiner.full()] == [("images", places[1:3])]


def test_a_folder_of_runs_gets_no_second_copy(tmp_path: Path) -> None:
    uri = str(tmp_path / "runs")
    run = create_run(uri)
    writer = RunWriter(run)
    table = pd.DataFrame({"class_index": [0], "class_name": ["a"]})
    for epoch in range(MOST_PARTS + 1):
        writer.write(Findings({}, {"classes": table}), epoch=epoch, step=epoch)
    listing = RunReader(uri, run.run_id).listing()
    assert len(listing.whole) == MOST_PARTS + 1
    assert not listing.joined
    assert not list(tmp_path.rglob("*.joined.parquet"))


def test_tries_are_numbered_on_where_the_clock_was_set_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = str(tmp_path / "runs")
    run = create_run(uri)
    table = pd.DataFrame({"class_index": [0], "class_name": ["a"]})
    now = time.time_ns()
    tries = []
    for clock in (now, now - 10**15, now - 10**15, now + 10):
        monkeypatch.setattr(time, "time_ns", lambda clock=clock: clock)
        RunWriter(run).write(Findings({}, {"classes": table}), epoch=0, step=0)
        tries.append(RunReader(uri, run.run_id).listing().whole[0, 0])
    assert tries == [now, now + 1, now + 2, now + 10]
    # No clock says what would fit into no table.
    assert last_try([f"sing/epoch=0-step=0.{2**63}.begun.json"]) == -1
