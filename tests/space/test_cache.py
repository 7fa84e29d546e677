"""The embedding cache: what was stored comes back, whatever happens to the disk."""

from __future__ import annotations

import logging
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from sing_monitor.commands.cli import main
from sing_monitor.space.cache import EmbeddingCache, default_cache_dir
from sing_monitor.space.cache_files import _digests

DIM = 6
HOUR = 3600


def embedding_of(keys: Tensor, dim: int = DIM) -> Tensor:
    """What the tests store under a key, so that a wrong row shows."""
    return torch.stack([torch.sin(keys.double() + i) for i in range(dim)], dim=1).float()


def keys_of(*numbers: int) -> Tensor:
    return torch.tensor(numbers, dtype=torch.int64)


def cache_in(path: Path | None, space: str = "a space", **changes: int) -> EmbeddingCache:
    return EmbeddingCache(space, "images", DIM, path, **changes)


def store(path: Path, *numbers: int, space: str = "a space") -> Path:
    """Store keys as one file and return it."""
    before = set(chunks(path))
    cache_in(path, space).add(keys_of(*numbers), embedding_of(keys_of(*numbers)))
    (new,) = set(chunks(path)) - before
    return new


def chunks(path: Path) -> list[Path]:
    return sorted(path.rglob("*.safetensors"))


def known_in(path: Path, *numbers: int) -> list[bool]:
    """Which keys a new process would find; checks their embeddings on the way."""
    rows, known = cache_in(path).lookup(keys_of(*numbers))
    assert torch.equal(rows[known], embedding_of(keys_of(*numbers))[known])
    assert rows[~known].isnan().all()
    return known.tolist()


def age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


@pytest.mark.parametrize("on_disk", [True, False])
def test_what_was_added_is_found(tmp_path: Path, on_disk: bool) -> None:
    cache = cache_in(tmp_path if on_disk else None)
    keys = keys_of(3, -(2**63), 2**63 - 1, 0)
    cache.add(keys, embedding_of(keys))
    rows, known = cache.lookup(keys_of(0, 5, 3, 3, -(2**63), 2**63 - 1))
    assert known.tolist() == [True, False, True, True, True, True]
    assert torch.equal(rows[known], embedding_of(keys_of(0, 3, 3, -(2**63), 2**63 - 1)))
    assert rows.dtype == torch.float32
    assert rows[1].isnan().all()
    assert bool(list(tmp_path.iterdir())) == on_disk


@given(
    st.lists(st.sets(st.integers(-5, 5)), max_size=5),
    st.lists(st.integers(-7, 7), max_size=8),
)
@settings(max_examples=25, deadline=None)
def test_any_sequence_of_chunks_is_found_again(
    tmp_path_factory: pytest.TempPathFactory, added: list[set[int]], wanted: list[int]
) -> None:
    path = tmp_path_factory.mktemp("cache")
    cache = cache_in(path)
    for numbers in added:
        cache.add(keys_of(*numbers), embedding_of(keys_of(*numbers)))
    everything = set().union(*added)
    assert known_in(path, *wanted) == [number in everything for number in wanted]
    assert cache.lookup(keys_of(*wanted))[1].tolist() == [n in everything for n in wanted]
    assert sum(stored_keys(chunk) for chunk in chunks(path)) == len(everything)


def stored_keys(chunk: Path) -> int:
    with safe_open(chunk, framework="pt") as file:
        return len(file.get_tensor("keys"))


def test_a_second_process_finds_what_the_first_wrote_and_no_other_space_does(
    tmp_path: Path,
) -> None:
    store(tmp_path, 1, 2)
    assert known_in(tmp_path, 1, 2, 3) == [True, True, False]
    assert cache_in(tmp_path, "a spacf").lookup(keys_of(1))[1].tolist() == [False]
    texts = EmbeddingCache("a space", "texts", DIM, tmp_path)
    assert texts.lookup(keys_of(1))[1].tolist() == [False]


@pytest.mark.parametrize("space", ["ViT-B-32//path/to/../x.pt@0a1b2c3d", "..", "/", "ü" * 300])
def test_any_space_name_makes_a_folder_inside_the_cache(tmp_path: Path, space: str) -> None:
    chunk = store(tmp_path / "cache", 1, space=space)
    assert chunk.parent.parent.parent == tmp_path / "cache"
    assert list(tmp_path.iterdir()) == [tmp_path / "cache"]


def test_a_file_that_appears_later_is_found(tmp_path: Path) -> None:
    reader = cache_in(tmp_path)
    assert reader.lookup(keys_of(1))[1].tolist() == [False]
    for number in range(1, 6):  # faster than a file system's clock ticks
        store(tmp_path, number)
        assert reader.lookup(keys_of(number))[1].tolist() == [True]


def test_an_unchanged_folder_is_listed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = store(tmp_path, 1).parent
    age(folder, 60)
    listed = []
    real = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: listed.append(path) or real(path))
    cache = cache_in(tmp_path)
    for number in (2, 3, 4):
        cache.lookup(keys_of(number))
    assert listed == [folder]


def test_two_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    code = """
import sys, torch
from sing_monitor.space.cache import EmbeddingCache
start = int(sys.argv[2])
cache = EmbeddingCache("a space", "images", 6, sys.argv[1])
for first in range(start, start + 200, 10):
    keys = torch.arange(first, first + 10)
    cache.lookup(keys)
    cache.add(keys, torch.stack([torch.sin(keys.double() + i) for i in range(6)], dim=1).float())
rows, known = cache.lookup(torch.arange(start, start + 200))
assert known.all()
"""
    root = Path(__file__).parents[2]
    writers = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(start)], cwd=root)
        for start in (0, 100)
    ]
    reader = cache_in(tmp_path)
    while any(writer.poll() is None for writer in writers):  # no half file is ever seen
        rows, known = reader.lookup(torch.arange(300))
        assert torch.equal(rows[known], embedding_of(torch.arange(300))[known])
        time.sleep(0.05)
    assert [writer.wait() for writer in writers] == [0, 0]
    assert all(known_in(tmp_path, *range(300)))
    assert reader.unreadable == 0
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.parametrize("kind", ["truncated", "empty", "not a cache file"])
def test_a_broken_file_is_passed_over_and_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    broken, also, whole = (store(tmp_path, number) for number in (1, 2, 3))
    for path in (broken, also):
        content = path.read_bytes()
        half = {"truncated": content[:-5], "empty": b"", "not a cache file": b"x" * 100}
        path.write_bytes(half[kind])
    cache = cache_in(tmp_path)
    rows, known = cache.lookup(keys_of(1, 2, 3))
    assert known.tolist() == [False, False, True]
    assert torch.equal(rows[2:], embedding_of(keys_of(3)))
    assert cache.unreadable == 2
    assert len(warnings_in(caplog)) == 1
    assert "passed over" in caplog.text
    assert chunks(tmp_path) == sorted([broken, also, whole])

    cache.add(keys_of(1), embedding_of(keys_of(1)))
    assert known_in(tmp_path, 1) == [True]


def test_an_old_truncated_file_is_removed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    old, young = store(tmp_path, 1), store(tmp_path, 2)
    leftover = old.with_suffix(".tmp")
    for path in (old, young, leftover):
        path.write_bytes(b"half a header")
    age(old, 1.1 * HOUR)
    age(young, 0.9 * HOUR)
    age(leftover, 1.1 * HOUR)
    assert known_in(tmp_path, 1, 2) == [False, False]
    assert chunks(tmp_path) == [young]
    assert not leftover.exists()
    assert "removed" in caplog.text


def foreign_file(kind: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    rows = torch.full((2, DIM), torch.nan) if kind == "NaN" else embedding_of(keys_of(1, 2))
    tensors = {"keys": keys_of(1, 2), "embeddings": rows, "digests": _digests([1, 2], rows)}
    metadata = {"version": "2", "space": "a space"}
    match kind:
        case "version":
            metadata["version"] = "3"
        case "space":
            metadata["space"] = "another"
        case "dim":
            tensors["embeddings"] = torch.zeros(2, DIM + 1)
        case "rows":
            tensors["embeddings"] = torch.zeros(1, DIM)
        case "keys":
            tensors["keys"] = torch.zeros(2)
        case "names":
            tensors = {"labels": keys_of(1, 2)}
        case "dtype":
            tensors["embeddings"] = tensors["embeddings"].double()
        case "digests":
            tensors["digests"] = tensors["digests"][:1]
    return tensors, metadata


@pytest.mark.parametrize(
    "kind",
    ["version", "space", "dim", "dtype", "rows", "keys", "names", "digests", "NaN"],
)
def test_a_foreign_file_is_passed_over_and_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    path = store(tmp_path, 1, 2)
    tensors, metadata = foreign_file(kind)
    save_file(tensors, path, metadata=metadata)
    age(path, 30 * HOUR)
    cache = cache_in(tmp_path)
    assert cache.lookup(keys_of(1, 2))[1].tolist() == [False, False]
    assert cache.unreadable == 1
    assert len(warnings_in(caplog)) == 1
    assert path.exists()


def test_a_file_written_as_the_tests_write_foreign_ones_is_read(tmp_path: Path) -> None:
    path = store(tmp_path, 5)
    tensors, metadata = foreign_file("none of them")
    save_file(tensors, path, metadata=metadata)
    assert known_in(tmp_path, 1, 2, 5) == [True, True, False]


def test_no_bit_can_be_flipped_unnoticed(tmp_path: Path) -> None:
    path = store(tmp_path, *range(8))
    whole = path.read_bytes()
    start = 8 + int.from_bytes(whole[:8], "little")
    random = Random(4)
    bits = random.sample(range(8 * len(whole)), 150)
    bits += random.sample(range(8 * start, 8 * len(whole)), 100)
    for bit in bits:
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        # Checks that what is found is what was stored.
        known_in(tmp_path, *range(8))


def test_a_damaged_embedding_costs_its_file_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = store(tmp_path, 1, 2)
    whole = bytearray(path.read_bytes())
    whole[whole.index(embedding_of(keys_of(2)).numpy().tobytes())] ^= 1
    path.write_bytes(whole)
    assert known_in(tmp_path, 2) == [False]
    assert "1 of 1 embeddings read from it are not those written" in caplog.text
    age(path, 2 * HOUR)
    cache = cache_in(tmp_path)
    assert cache.lookup(keys_of(2))[1].tolist() == [False]
    assert not path.exists()
    cache.add(keys_of(1, 2), embedding_of(keys_of(1, 2)))
    assert known_in(tmp_path, 1, 2) == [True, True]


def test_files_of_earlier_versions_cost_one_message_whose_advice_works(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "my cache"
    for number in (1, 2):
        path = store(root, number)
        rows = embedding_of(keys_of(number))
        old = {"keys": keys_of(number), "embeddings": rows}
        save_file(old, path, metadata={"version": "1", "space": "a space"})
    cache = cache_in(root)
    assert not cache.lookup(keys_of(1, 2))[1].any()
    cache.add(keys_of(1, 2), embedding_of(keys_of(1, 2)))
    assert known_in(root, 1, 2) == [True, True]
    (said,) = {each for each in warnings_in(caplog) if "another version" in each}
    advice = said[said.index("cache clear") :]
    assert main([*shlex.split(advice), "--yes"]) == 0
    assert len(chunks(root)) == 1
    assert known_in(root, 1, 2) == [True, True]


def test_the_least_recently_used_files_go_first(tmp_path: Path) -> None:
    files = [store(tmp_path, number) for number in range(4)]
    files.append(store(tmp_path, 4, space="another space"))
    for position, path in enumerate(files):
        age(path, 1000 - position)
    stranger = files[0].parent / "notes.safetensors"
    stranger.write_bytes(b"x" * 10_000)
    assert known_in(tmp_path, 1) == [True]  # used now
    size = files[0].stat().st_size

    # Room for three files of six: nine tenths of 3.4 files.
    cache = cache_in(tmp_path, max_bytes=int(3.4 * size))
    cache.add(keys_of(9), embedding_of(keys_of(9)))
    assert known_in(tmp_path, 0, 1, 2, 3, 9) == [False, True, False, False, True]
    assert files[4].exists()
    assert stranger.exists()


def test_the_folder_stays_within_its_bound(tmp_path: Path) -> None:
    bound = 20_000
    caches = [cache_in(tmp_path, max_bytes=bound) for _ in range(2)]
    for number in range(150):
        caches[number % 2].add(keys_of(number), embedding_of(keys_of(number)))
        total = sum(path.stat().st_size for path in chunks(tmp_path))
        assert total <= bound * (1 + 2 / 32)
    assert total > 0.5 * bound
    assert known_in(tmp_path, 0, 149) == [False, True]


def test_memory_stays_within_its_bound_and_the_disk_fills_in(tmp_path: Path) -> None:
    keys = torch.arange(40)
    memory = cache_in(None, max_bytes=10 * DIM * 4)
    memory.add(keys, embedding_of(keys))
    assert memory.lookup(keys)[1].tolist() == [False] * 30 + [True] * 10

    store(tmp_path, *range(40))
    small = cache_in(tmp_path, max_bytes=10 * DIM * 4)
    for _ in range(2):
        rows, known = small.lookup(keys)
        assert known.all()
        assert torch.equal(rows, embedding_of(keys))
    assert len(small._memory) == 10


def test_a_file_that_another_run_deleted_is_unknown_and_no_fault(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = store(tmp_path, 1, 2)
    cache = cache_in(tmp_path)
    assert cache.lookup(keys_of(1))[1].tolist() == [True]
    path.unlink()
    assert cache.lookup(keys_of(1, 2))[1].tolist() == [True, False]
    assert cache.unreadable == 0
    assert warnings_in(caplog) == []
    cache.add(keys_of(2), embedding_of(keys_of(2)))
    assert known_in(tmp_path, 2) == [True]


def test_a_folder_that_cannot_be_made_costs_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("no folder")
    cache = cache_in(blocker)
    for number in range(3):
        cache.add(keys_of(number), embedding_of(keys_of(number)))
    assert all(cache.lookup(keys_of(0, 1, 2))[1])
    assert len([w for w in warnings_in(caplog) if "cannot be written" in w]) == 1
    assert "cache_dir" in caplog.text


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_costs_one_warning_and_leaves_no_half_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = cache_in(tmp_path)
    real_open = Path.open
    # The temporary file is opened on the device whose every write fails for want of space.
    monkeypatch.setattr(Path, "open", lambda path, mode="r": real_open(Path("/dev/full"), "wb"))
    for number in range(3):
        cache.add(keys_of(number), embedding_of(keys_of(number)))
    monkeypatch.undo()
    assert len(warnings_in(caplog)) == 1
    assert "No space left" in caplog.text
    assert all(cache.lookup(keys_of(0, 1, 2))[1])
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []

    cache.add(keys_of(9), embedding_of(keys_of(9)))  # the disk has room again
    assert known_in(tmp_path, 9) == [True]


def test_what_was_added_in_inference_mode_is_of_use_outside(tmp_path: Path) -> None:
    cache = cache_in(tmp_path)
    with torch.inference_mode():
        cache.add(keys_of(1), embedding_of(keys_of(1)))
        cache.lookup(keys_of(1))
    rows, _ = cache.lookup(keys_of(1))
    (rows * torch.ones(DIM, requires_grad=True)).sum().backward()


def test_the_cache_holds_copies() -> None:
    cache = cache_in(None)
    rows = embedding_of(keys_of(1))
    expected = rows.clone()
    cache.add(keys_of(1), rows)
    rows.zero_()
    found, _ = cache.lookup(keys_of(1))
    assert torch.equal(found, expected)
    found.zero_()
    assert torch.equal(cache.lookup(keys_of(1))[0], expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_embeddings_come_back_in_single_precision(tmp_path: Path, dtype: torch.dtype) -> None:
    rows = embedding_of(keys_of(1)).to(dtype)
    cache_in(tmp_path).add(keys_of(1), rows)
    found, _ = cache_in(tmp_path).lookup(keys_of(1))
    assert torch.equal(found, rows.float())


def test_the_default_precision_of_torch_changes_nothing(tmp_path: Path) -> None:
    keys = keys_of(1, 2)
    cache_in(tmp_path).add(keys[:1], embedding_of(keys[:1]))
    cache = cache_in(tmp_path)
    torch.set_default_dtype(torch.float64)
    try:
        cache.add(keys[1:], embedding_of(keys[1:]))
        found, _ = cache.lookup(keys)
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(found, embedding_of(keys))
    assert torch.equal(cache_in(tmp_path).lookup(keys)[0], found)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_numbers_that_are_not_finite_are_never_stored(tmp_path: Path, bad: float) -> None:
    cache = cache_in(tmp_path)
    rows = embedding_of(keys_of(1, 2))
    rows[1, 3] = bad
    with pytest.raises(ValueError, match="1 of 2 embeddings hold NaN"):
        cache.add(keys_of(1, 2), rows)
    assert cache.lookup(keys_of(1, 2))[1].tolist() == [False, False]
    assert chunks(tmp_path) == []


def test_wrong_arguments_are_refused(tmp_path: Path) -> None:
    cache = cache_in(None)
    with pytest.raises(ValueError, match=r"expected \(2, 6\)"):
        cache.add(keys_of(1, 2), torch.zeros(2, DIM + 1))
    with pytest.raises(ValueError, match=r"torch.float32 of shape \(2,\); expected int64"):
        cache.lookup(torch.zeros(2))
    with pytest.raises(ValueError, match=r"shape \(1, 2\)"):
        cache.lookup(torch.zeros(1, 2, dtype=torch.int64))
    with pytest.raises(ValueError, match="'sounds'"):
        EmbeddingCache("a space", "sounds", DIM, None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least 1"):
        cache_in(None, max_bytes=0)


def test_the_default_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert default_cache_dir() == Path("/somewhere/sing_monitor")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/someone")
    assert default_cache_dir() == Path("/home/someone/.cache/sing_monitor")
