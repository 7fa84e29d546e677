"""``sing-monitor analyze`` on checkpoints that Lightning and timm wrote."""

from __future__ import annotations

import shutil
import tempfile
from argparse import Namespace
from pathlib import Path

import pytest
import timm
import torch
from mlflow import MlflowClient
from pandas.testing import assert_frame_equal
from timm.utils import CheckpointSaver, ModelEmaV3
from torch.utils.data import DataLoader

from sing_monitor.commands.cli import main
from sing_monitor.commands.options import spool_folder
from sing_monitor.findings import Findings
from sing_monitor.tracking import RunReader, RunWriter, list_runs, open_store
from tests.helpers import tiny
from tests.helpers.finished_run import FinishedRun

HERE = "tests.commands.test_analyze"
SPACE = ["--space", "tests.helpers.tiny:HashSpace"]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the command runs; its caches lie there."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def uri(place: Path) -> str:
    """A new store beside the command."""
    tiny.mlflow_logger(place)
    return f"sqlite:///{place / 'mlflow.db'}"


def analyze(uri: str, folder: Path, *options: str) -> int:
    return main(["analyze", str(folder), "--tracking-uri", uri, "--workers", "0", *SPACE, *options])


def readers(uri: str) -> dict[str, RunReader]:
    runs = list_runs(uri, "analyzed").set_index("run_name")["run_id"]
    return {str(name): RunReader(uri, run_id) for name, run_id in runs.items()}


def validation() -> DataLoader:
    return tiny.loader(tiny.Blobs())


def interrupted() -> None:
    raise KeyboardInterrupt


def test_checkpoints_of_a_training_give_the_curves_that_its_callback_logged(
    run_with_snapshot: FinishedRun,
    uri: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = tmp_path / "words.txt"
    words.write_text("red\nstriped\n")
    options = ["--model", "tests.helpers.tiny:Classifier", "--data", f"{HERE}:validation"]
    options += ["--concepts", str(words), "--save-snapshots", "--n-maps", "8"]
    # Interrupted after the first epoch: the second call goes on with its ridge and its head.
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    everything = sorted(run_with_snapshot.checkpoints.iterdir())
    shutil.copy(next(path for path in everything if "epoch=0" in path.name), folder)
    assert analyze(uri, folder, *options) == 0
    shutil.copytree(run_with_snapshot.checkpoints, folder, dirs_exist_ok=True)
    assert analyze(uri, folder, *options) == 0
    assert "last.ckpt is left out" in capsys.readouterr().err

    (reader,) = readers(uri).values()
    logged = run_with_snapshot.reader.scalars()
    found = reader.scalars()
    assert found["epoch"].tolist() == [0, 1, 2]
    # MLflow's step is Lightning's there, the clock is another.
    apart = ["step", "timestamp", "monitor/seconds"]
    assert_frame_equal(
        found.drop(columns=apart), logged[found.columns].drop(columns=apart), rtol=1e-5
    )
    assert reader.validations() == run_with_snapshot.reader.validations()
    last = reader.validations()[-1]
    for name in ("classes", "images", "class_concepts"):
        stored = run_with_snapshot.reader.table(name, *last)
        table = reader.table(name, *last)
        shared = [column for column in table if column in stored]
        rows = stored[stored["concept"].isin(["red", "striped"])] if "concept" in stored else stored
        assert_frame_equal(
            table[shared], rows[shared].reset_index(drop=True), rtol=1e-5, check_dtype=False
        )
    snapshot = reader.snapshot()
    assert snapshot.epoch == 2
    assert snapshot.texts.classes.names == tiny.CLASSES
    assert snapshot.texts.concepts.names == ("red", "striped")
    assert len(reader.thumbnails(reader.table("images", *last)["image"])) == 48

    # Once more: everything is there, nothing is computed or logged again.
    points = reader.scalars()
    assert analyze(uri, folder, *options) == 0
    assert_frame_equal(reader.scalars(), points)
    assert len(readers(uri)) == 1
    assert list_runs(uri)["status"].tolist() == ["FINISHED"]


def test_a_folder_of_runs_is_filled_and_gone_on_with(
    run_with_snapshot: FinishedRun, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--model", "tests.helpers.tiny:Classifier", "--data", f"{HERE}:validation"]
    options += ["--save-snapshots", "--layers", "network.2,network.0"]
    folder = place / "checkpoints"
    folder.mkdir()
    shutil.copy(next(run_with_snapshot.checkpoints.glob("epoch=0*")), folder)
    assert analyze("runs", folder, *options) == 0
    assert "sing-monitor app --tracking-uri runs\n" in capsys.readouterr().out
    shutil.copy(next(run_with_snapshot.checkpoints.glob("epoch=1*")), folder)
    (reader,) = readers("runs").values()
    first, second = run_with_snapshot.reader.validations()[:2]
    # As a command that is killed after the tables of an epoch and before its curves.
    killed = RunWriter(open_store("runs").open_run(reader.run_id))
    scalars = reader.scalars().filter(like="/").iloc[0].to_dict()
    left = Findings(scalars, {"classes": reader.table("classes", *first)})
    killed.write(left, epoch=second[0], step=second[1])
    killed.close()
    assert reader.validations() == [first, second]
    assert reader.scalars()["epoch"].tolist() == [first[0]]
    assert analyze("runs", folder, *options) == 0
    assert reader.tables(*second) == reader.tables(*first)
    assert not reader.table("classes", *second).equals(left.tables["classes"])
    found, logged = reader.scalars(), run_with_snapshot.reader.scalars().iloc[:2]
    for key in ("epoch", "global_step", "head/rank", "sing/image_score_centered"):
        assert found[key].tolist() == pytest.approx(logged[key].tolist(), rel=1e-5), key
    assert found["layers/rank_drop"].notna().tolist() == [True, True]
    assert reader.table("layers", *second)["layer"].tolist() == ["network.0", "network.2"]
    assert reader.config()["layers"] == ["network.2", "network.0"]
    assert reader.validations() == run_with_snapshot.reader.validations()[:2]
    assert list_runs("runs")["status"].tolist() == ["FINISHED"]

    # Concepts are added to what the run stored.
    words = place / "words.txt"
    words.write_text("plaid\n")
    concepts = ["concepts", reader.run_id, "--file", str(words), "--tracking-uri", "runs", *SPACE]
    assert main(concepts) == 0
    assert reader.table("concepts", *reader.validations()[-1])["concept"].iloc[-1] == "plaid"
    assert not (place / ".sing_spool").exists()


def test_a_folder_of_timm_checkpoints_becomes_a_run_for_each_model(
    uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    zoo, images = tmp_path / "zoo", tmp_path / "images"
    for seed, architecture in enumerate(("test_resnet", "test_vit")):
        save_as_timm_does(architecture, zoo / architecture, seed)
    (zoo / "broken.pth.tar").write_bytes(b"no checkpoint")
    tiny.image_folder(images, 24)

    # One file cannot be read; the others are analyzed all the same.
    assert analyze(uri, zoo, "--data", str(images), "--each", "model") == 1
    assert "broken.pth.tar is no readable checkpoint" in capsys.readouterr().err
    found = readers(uri)
    assert found.keys() == {"test_resnet/last", "test_vit/last"}
    for name, reader in found.items():
        config, curves = reader.config(), reader.scalars()
        assert config["model"] == name.partition("/")[0]
        assert config["class_names"] == list(tiny.CLASSES)
        assert config["pixels"]["source"] != ""
        assert curves["epoch"].tolist() == [5]
        assert curves["monitor/samples"].tolist() == [24]
        assert curves["sing/image_score_centered"].notna().all()


def test_averaged_weights_come_first_and_the_others_on_request(
    uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As timm's load_checkpoint does; images normalised and classes named as the user says."""
    zoo, images, names = tmp_path / "zoo", tmp_path / "images", tmp_path / "names.txt"
    trained, averaged = (
        timm.create_model("test_resnet", num_classes=len(tiny.CLASSES)) for _ in range(2)
    )
    save_as_timm_does("test_resnet", zoo, 0, trained, averaged)
    tiny.image_folder(images, 24)
    names.write_text("a cat\na dog\n\na ship\na tree\n")
    options = ["--data", str(images), "--each", "model", "--save-snapshots"]
    options += ["--class-names", str(names), "--mean", "0.5", "--std", "0.2", "0.3", "0.4"]

    assert analyze(uri, zoo, *options) == 0
    assert "last (EMA weights): " in capsys.readouterr().out
    assert analyze(uri, zoo, *options, "--no-ema") == 0
    assert "last: " in capsys.readouterr().out
    assert analyze(uri, zoo, *options) == 0
    assert "Analyzed before, and not again: 1." in capsys.readouterr().err

    found = readers(uri)
    assert found.keys() == {"last", "last without EMA"}
    for name, model in (("last", averaged), ("last without EMA", trained)):
        assert torch.equal(found[name].snapshot().weight, model.get_classifier().weight)
        config = found[name].config()
        assert config["class_names"] == ["a cat", "a dog", "a ship", "a tree"]
        assert config["pixels"] == {
            "mean": [0.5, 0.5, 0.5],
            "std": [0.2, 0.3, 0.4],
            "source": "pixel_stats",
        }


def save_as_timm_does(
    architecture: str,
    folder: Path,
    seed: int,
    model: torch.nn.Module | None = None,
    averaged: torch.nn.Module | None = None,
) -> None:
    """What timm's training script leaves, its arguments and optimizer included."""
    torch.manual_seed(seed)
    if model is None:
        model = timm.create_model(architecture, num_classes=len(tiny.CLASSES))
    folder.mkdir(parents=True)
    saver = CheckpointSaver(
        model,
        torch.optim.SGD(model.parameters(), 0.1),
        model_ema=averaged and ModelEmaV3(averaged),
        args=Namespace(model=architecture, lr=0.1),
        checkpoint_dir=str(folder),
        recovery_dir=str(folder),
    )
    saver.save_checkpoint(5, metric=0.5)
    for path in folder.iterdir():
        if not path.name.startswith("last"):
            path.unlink()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--data", "nowhere"], "there is no folder 'nowhere'"),
        (["--data", f"{HERE}:nothing"], "has no function 'nothing'"),
        (["--model", "no_such:Model"], "cannot be imported"),
        (["--model", "tests.helpers.tiny:timm_classifier"], "it lacks network."),
        (["--timm", "resnet999"], "timm cannot build 'resnet999' (close names: resnet"),
        ([], "does not say which model it belongs to"),
        (
            ["--model", "tests.helpers.tiny:Classifier", "--probe-size", "1"],
            "expected an integer of at least 2",
        ),
        (["--mean", "0.5"], "--mean and --std belong together"),
    ],
)
def test_what_cannot_be_analyzed_is_said_in_a_sentence(
    run_with_snapshot: FinishedRun,
    uri: str,
    options: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = [] if "--data" in options else ["--data", f"{HERE}:validation"]
    assert analyze(uri, run_with_snapshot.checkpoints, *data, *options) == 1
    assert capsys.readouterr().err.count(said) == 1


def test_a_checkpoint_without_an_epoch_is_named_before_anything_is_loaded(
    uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(tiny.Classifier().state_dict(), tmp_path / "best.pt")
    missing = ["--model", "no_such:Model", "--data", f"{HERE}:interrupted"]
    assert analyze(uri, tmp_path / "best.pt", *missing) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"{tmp_path / 'best.pt'} does not tell its epoch. Put it into the name")
    assert said.endswith("as a model of its own: --each model.\n")
    shutil.copy(tmp_path / "best.pt", tmp_path / "last.pt")
    assert analyze(uri, tmp_path, *missing) == 1
    assert "does not tell its epoch, nor do 1 others" in capsys.readouterr().err

    # The advice, followed.
    options = ["--model", f"{HERE}:untrained", "--data", f"{HERE}:validation", "--each", "model"]
    assert analyze(uri, tmp_path / "best.pt", *options) == 0
    assert readers(uri).keys() == {"best"}


def untrained() -> tiny.Classifier:
    return tiny.Classifier()


def test_where_this_folder_cannot_be_written_the_spool_is_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir("/proc")
    store = open_store("sqlite:///mlflow.db")
    folder = spool_folder(store)
    assert folder is not None
    assert folder.is_relative_to(tmp_path)
    assert f"sing-monitor sync {folder} delivers it" in capsys.readouterr().err
    monkeypatch.chdir(tmp_path)
    assert spool_folder(store) == Path(".sing_spool")
    # A folder of runs has a place of its own, wherever the command runs.
    monkeypatch.chdir("/proc")
    assert spool_folder(open_store(tmp_path / "runs")) is None
    assert capsys.readouterr().err == ""


def test_an_empty_folder_is_said_to_be_empty(
    uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert analyze(uri, tmp_path / "none", "--data", f"{HERE}:validation") == 1
    assert "holds no checkpoint" in capsys.readouterr().err


def test_ctrl_c_leaves_a_run_that_the_same_command_takes_up(
    run_with_snapshot: FinishedRun, uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (checkpoint,) = run_with_snapshot.checkpoints.glob("epoch=1*")
    data = ["--data", f"{HERE}:validation"]
    assert analyze(uri, checkpoint, "--model", f"{HERE}:interrupted", *data) == 130
    assert "Stopped. The same command goes on" in capsys.readouterr().err
    (run,) = MlflowClient(uri).search_runs(["1"])
    assert run.info.status == "KILLED"
    assert analyze(uri, checkpoint, "--model", "tests.helpers.tiny:Classifier", *data) == 0
    (row,) = list_runs(uri).to_dict("records")
    assert (row["run_id"], row["status"]) == (run.info.run_id, "FINISHED")
    assert RunReader(uri, row["run_id"]).scalars()["epoch"].tolist() == [1]
