"""``sing-monitor rescore`` on runs that real trainings left, in each kind of store."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from mlflow import MlflowClient
from pandas import Series
from pandas.testing import assert_frame_equal
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Subset, TensorDataset

from sing_monitor.alerts import format_fired
from sing_monitor.analyses import analyze
from sing_monitor.commands.cli import main
from sing_monitor.monitor import Options, Session
from sing_monitor.monitor.publishing import Target
from sing_monitor.tracking import RunReader, create_run, open_store
from sing_monitor.tracking.backend import StoredRun
from tests.helpers import tiny
from tests.helpers.databases import empty_database

EXPERIMENT = "digits"
# What depends on when the numbers are worked out.
OF_THE_CLOCK = ["timestamp", "monitor/seconds"]


@dataclass(frozen=True)
class Place:
    """A store with a few finished runs, and a folder for spools."""

    uri: str
    folder: Path

    def train(
        self, run_name: str, loader: DataLoader[Any], *, seed: int = 0, **options: Any
    ) -> str:
        """Two epochs that store a snapshot; the id of the run."""
        run = create_run(self.uri, run_name=run_name, experiment=EXPERIMENT)
        given = {
            "space": tiny.HashSpace(),
            "concepts": ["red", "striped"],
            "cache_dir": None,
            "save_snapshots": True,
            "n_images": 10,
            "layers": True,
            "on_error": "raise",
        }
        monitor = Session(
            Options(**{**given, **options}),
            targets=lambda: [Target("run", lambda: run, metric_prefix="own")],
            spool_root=self.folder,
        )
        model, data = tiny.Classifier(seed=seed).eval(), tiny.Blobs(seed=1)
        optimizer = torch.optim.Adam(model.parameters(), 1e-2)
        for epoch in range(2):
            for _ in range(4):
                optimizer.zero_grad()
                cross_entropy(model(data.images), data.labels).backward()
                optimizer.step()
            monitor.measure(model, loader, epoch=epoch, step=4 * epoch + 4)
        monitor.close()
        run.finish("FINISHED")
        return run.run_id

    def rescore(self, *arguments: str) -> int:
        return main(["rescore", *arguments, "--tracking-uri", self.uri])

    def reader(self, run_id: str, name: str | None = None) -> RunReader:
        return RunReader(self.uri, run_id, name)

    def run(self, name: str) -> StoredRun:
        (found,) = (run for run in open_store(self.uri).runs() if run.run_name == name)
        return found

    def rescored(self, run_id: str, tag: str = "sing.rescored_from") -> list[StoredRun]:
        """Runs made of a run, newest first."""
        runs = open_store(self.uri).runs(EXPERIMENT)
        return [run for run in runs if run.tags.get(tag) == run_id]


def blobs(images: int = 48) -> DataLoader[Any]:
    data = tiny.Blobs()
    part = Subset(data, range(images))
    part.classes = data.classes  # type: ignore[attr-defined]
    return tiny.loader(part)


def nameless() -> DataLoader[Any]:
    data = tiny.Blobs()
    return tiny.loader(TensorDataset(data.images, data.labels))


def finished(folder: Path, uri: str) -> Place:
    """A store with the runs ``all`` of 48 images and ``few`` of the first 32 of them."""
    place = Place(uri, folder)
    place.train("all", blobs(), seed=2)
    place.train("few", blobs(32), seed=3)
    return place


@pytest.fixture(scope="module")
def mlflow_place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("mlflow")
    uri = empty_database(folder / "mlflow.db")
    MlflowClient(uri).create_experiment(EXPERIMENT, str(folder / "artifacts"))
    return finished(folder, uri)


@pytest.fixture(scope="module")
def folder_place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("folder")
    return finished(folder, str(folder / "runs"))


@pytest.fixture(params=["mlflow_place", "folder_place"])
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Each kind of store; spools stay in its folder."""
    found: Place = request.getfixturevalue(request.param)
    monkeypatch.chdir(found.folder)
    return found


def last(reader: RunReader) -> Series[Any]:
    return reader.scalars().iloc[-1]


def ours(run: StoredRun) -> dict[str, str]:
    """Tags that MLflow does not set."""
    return {key: value for key, value in run.tags.items() if key.startswith("sing")}


def test_a_run_without_maps_is_rescored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    place = Place(str(tmp_path / "runs"), tmp_path)
    place.train("flat", blobs(), n_maps=0, layers=False)
    assert place.rescore("flat", "--ridge", "0.5") == 0
    before, after = (place.reader(place.run(name).run_id) for name in ("flat", "flat, ridge 0.5"))
    assert set(after.scalars()) == set(before.scalars())
    assert last(after)["hierarchy/tree_change"] == last(before)["hierarchy/tree_change"]


def test_under_its_own_ridge_a_run_comes_out_as_it_was_trained(place: Place) -> None:
    of_its_own = {"sing.source": "checkpoints", "sing.alerts": format_fired({"low": 1})}
    open_store(place.uri).open_run(place.run("all").run_id).put_tags(of_its_own)
    before = place.run("all")
    reader = place.reader(before.run_id)
    curves = reader.scalars()
    ridge = curves["translator/ridge"].iloc[-1]
    assert place.rescore("all", "--ridge", repr(float(ridge))) == 0
    made = place.run(f"all, ridge {ridge:.3g}")
    assert (made.experiment, made.status) == (EXPERIMENT, "FINISHED")
    again = place.reader(made.run_id)

    assert math.isfinite(last(reader)["head/drift"])
    expected = curves.iloc[-1:].drop(columns=OF_THE_CLOCK).reset_index(drop=True)
    found = again.scalars()
    assert_frame_equal(found.drop(columns=OF_THE_CLOCK), expected, rtol=1e-9, atol=1e-9)
    at = reader.validations()[-1]
    assert again.validations() == [at]
    assert again.tables(*at) == reader.tables(*at)
    assert "layers" in reader.tables(*at)
    for name in reader.tables(*at):
        assert_frame_equal(again.table(name, *at), reader.table(name, *at), atol=1e-9)
    assert torch.equal(again.snapshot().features, reader.snapshot().features)
    movers = reader.table("images", *at).query("mover")["image"]
    assert len(movers) == 10
    assert again.thumbnails(movers).keys() == set(movers)
    assert again.config() == {**reader.config(), "ridge": ridge}
    kept = {key: value for key, value in ours(before).items() if key not in of_its_own}
    assert ours(made) == {**kept, "sing.rescored_from": before.run_id}

    # The old run is as it was.
    now = place.run("all")
    assert (now.tags, now.status, now.end_time) == (before.tags, before.status, before.end_time)
    assert_frame_equal(reader.scalars(), curves)


def test_runs_with_different_ridges_end_on_one_and_on_the_same_images(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    old = [place.run("all"), place.run("few")]
    assert len({last(place.reader(run.run_id))["translator/ridge"] for run in old}) == 2
    assert place.rescore("all", old[1].run_id, "few", "--ridge", "auto") == 0
    said = capsys.readouterr().out
    made = [place.rescored(run.run_id)[0] for run in old]
    readers = [place.reader(run.run_id) for run in made]
    (ridge,) = {last(reader)["translator/ridge"] for reader in readers}
    assert f"Ridge {ridge:.3g}, the geometric mean of what is best" in said
    names = [f"all, ridge {ridge:.3g}, 32 images", f"few, ridge {ridge:.3g}"]
    assert [run.run_name for run in made] == names
    assert all(repr(name) in said for name in names)

    snapshots = [reader.snapshot() for reader in readers]
    assert [len(snapshot) for snapshot in snapshots] == [32, 32]
    assert readers[0].config()["probe_size"] == 32
    best = [analyze(each, each.texts).scalars["translator/ridge"] for each in snapshots]
    assert best[0] != best[1]
    assert ridge == pytest.approx(math.sqrt(math.prod(best)))
    for reader, snapshot in zip(readers, snapshots, strict=True):
        expected = analyze(snapshot, snapshot.texts, ridge=ridge).scalars
        finite = {key: value for key, value in expected.items() if math.isfinite(value)}
        assert last(reader)[list(finite)].to_dict() == pytest.approx(finite, rel=1e-9, abs=1e-9)
        assert last(reader)["monitor/samples"] == 32

    # Once more: what is there is named, and nothing is there twice.
    assert place.rescore("all", "few", "--ridge", "auto") == 0
    said = capsys.readouterr().out
    for run in made:
        assert f"not again, {run.run_name!r} is there already ({run.run_id})" in said
    assert [place.rescored(run.run_id)[0].run_id for run in old] == [run.run_id for run in made]


@pytest.mark.parametrize("loader", [blobs, nameless])
def test_fewer_images_are_those_of_a_smaller_probe(folder_place: Place, loader: Any) -> None:
    place, name = folder_place, loader.__name__
    whole = place.train(name, loader())
    small = place.train(f"small {name}", loader(), probe_size=20, ridge=0.02)
    assert place.rescore(whole, "--ridge", "0.02", "--images", "20") == 0
    found = place.reader(place.run(f"{name}, ridge 0.02, 20 images").run_id)
    expected = place.reader(small)
    for column in ("image_ids", "embeddings"):
        kept = getattr(found.snapshot(), column)
        assert torch.equal(kept, getattr(expected.snapshot(), column))
    # Without names, prototypes of the 20 images stand for the classes.
    assert found.config()["reference"] == ("prototype" if loader is nameless else "text")
    # The snapshot does not hold the maps of the validation before.
    assert math.isnan(last(found)["similarity/drift"])
    other = [*OF_THE_CLOCK, "similarity/drift"]
    assert_frame_equal(
        found.scalars().drop(columns=other),
        expected.scalars().iloc[-1:].drop(columns=other).reset_index(drop=True),
        rtol=1e-6,
        atol=1e-6,
    )


def test_a_named_monitor_is_rescored_as_such(folder_place: Place) -> None:
    place = folder_place
    run_id = place.train("named", blobs(24), name="aux")
    assert place.rescore("named", "--ridge", "0.1", "--name", "aux") == 0
    (made,) = place.rescored(run_id, "sing.aux.rescored_from")
    assert last(place.reader(made.run_id, "aux"))["translator/ridge"] == 0.1


def test_runs_that_compare_under_no_ridge_are_named(
    folder_place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place = folder_place
    place.train("softmax", blobs(24), invariance="softmax")
    assert place.rescore("few", "softmax", "--ridge", "0.2") == 0
    said = capsys.readouterr().err
    assert "The runs differ in invariance (logits, softmax): their scores do not compare" in said
    assert "differ in space" not in said


def test_what_cannot_be_rescored_is_refused_in_a_sentence(
    folder_place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place = folder_place
    bare = place.train("bare", blobs(24), save_snapshots=False)
    spaceless = place.train("spaceless", blobs(24), space=None)
    place.train("spaceless", blobs(24), space=None)
    few = place.run("few").run_id
    count = len(open_store(place.uri).runs())
    for arguments, said in (
        ([bare], "cannot be rescored without a snapshot: train with save_snapshots=True"),
        ([spaceless], f"run {spaceless} was monitored without a semantic space"),
        (["nobody"], "has no run of the id or name 'nobody'"),
        (["spaceless"], "2 runs have the name 'spaceless'. Give the id of one: "),
        (["few", "--images", "33"], "holds 32 images, and 33 were asked for. Give --images 32"),
        (["few", "--name", "aux"], "has no monitor 'aux'; it has none with a name"),
        # One that cannot be rescored stops the others, before anything is written.
        ([few, spaceless], "without a semantic space"),
    ):
        assert place.rescore(*arguments, "--ridge", "0.3") == 1
        assert said in capsys.readouterr().err
    assert len(open_store(place.uri).runs()) == count


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--ridge", "big"], "is 'big'; expected auto or a number"),
        (["--ridge", "1", "--images", "1"], "is '1'; expected an integer of at least 2"),
        ([], "the following arguments are required: --ridge"),
    ],
)
def test_wrong_arguments_end_with_two_and_a_sentence(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["rescore", "run", *arguments])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("ridge", "said"),
    [
        ("0", "--ridge 0: "),
        ("-1", "--ridge -1: "),
        ("nan", "--ridge nan: "),
        ("-inf", "--ridge -inf: "),
        ("1e300", "--ridge 1e+300: "),
        ("1e-300", "--ridge 1e-300: "),
    ],
)
def test_a_ridge_that_gives_no_right_numbers_is_refused_before_anything_is_read(
    ridge: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = Place(f"sqlite:///{tmp_path}/no.db", tmp_path)
    assert nowhere.rescore("run", f"--ridge={ridge}") == 1
    assert f"{said}expected 'auto' or a number from 1e-06 to 1000." in capsys.readouterr().err


def test_a_store_that_is_not_there_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert Place(f"sqlite:///{tmp_path}/no.db", tmp_path).rescore("run", "--ridge", "1") == 1
    assert "no MLflow database" in capsys.readouterr().err
