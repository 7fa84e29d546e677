"""``sing-monitor cache`` on a folder of real embeddings."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from sing_monitor.commands.cli import main
from sing_monitor.space.cache import EmbeddingCache
from sing_monitor.tracking.disk.kept_files import TABLES_FOLDER, KeptFiles


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two spaces, a broken file, and a file that is not ours."""
    root = tmp_path / "cache"
    fill(root, "ViT-B-32/laion2b", "images", [1, 2, 3])
    fill(root, "ViT-B-32/laion2b", "images", [4])
    fill(root, "ViT-B-32/laion2b", "texts", [5, 6])
    fill(root, "tiny", "images", [*range(7, 107)])
    (chunk,) = root.glob("tiny-*/images/*.safetensors")
    chunk.with_name(f"{'0' * 32}.safetensors").write_bytes(b"broken")
    (root / "notes.txt").write_text("mine")
    return root


def fill(root: Path, space: str, kind: str, keys: list[int]) -> None:
    cache = EmbeddingCache(space, kind, 4, root)  # type: ignore[arg-type]
    cache.add(torch.tensor(keys), torch.randn(len(keys), 4))


def cache(root: Path, *arguments: str) -> int:
    return main(["cache", *arguments, "--cache-dir", str(root)])


def row_of(space: str, said: str) -> list[str]:
    (line,) = (line for line in said.splitlines() if line.split()[:1] == [space])
    return line.split()[1:]


def test_info_counts_entries_and_bytes_by_space(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cache(root, "info") == 0
    said = capsys.readouterr().out
    sizes = [path.stat().st_size for path in root.glob("*/*/*.safetensors")]
    assert said.startswith(f"{root}: {sum(sizes) / 1000:.1f} kB\n")
    assert row_of("ViT-B-32/laion2b", said)[:2] == ["4", "2"]
    assert row_of("tiny", said)[:2] == ["100", "0"]
    assert row_of("(unreadable)", said) == ["0", "0", "6", "bytes"]


def test_files_of_another_version_are_counted_and_cleared_apart(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (chunk,) = root.glob("ViT*/texts/*.safetensors")
    old = {"keys": torch.arange(3), "embeddings": torch.randn(3, 4)}
    save_file(old, chunk, metadata={"version": "1", "space": "ViT-B-32/laion2b"})
    assert cache(root, "info") == 0
    said = capsys.readouterr().out
    assert row_of("ViT-B-32/laion2b", said)[:2] == ["4", "0"]
    (line,) = (line for line in said.splitlines() if line.strip().startswith("(another version)"))
    assert line.split()[2:4] == ["0", "3"]
    assert cache(root, "clear", "--space", "(another version)", "--yes") == 0
    assert not chunk.exists()
    assert list(root.glob("ViT*/images/*.safetensors"))


def test_clear_of_one_space_leaves_the_others(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cache(root, "clear", "--space", "ViT-B-32/laion2b", "--yes") == 0
    assert "Deleted" in capsys.readouterr().out
    _, known = EmbeddingCache("ViT-B-32/laion2b", "images", 4, root).lookup(torch.tensor([1, 4]))
    assert not known.any()
    _, known = EmbeddingCache("tiny", "images", 4, root).lookup(torch.tensor([7]))
    assert known.all()


def test_clear_deletes_all_embeddings_and_nothing_else(root: Path) -> None:
    assert cache(root, "clear", "--yes") == 0
    assert [path.name for path in root.rglob("*")] == ["notes.txt"]


def test_clear_asks_first(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    before = sorted(root.rglob("*"))
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert cache(root, "clear") == 1
    assert "--yes" in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin", Terminal("n\n"))
    assert cache(root, "clear") == 1
    assert "Nothing was deleted" in capsys.readouterr().err
    assert sorted(root.rglob("*")) == before
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    assert cache(root, "clear") == 0
    assert not list(root.rglob("*.safetensors"))


def test_an_unknown_space_is_answered_with_the_known_ones(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cache(root, "info", "--space", "ViT-L-14/openai") == 1
    said = capsys.readouterr().err
    assert "'ViT-L-14/openai'" in said
    assert "tiny" in said


def test_tables_from_servers_are_shown_and_cleared_with_the_rest(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tables = KeptFiles(root / TABLES_FOLDER, most_bytes=10_000)
    tables.put("one", bytes(968))
    tables.put("other", bytes(968))
    assert cache(root, "info") == 0
    said = capsys.readouterr().out
    sizes = [path.stat().st_size for path in root.rglob("*.*") if path.name != "notes.txt"]
    assert said.startswith(f"{root}: {sum(sizes) / 1000:.1f} kB\n")
    assert said.endswith("  2 tables from servers: 2.0 kB\n")
    assert cache(root, "clear", "--space", "tiny", "--yes") == 0
    assert "from servers" not in capsys.readouterr().out
    assert tables.get("one") == bytes(968)
    assert cache(root, "clear", "--yes") == 0
    assert tables.get("one") is tables.get("other") is None
    assert (root / "notes.txt").exists()


def test_no_folder_is_an_empty_cache(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cache(tmp_path / "none", "info") == 0
    assert capsys.readouterr().out == f"{tmp_path / 'none'}: 0 bytes\n"
    assert cache(tmp_path / "none", "clear") == 0
