from __future__ import annotations

import json
import os
import stat
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from sing_monitor.tracking import spool as spool_module
from sing_monitor.tracking.spool import (
    ABOUT,
    SPOOL_DIR,
    NotYetError,
    Spool,
    spool_place,
    temporary_folder,
)


def make(folder: Path) -> Spool:
    return Spool(folder / "run" / "sing", {"run_id": "r"})


def put(spool: Spool, *names: str) -> None:
    for name in names:
        spool.put(name, lambda path: path.write_text(path.name))


def names(spool: Spool) -> list[str]:
    return [str(path.relative_to(spool.folder)) for path in spool.files()]


def refuse(path: Path) -> None:
    raise OSError(f"no room for {path.name}")


def test_what_was_put_waits_and_json_comes_last(tmp_path: Path) -> None:
    spool = make(tmp_path)
    assert names(spool) == []
    put(spool, "a/x.json", "a/x.png", "b.parquet")
    assert names(spool) == ["a/x.png", "b.parquet", "a/x.json"]
    assert json.loads((spool.folder / ABOUT).read_text()) == {"run_id": "r"}


def test_half_a_file_is_never_seen(tmp_path: Path) -> None:
    spool = make(tmp_path)

    def stop_halfway(path: Path) -> None:
        path.write_text("half")
        raise OSError("No space left on device")

    put(spool, "whole.txt")
    for name in ("new.txt", "whole.txt"):
        with pytest.raises(OSError, match="No space"):
            spool.put(name, stop_halfway)
    assert names(spool) == ["whole.txt"]
    assert (spool.folder / "whole.txt").read_text().startswith(".whole.txt.")
    assert not list(spool.folder.rglob("*.part"))


def test_a_half_file_of_a_killed_process_is_not_delivered(tmp_path: Path) -> None:
    spool = make(tmp_path)
    put(spool, "x.txt")
    (spool.folder / ".y.txt.part").write_text("half")
    assert names(spool) == ["x.txt"]


def test_delivery_empties_the_folder(tmp_path: Path) -> None:
    spool = make(tmp_path)
    put(spool, "a/b/x.txt", "a/y.txt")
    sent: list[str] = []
    assert spool.deliver(lambda files: sent.extend(path.name for path in files)) is None
    assert sent == ["x.txt", "y.txt"]
    assert list(tmp_path.iterdir()) == []
    put(spool, "z.txt")
    assert names(spool) == ["z.txt"]


def test_delivery_leaves_the_spool_of_another_monitor(tmp_path: Path) -> None:
    one, other = make(tmp_path), Spool(tmp_path / "run" / "sing-other", {"run_id": "r"})
    put(one, "x.txt")
    put(other, "y.txt")
    assert one.deliver(lambda files: None) is None
    assert not one.folder.exists()
    assert names(other) == ["y.txt"]


def test_files_of_one_folder_are_sent_together_and_json_by_itself(tmp_path: Path) -> None:
    spool = make(tmp_path)
    put(spool, "a/1.txt", "a/2.txt", "a/3.json", "b/4.txt", "a.begun.json", "a.complete.json")
    sent: list[list[str]] = []
    assert spool.deliver(lambda files: sent.append([path.name for path in files])) is None
    assert sent == [
        ["a.begun.json"],
        ["1.txt", "2.txt"],
        ["4.txt"],
        ["3.json"],
        ["a.complete.json"],
    ]


def test_a_file_that_fails_stays_and_the_others_go(tmp_path: Path) -> None:
    spool = make(tmp_path)
    put(spool, "1.txt", "2.txt", "3.txt")
    tried: list[list[str]] = []

    def send(files: Sequence[Path]) -> None:
        tried.append([path.name for path in files])
        for path in files:
            if path.name == "2.txt":
                refuse(path)

    assert str(spool.deliver(send)) == "no room for 2.txt"
    assert tried == [["1.txt", "2.txt", "3.txt"], ["1.txt"], ["2.txt"], ["3.txt"]]
    assert names(spool) == ["2.txt"]
    assert make(tmp_path).deliver(lambda files: None) is None
    assert names(spool) == []


def test_a_file_whose_time_has_not_come_stays_without_a_failure(tmp_path: Path) -> None:
    spool = make(tmp_path)
    put(spool, "a/1.txt", "b/2.txt")

    def send(files: Sequence[Path]) -> None:
        if files[0].name == "1.txt":
            raise NotYetError

    assert spool.deliver(send) is None
    assert names(spool) == ["a/1.txt"]


def test_no_patience_after_a_slow_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_module, "PATIENCE_SECONDS", -1.0)
    spool = make(tmp_path)
    put(spool, "1.txt", "2.txt", "3.txt")
    tried: list[str] = []

    def send(files: Sequence[Path]) -> None:
        tried.append(" ".join(path.name for path in files))
        if len(files) > 1 or files[0].name == "2.txt":
            refuse(files[0])

    assert spool.deliver(send) is not None
    assert tried == ["1.txt 2.txt 3.txt", "1.txt", "2.txt"]
    assert names(spool) == ["2.txt", "3.txt"]


def test_a_file_that_another_process_delivered_is_no_failure(tmp_path: Path) -> None:
    spool = make(tmp_path)
    put(spool, "1.txt")

    def send(files: Sequence[Path]) -> None:
        files[0].unlink()
        refuse(files[0])

    assert spool.deliver(send) is None


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The machine's temporary folder."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_spools_lie_in_the_folder_that_is_given(tmp_path: Path, temporary: Path) -> None:
    for root in (tmp_path, str(tmp_path), tmp_path / "not" / "there", f"file://{tmp_path}"):
        place, reason = spool_place(root)
        assert reason is None
        assert place == Path(str(root).removeprefix("file://")) / SPOOL_DIR
    # As Lightning normalises a file's URL.
    assert spool_place(f"file:{tmp_path}") == (tmp_path / SPOOL_DIR, None)
    assert spool_place("") == (Path(SPOOL_DIR), None)
    # Asking leaves no trace.
    assert list(tmp_path.iterdir()) == [temporary]
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("root", ["memory://runs", "s3://bucket/runs", "memory:/runs", "gs://b"])
def test_stores_behind_a_url_have_their_spools_in_a_temporary_folder(
    temporary: Path, root: str
) -> None:
    place, reason = spool_place(root)
    assert place.is_relative_to(temporary)
    assert place.name == SPOOL_DIR
    assert reason == "is no folder on the local disk"
    assert spool_place(root)[0] == place, "the next process finds it"


def test_a_folder_that_cannot_be_written_is_replaced(tmp_path: Path, temporary: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    for root in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/none")):
        place, reason = spool_place(root)
        assert place.is_relative_to(temporary)
        assert reason is not None
        assert reason.startswith("cannot be written (")


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="users have numbers on POSIX alone")
def test_the_temporary_folder_is_nobody_elses(tmp_path: Path, temporary: Path) -> None:
    folder = temporary_folder()
    assert folder == temporary_folder()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    # Somebody has laid a link where it would be.
    folder.rmdir()
    folder.symlink_to(tmp_path)
    other = temporary_folder()
    assert other.parent == temporary
    assert other != folder
    assert not other.is_symlink()
