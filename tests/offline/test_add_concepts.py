"""What a run must hold so that findings can be added to it."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlflow import MlflowClient

from sing_monitor.offline.add_concepts import add_concepts, check_space
from sing_monitor.tracking import ArtifactNotFoundError, MlflowRun, RunReader, RunWriter
from tests.app.stores import Store, history
from tests.helpers import tiny


def named(name: str) -> tiny.HashSpace:
    space = tiny.HashSpace()
    space.name = name
    return space


@pytest.mark.parametrize(
    ("stored", "given"),
    [
        ("ViT-B-32/openai", "ViT-B-32/openai"),
        ("ViT-B-32/clip.safetensors@0123abcd", "ViT-B-32/moved.safetensors@0123abcd"),
    ],
)
def test_the_space_of_the_run_is_known_again(stored: str, given: str) -> None:
    check_space({"space": stored}, named(given))


@pytest.mark.parametrize(
    ("stored", "given"),
    [
        ("ViT-B-32/openai", "ViT-B-32/laion2b_s34b_b79k"),
        ("ViT-B-32/clip.safetensors@0123abcd", "ViT-B-32/clip.safetensors@0123abce"),
        ("clip@openai", "openai"),
    ],
)
def test_another_space_is_refused(stored: str, given: str) -> None:
    with pytest.raises(ValueError, match="texts of another space"):
        check_space({"space": stored}, named(given))


def test_a_run_without_a_snapshot_says_how_to_store_one(tmp_path: Path) -> None:
    store = Store.at(tmp_path)
    run_id = store.run("plain", history(1))
    writer = RunWriter(MlflowRun(MlflowClient(store.uri), run_id), tmp_path / "spool")
    reader = RunReader(store.uri, run_id)
    with pytest.raises(ArtifactNotFoundError, match=r"has no .*train with save_snapshots=True"):
        add_concepts(reader, writer, named(""), {"red": "something red"})
