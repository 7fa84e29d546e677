"""A server is asked for each table once, also by an app that was started again."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pandas as pd
import pytest
from mlflow import MlflowClient

from sing_monitor.app.read import run_list
from sing_monitor.app.read import store as data
from sing_monitor.app.read.sources import RunSource
from sing_monitor.app.ui.selection import run_source
from sing_monitor.findings import Findings
from sing_monitor.tracking import Layout, MlflowRun, RunReader, RunWriter
from sing_monitor.tracking.disk.joined_tables import MOST_PARTS, JoinedFile, save_joined
from sing_monitor.tracking.disk.kept_files import kept_files
from sing_monitor.tracking.layout import COMPLETE
from tests.app.asked import counting
from tests.app.stores import Store, history
from tests.helpers.stores.servers import MlflowServer

EPOCHS = 50
# Six files hold eight validations each; those after them lie alone.
FILES = EPOCHS // MOST_PARTS + EPOCHS % MOST_PARTS
COLUMNS = ("class_index", "class_name")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the copies, which is empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    data.forget()
    return tmp_path / "cache" / "sing_monitor" / "tables"


@pytest.fixture
def served(mlflow_server: MlflowServer, tmp_path: Path) -> Store:
    return Store(tmp_path, MlflowClient(mlflow_server.uri))


def classes(names: str) -> Findings:
    table = pd.DataFrame({"class_index": range(len(names)), "class_name": list(names)})
    return Findings({}, {"classes": table})


def made(served: Store, epochs: int, names: str = "ab") -> str:
    """A run that goes on; the server is that of all tests."""
    tables, experiment = classes(names), str(served.folder)
    return served.run(names, history(epochs), status=None, experiment=experiment, tables=tables)


def restarted(served: Store, run: str) -> RunSource:
    """The run as an app sees it that was just started."""
    data.forget()
    run_list.forget()
    listing = data.listing(served.uri)
    return run_source(served.uri, listing[listing["run_id"] == run].iloc[0])


def read(source: RunSource) -> tuple[dict[tuple[int, int], list[str]], int]:
    """The names in the table of each validation, and how many files the server was asked for."""
    with counting() as asked:
        found = data.tables(source, "classes", data.validations(source), COLUMNS)
    names = {at: table["class_name"].tolist() for at, table in found.items()}
    return names, asked["read_file"]


def test_fifty_validations_are_asked_for_once(cache: Path, served: Store) -> None:
    run = made(served, EPOCHS)
    first, asked = read(restarted(served, run))
    assert len(first) == EPOCHS
    assert asked == FILES
    assert set(map(tuple, first.values())) == {("a", "b")}
    assert read(restarted(served, run)) == (first, 0)
    source = restarted(served, run)
    with counting() as one_image:
        found = data.tables(
            source, "classes", data.validations(source), None, where=("class_name", "b")
        )
    assert {table["class_index"].item() for table in found.values()} == {1}
    # One listing tells of all validations; the copies serve other rows and columns, too.
    assert one_image["list_artifacts"] == 1
    assert one_image["read_file"] == 0
    writer = RunWriter(MlflowRun(served.client, run), served.folder / "spool")
    writer.write(classes("abc"), epoch=EPOCHS, step=5100)
    more, asked = read(restarted(served, run))
    assert asked == 1
    assert more == {**first, (EPOCHS, 5100): ["a", "b", "c"]}
    # A validation that is repeated after a resume takes the place of the first.
    writer.write(classes("x"), epoch=0, step=100)
    again, asked = read(restarted(served, run))
    assert asked == 1
    assert again == {**more, (0, 100): ["x"]}
    # What was joined before is not what that validation is now.
    shutil.rmtree(cache)
    assert read(restarted(served, run)) == (again, FILES + 2)


def joined_file(served: Store, run: str) -> JoinedFile:
    """The only one of the run."""
    (found,) = RunReader(served.uri, run).listing().joined
    return found


def test_what_a_joined_file_lacks_is_read_one_by_one(cache: Path, served: Store) -> None:
    run = made(served, MOST_PARTS + 1)
    first, asked = read(restarted(served, run))
    assert asked == 2
    file = joined_file(served, run)
    parts = RunReader(served.uri, run).joined_files(file)
    assert len(parts) == MOST_PARTS
    local = served.folder / Path(file.path).name
    whole = dict(parts)
    whole.pop(next(iter(whole)))
    save_joined(local, whole)
    for content, more in ((local.read_bytes(), 1), (b"damaged", MOST_PARTS)):
        local.write_bytes(content)
        served.client.log_artifact(run, str(local), Layout().folder)
        shutil.rmtree(cache)
        assert read(restarted(served, run)) == (first, 2 + more)
        assert read(restarted(served, run)) == (first, 0)
    # One validation alone is read from its own file.
    shutil.rmtree(cache)
    source = restarted(served, run)
    with counting() as one:
        data.table(source, "classes", 3, 400)
        data.tables(source, "classes", [(4, 500)])
    assert one["read_file"] == 2


def test_a_validation_is_not_whole_before_its_mark_whatever_is_joined(
    cache: Path, served: Store
) -> None:
    run = made(served, MOST_PARTS)
    mark = served.folder / "epoch=0001-step=00000200.99999999999999999999.begun.json"
    mark.write_text("{}")
    served.client.log_artifact(run, str(mark), Layout().folder)
    names, asked = read(restarted(served, run))
    assert (1, 200) not in names
    assert (len(names), asked) == (MOST_PARTS - 1, 1)
    # Stored again by another process, to its end.
    RunWriter(MlflowRun(served.client, run), served.folder / "other").write(
        classes("new"), epoch=2, step=300
    )
    assert read(restarted(served, run))[0][2, 300] == list("new")


def test_no_older_copy_is_read_where_the_clock_was_set_back(
    cache: Path, served: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = made(served, MOST_PARTS)
    first, _ = read(restarted(served, run))
    now = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now - 10**13)
    # The same process, and the next one.
    for spool, names in (("spool", "xy"), ("spool", "z"), ("other", "w")):
        writer = RunWriter(MlflowRun(served.client, run), served.folder / spool)
        writer.write(classes(names), epoch=2, step=300)
        again, _ = read(restarted(served, run))
        assert again == {**first, (2, 300): list(names)}
        del writer
    shutil.rmtree(cache)
    assert read(restarted(served, run))[0] == again


def test_copies_that_are_gone_or_damaged_are_read_anew(cache: Path, served: Store) -> None:
    run = made(served, 3)
    first, _ = read(restarted(served, run))
    damaged, half, empty = kept_files(cache)
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    half.write_bytes(half.read_bytes()[:100])
    empty.write_bytes(b"")
    assert read(restarted(served, run)) == (first, 3)
    assert read(restarted(served, run)) == (first, 0)
    shutil.rmtree(cache)
    assert read(restarted(served, run)) == (first, 3)
    assert read(restarted(served, run)) == (first, 0)


def test_runs_and_monitors_do_not_share_copies(cache: Path, served: Store) -> None:
    one, other = made(served, 1, "a"), made(served, 1, "b")
    writer = RunWriter(MlflowRun(served.client, one), served.folder / "spool", "aux")
    writer.describe({}, {})
    writer.write(classes("c"), epoch=0, step=100)
    expected = {(one, None): ["a"], (other, None): ["b"], (one, "aux"): ["c"]}
    for asked in (1, 0):
        data.forget()
        for (run, monitor), names in expected.items():
            source = RunSource(served.uri, run, monitor, "RUNNING")
            assert read(source) == ({(0, 100): names}, asked)


def test_what_is_not_whole_is_never_kept(cache: Path, served: Store, tmp_path: Path) -> None:
    run = made(served, 2)
    mark = tmp_path / "epoch=0001-step=00000200.99999999999999999999.begun.json"
    mark.write_text("{}")
    served.client.log_artifact(run, str(mark), Layout().folder)
    source = restarted(served, run)
    assert data.validations(source) == [(0, 100)]
    assert data.incomplete(source) == [(1, 200)]
    assert data.table(source, "classes", 1, 200)["class_name"].tolist() == ["a", "b"]
    assert not list(kept_files(cache))
    assert read(source)[1] == 1
    assert len(list(kept_files(cache))) == 1
    whole = mark.rename(mark.with_name(mark.name.replace(".begun.json", COMPLETE)))
    served.client.log_artifact(run, str(whole), Layout().folder)
    assert read(restarted(served, run))[1] == 1
    assert read(restarted(served, run))[1] == 0


def test_validations_without_marks_are_kept_once_their_run_has_ended(
    cache: Path, served: Store, tmp_path: Path
) -> None:
    run = served.run("older", history(1), experiment=str(tmp_path))
    table = tmp_path / "classes.parquet"
    folder = Layout().validation(0, 100)

    def store_as_before(names: str) -> None:
        classes(names).tables["classes"].to_parquet(table)
        served.client.log_artifact(run, str(table), folder)

    served.client.update_run(run, status="RUNNING")
    store_as_before("a")
    for _ in range(2):
        assert read(restarted(served, run)) == ({(0, 100): ["a"]}, 1)
    served.client.set_terminated(run)
    assert read(restarted(served, run)) == ({(0, 100): ["a"]}, 1)
    assert read(restarted(served, run)) == ({(0, 100): ["a"]}, 0)
    # Taken up again, the run repeats its validation.
    served.client.update_run(run, status="RUNNING")
    store_as_before("b")
    assert read(restarted(served, run)) == ({(0, 100): ["b"]}, 1)
    served.client.set_terminated(run)
    assert read(restarted(served, run)) == ({(0, 100): ["b"]}, 1)
    assert read(restarted(served, run)) == ({(0, 100): ["b"]}, 0)
