"""``sing-monitor concepts`` on a run that a real training left."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch
from pandas.testing import assert_frame_equal

from sing_monitor.analyses.concepts import analyze_vocabulary
from sing_monitor.commands.cli import main
from sing_monitor.commands.concepts import _open_space
from sing_monitor.observation import Observation
from sing_monitor.space.text_embeddings import Texts, concept_set, text_set
from tests.helpers import tiny
from tests.helpers.finished_run import FinishedRun

SPACE = "tests.helpers.tiny:HashSpace"


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A vocabulary file; caches and spools stay below the test's folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "words.txt"
    file.write_text("plaid\nsea: a photo taken at sea\nmar: una foto del mar\n", encoding="utf-8")
    return file


def add(run: FinishedRun, file: Path, *options: str) -> int:
    where = ["--tracking-uri", run.uri, "--space", SPACE]
    return main(["concepts", run.run_id, "--file", str(file), *where, *options])


def last_tables(run: FinishedRun) -> dict[str, pd.DataFrame]:
    epoch, step = run.reader.validations()[-1]
    return {name: run.reader.table(name, epoch, step) for name in ("concepts", "class_concepts")}


def test_added_concepts_are_those_that_the_training_would_have_stored(
    run_with_snapshot: FinishedRun, words: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, space = run_with_snapshot, tiny.HashSpace()
    before = run.reader.scalars()
    assert add(run, words, "--class", "ship", "--template", "a photo of {}", "{} cloth") == 0
    said = capsys.readouterr().out
    assert "degrees, ship" in said
    # Again, as somebody does who has mended a prompt: nothing is there twice.
    words.write_text(words.read_text().replace("at sea", "on the sea") + "red\n")
    assert add(run, words, "--template", "a photo of {}", "{} cloth") == 0
    assert "left as they are: red" in capsys.readouterr().out

    concepts = {
        "red": "an image of red",
        "striped": "an image of striped",
        "plaid": ["a photo of plaid", "plaid cloth"],
        "sea": "a photo taken on the sea",
        "mar": "una foto del mar",
    }
    texts = Texts(text_set(space, tiny.CLASSES, "an image of a {}"), concept_set(space, concepts))
    ridge = float(before["translator/ridge"].iloc[-1])
    whole = analyze_vocabulary(Observation(run.reader.snapshot(), texts, ridge=ridge))
    for name, table in last_tables(run).items():
        # Sums in single precision are added in another order.
        assert_frame_equal(table, whole.tables[name], atol=1e-3)
    # The curves, and what the app knows of them, are as they were.
    assert_frame_equal(run.reader.scalars(), before)


def test_the_biggest_are_printed_first(
    run_with_snapshot: FinishedRun, words: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert add(run_with_snapshot, words, "--class", "dog") == 0
    rows = capsys.readouterr().out.splitlines()[2:5]
    assert {row.split()[0] for row in rows} == {"plaid", "sea", "mar"}
    scores = [abs(float(row.split()[3])) for row in rows]
    assert scores == sorted(scores, reverse=True)
    assert {row.split()[5] for row in rows} == {"12"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--class", "bird"], "no class 'bird'; it has cat, dog, ship, tree"),
        (["--space", "tests.helpers.tiny:Blobs"], "space is a Blobs without"),
        (["--space", "tests.helpers.tiny:Nothing"], "no function 'Nothing'"),
        (["--space", "tests.no_such_module:space"], "cannot be imported"),
        (["--space", "tests.commands.test_concepts:other_space"], "monitored in the space 'hash"),
        (["--file", "/no/such/file"], "/no/such/file cannot be read: No such file"),
        (["--name", "aux"], "has no config.json"),
        (["--tracking-uri", "sqlite:////no/such.db"], "no MLflow database"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(
    run_with_snapshot: FinishedRun,
    words: Path,
    options: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert add(run_with_snapshot, words, *options) == 1
    assert said in capsys.readouterr().err


def test_a_space_that_only_its_user_has_must_be_named(
    run_with_snapshot: FinishedRun, words: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_with_snapshot
    file = ["--file", str(words), "--tracking-uri", run.uri]
    # By the name of the run as by its id.
    for word in (run.run_id, run.reader.store.run(run.run_id).run_name):
        assert main(["concepts", word, *file]) == 1
        assert "'hash-space', is no published model. Say where it lies" in capsys.readouterr().err
    assert main(["concepts", "nobody", *file]) == 1
    assert "no run of the id or name 'nobody'" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["{}/evil.py:made", "ViT-B-32/{}/evil.pt", "ViT-B-32/no_such_tag"])
def test_a_run_chooses_no_file_or_function_of_this_machine(tmp_path: Path, form: str) -> None:
    witness = tmp_path / "witness"
    (tmp_path / "evil.py").write_text(f"open({str(witness)!r}, 'w')\nmade = print\n")
    torch.save({}, tmp_path / "evil.pt")
    with pytest.raises(ValueError, match=r"is no published model\. Say where it lies"):
        _open_space(None, {"space": form.format(tmp_path)})
    assert not witness.exists()


def other_space() -> tiny.HashSpace:
    space = tiny.HashSpace()
    space.name = "other"
    return space
