"""Copies of files that count only as long as they are what was kept."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from sing_monitor.tracking.disk.kept_files import KeptFiles, kept_files

PLENTY = 1_000_000


def test_what_was_kept_is_found_by_its_key_alone_and_by_other_processes(tmp_path: Path) -> None:
    folder = tmp_path / "made" / "when needed"
    kept = KeptFiles(folder, PLENTY)
    assert kept.get("a\nb") is None
    kept.put("a\nb", b"first")
    kept.put("../c", b"")
    assert kept.get("a\nb") == b"first"
    assert kept.get("../c") == b""
    assert kept.get("a") is None
    kept.put("a\nb", b"second")
    assert KeptFiles(folder, PLENTY).get("a\nb") == b"second"
    assert [path.name for path in tmp_path.iterdir()] == ["made"]
    assert len(list(kept_files(folder))) == len(list(folder.iterdir())) == 2
    assert folder.stat().st_mode & 0o077 == 0


def test_every_flipped_bit_and_every_half_file_counts_as_absent(tmp_path: Path) -> None:
    kept = KeptFiles(tmp_path, PLENTY)
    kept.put("key", b"content")
    (path,) = kept_files(tmp_path)
    whole = path.read_bytes()
    for bit in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        assert kept.get("key") is None
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert kept.get("key") is None
    kept.put("key", b"content")
    assert kept.get("key") == b"content"


def test_the_file_of_another_key_counts_as_absent(tmp_path: Path) -> None:
    kept = KeptFiles(tmp_path, PLENTY)
    kept.put("one", b"of one")
    (one,) = kept_files(tmp_path)
    kept.put("other", b"of the other")
    (other,) = set(kept_files(tmp_path)) - {one}
    other.write_bytes(one.read_bytes())
    assert kept.get("other") is None
    assert kept.get("one") == b"of one"


def test_the_files_that_were_read_least_recently_make_room(tmp_path: Path) -> None:
    kept = KeptFiles(tmp_path, most_bytes=1_000)
    (tmp_path / "notes.txt").write_bytes(bytes(5_000))
    for number in range(5):
        kept.put(str(number), bytes(168))
    for age, path in enumerate(kept_files(tmp_path)):
        os.utime(path, (age, age))
    assert kept.get("0") == bytes(168)
    kept.put("5", bytes(168))
    assert sum(path.stat().st_size for path in kept_files(tmp_path)) <= 900
    assert kept.get("0") == kept.get("5") == bytes(168)
    kept.put("too large", bytes(2_000))
    assert kept.get("too large") is None
    assert (tmp_path / "notes.txt").exists()


def test_a_disk_that_refuses_costs_a_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    kept = KeptFiles(tmp_path / "file" / "folder", PLENTY)
    with caplog.at_level(logging.WARNING):
        kept.put("key", b"content")
    assert kept.get("key") is None
    assert "takes no copies" in caplog.text
