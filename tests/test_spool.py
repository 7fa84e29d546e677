from __future__ import annotations

import json
from pathlib import Path

import pytest

from sing_monitor import spool as spool_module
from sing_monitor.spool import ABOUT, NotYetError, Spool


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
    assert (spool.folder / "whole.txt").read_text() == ".whole.txt.part"
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
    assert spool.deliver(lambda path: sent.append(path.name)) is None
    assert sent == ["x.txt", "y.txt"]
    assert list(tmp_path.iterdir()) == []
    put(spool, "z.txt")
    assert names(spool) == ["z.txt"]


def test_delivery_leaves_the_spool_of_another_monitor(tmp_path: Path) -> None:
    one, other = make(tmp_path), Spool(tmp_path / "run" / "sing-other", {"run_id": "r"})
    put(one, "x.txt")
    put(other, "y.txt")
    assert one.deliver(lambda path: None) is None
    assert not one.folder.exists()
    assert names(other) == ["y.txt"]


def test_a_file_that_fails_stays_and_the_others_go(tmp_path: Path) -> None:
    spool = make(tmp_path)
    put(spool, "1.txt", "2.txt", "3.txt")

    def send(path: Path) -> None:
        if path.name == "2.txt":
            refuse(path)

    assert str(spool.deliver(send)) == "no room for 2.txt"
    assert names(spool) == ["2.txt"]
    assert make(tmp_path).deliver(lambda path: None) is None
    assert names(spool) == []


def test_a_file_whose_time_has_not_come_stays_without_a_failure(tmp_path: Path) -> None:
    spool = make(tmp_path)
    put(spool, "1.txt", "2.txt")

    def send(path: Path) -> None:
        if path.name == "1.txt":
            raise NotYetError

    assert spool.deliver(send) is None
    assert names(spool) == ["1.txt"]


def test_no_patience_after_a_slow_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_module, "PATIENCE_SECONDS", -1.0)
    spool = make(tmp_path)
    put(spool, "1.txt", "2.txt", "3.txt")
    tried: list[str] = []

    def send(path: Path) -> None:
        tried.append(path.name)
        if path.name == "2.txt":
            refuse(path)

    assert spool.deliver(send) is not None
    assert tried == ["1.txt", "2.txt"]
    assert names(spool) == ["2.txt", "3.txt"]


def test_a_file_that_another_process_delivered_is_no_failure(tmp_path: Path) -> None:
    spool = make(tmp_path)
    put(spool, "1.txt")

    def send(path: Path) -> None:
        path.unlink()
        refuse(path)

    assert spool.deliver(send) is None
