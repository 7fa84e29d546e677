"""What a user finds in the trainer and in MLflow after training with SINGCallback."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from torch import Tensor, nn
from torch.utils.data import Dataset

from sing_monitor import SINGCallback
from sing_monitor.analyses import CATALOGUE, analyze
from sing_monitor.findings import expand
from sing_monitor.head.geometry import HeadGeometry
from sing_monitor.inputs.batches import Batch
from sing_monitor.space.text_embeddings import Texts, concept_set, text_set
from sing_monitor.tracking import RunReader, list_runs
from tests.helpers import tiny

KEYS = list(expand(CATALOGUE))
SINCE_LAST = ["head/drift", "hierarchy/tree_change", "similarity/drift"]


def fit(folder: Path, *callbacks: L.Callback, **changes: Any) -> L.Trainer:
    trainer = tiny.trainer(folder, *callbacks, **changes)
    trainer.fit(tiny.Classifier(), tiny.loader(tiny.Blobs(seed=1)), tiny.loader(tiny.Blobs()))
    return trainer


def curve(reader: RunReader, key: str) -> list[float]:
    return reader.scalars([key])[key].tolist()


def test_every_metric_of_the_catalogue_is_logged_at_every_validation(finished_run: Any) -> None:
    scalars = finished_run.reader.scalars()
    assert set(KEYS) <= set(scalars.columns)
    assert scalars["epoch"].tolist() == [0, 1, 2]
    assert scalars["monitor/global_step"].tolist() == [3, 6, 9]
    assert set(scalars["monitor/samples"]) == {48}
    finite = scalars[KEYS].map(math.isfinite).all()
    # The first head has no predecessor, 48 images in four classes may be at chance and their
    # translators read too few directions for the law of random heads; modes need eight
    # validations, depths a reference, and compliance clusters.
    assert set(finite.index[~finite]) <= {
        *SINCE_LAST,
        "sing/image_score_relative_spread",
        "sing/retention",
        "sing/retention_seen",
        *(key for key in KEYS if key.startswith(("dynamics/", "hierarchy/"))),
    }
    assert finite[["hierarchy/clusters", "hierarchy/errors"]].all()
    assert scalars["dynamics/window"].tolist() == [1, 2, 3]
    assert scalars[SINCE_LAST].iloc[0].isna().all()
    assert scalars[SINCE_LAST].iloc[1:].notna().all(axis=None)
    assert (scalars[["head/drift", "similarity/drift"]].iloc[1:] > 0).all(axis=None)


def test_scalars_reach_the_trainer_as_they_reach_mlflow(finished_run: Any) -> None:
    last = finished_run.reader.scalars().iloc[-1]
    for key in KEYS:
        logged = float(finished_run.trainer.callback_metrics[key])
        assert logged == pytest.approx(last[key], nan_ok=True), key


def test_the_scores_are_those_of_the_features_and_the_weights(
    finished_run: Any, tmp_path: Path
) -> None:
    """The whole plumbing against a plain loop over the validation set."""
    model, data, space = finished_run.model.eval(), tiny.Blobs(), tiny.HashSpace()
    captured: list[Tensor] = []
    hook = model.network[-1].register_forward_pre_hook(lambda _, args: captured.append(args[0]))
    with torch.no_grad():
        predictions = model(data.images).argmax(dim=1)
    hook.remove()
    last = finished_run.reader.scalars().iloc[-1]
    assert last["monitor/accuracy"] == pytest.approx(
        float((predictions == data.labels).double().mean())
    )
    head = HeadGeometry.from_weight(model.network[-1].weight)
    features = captured[0].double()
    energy = head.null(features).square().sum() / features.square().sum()
    assert last["head/null_energy"] == pytest.approx(float(energy), rel=1e-5)
    angle = torch.rad2deg(
        torch.arccos(torch.cosine_similarity(features, head.principal(features), dim=1))
    ).mean()
    assert last["head/null_angle"] == pytest.approx(float(angle), rel=1e-5)
    images = finished_run.reader.table("images", 2, 9)
    assert len(images) == 48
    by_index = images.sort_values("sample_index")
    assert by_index["label"].tolist() == data.labels.tolist()
    assert by_index["prediction"].tolist() == predictions.tolist()
    assert space.dim == 10


def test_tables_read_back_equal_the_analysis_of_the_stored_snapshot(tmp_path: Path) -> None:
    space = tiny.HashSpace()
    callback = tiny.callback(space=space, save_snapshots=True)
    logger = tiny.mlflow_logger(tmp_path)
    trainer = fit(tmp_path, callback, logger=logger)
    reader = RunReader(f"sqlite:///{tmp_path / 'mlflow.db'}", str(logger.run_id))
    snapshot = reader.snapshot()
    texts = Texts(
        text_set(space, tiny.CLASSES, "an image of a {}"), concept_set(space, ["red", "striped"])
    )
    ridge = float(trainer.callback_metrics["translator/ridge"])
    findings = analyze(snapshot, texts, ridge=ridge)
    assert (snapshot.epoch, snapshot.step) == (1, 6)
    assert {"classes", "images", "concepts", "support"} <= set(findings.tables)
    for name, written in findings.tables.items():
        pd.testing.assert_frame_equal(reader.table(name, 1, 6), written)
    for key, value in findings.scalars.items():
        if key not in SINCE_LAST:
            logged = float(trainer.callback_metrics[key])
            assert logged == pytest.approx(value, rel=1e-9, nan_ok=True), key


def test_the_run_says_how_its_numbers_came_about(finished_run: Any) -> None:
    config = finished_run.reader.config()
    assert config["reference"] == "text"
    assert config["head"] == "network.6"
    assert config["class_names"] == list(tiny.CLASSES)
    assert config["space"] == "hash-space"
    runs = list_runs(finished_run.uri)
    assert runs["run_id"].tolist() == [finished_run.reader.run_id]


def test_the_softmax_as_invariant_shows_in_scores_tags_and_snapshot(tmp_path: Path) -> None:
    logger = tiny.mlflow_logger(tmp_path)
    callback = tiny.callback(invariance="softmax", save_snapshots=True, n_images=0)
    trainer = fit(tmp_path, callback, logger=logger)
    reader = RunReader(f"sqlite:///{tmp_path / 'mlflow.db'}", str(logger.run_id))
    assert trainer.callback_metrics["head/null_dim"] == 16 - (len(tiny.CLASSES) - 1)
    # The head of the epoch before is read alike.
    assert 0 < trainer.callback_metrics["head/drift"] < 1
    assert reader.config()["invariance"] == "softmax"
    assert logger.experiment.get_run(logger.run_id).data.tags["sing.invariance"] == "softmax"
    assert reader.snapshot().geometry.null_dim == 13


def test_thumbnails_are_the_movers_and_their_neighbours(finished_run: Any) -> None:
    images = finished_run.reader.table("images", 2, 9)
    movers = images[images["mover"]]
    wanted = {
        image
        for column in ("neighbours_before", "neighbours_after", "neighbours_after_centered")
        for nearest in movers[column]
        for image in nearest
    } | set(movers["image"])
    thumbnails = finished_run.reader.thumbnails(sorted(wanted))
    assert set(thumbnails) == wanted
    row = images.iloc[0]
    image = tiny.Blobs().images[row["sample_index"]].mul(255).round().permute(1, 2, 0).numpy()
    # 64 / 12 is no whole number, so enlarged pixels differ a little in weight.
    means = thumbnails[row["image"]].mean((0, 1))
    assert np.abs(means - image.mean((0, 1))).max() < 3


def test_no_picture_leaves_the_process_without_images(tmp_path: Path) -> None:
    logger = tiny.mlflow_logger(tmp_path)
    fit(tmp_path, tiny.callback(n_images=0), logger=logger, max_epochs=1)
    stored = [path.suffix for path in (tmp_path / "artifacts").rglob("*") if path.is_file()]
    assert ".parquet" in stored
    assert ".png" not in stored


def test_the_spool_is_empty_after_a_run_without_faults(tmp_path: Path) -> None:
    fit(tmp_path, tiny.callback(), logger=tiny.mlflow_logger(tmp_path))
    assert list((tmp_path / ".sing_spool").iterdir()) == []


def test_checkpoints_and_early_stopping_can_watch_a_metric_of_ours(tmp_path: Path) -> None:
    best = ModelCheckpoint(tmp_path / "best", monitor="sing/zero_shot_seen", mode="max")
    stopping = EarlyStopping("head/null_dim", patience=1, mode="min", check_finite=False)
    trainer = fit(
        tmp_path, tiny.callback(), best, stopping, enable_checkpointing=True, max_epochs=6
    )
    assert Path(best.best_model_path).is_file()
    assert math.isfinite(float(best.best_model_score))
    # The null dimension never falls, so patience runs out.
    assert trainer.current_epoch == 2


def test_early_stopping_that_would_stop_on_nan_is_named(tmp_path: Path) -> None:
    stopping = EarlyStopping("sing/retention", mode="max")
    with pytest.warns(UserWarning, match="check_finite=False"):
        fit(tmp_path, tiny.callback(), stopping, max_epochs=1)


def test_works_with_nothing_but_a_space_around_a_timm_model(tmp_path: Path) -> None:
    callback = SINGCallback(tiny.HashSpace(), cache_dir=tmp_path, on_error="raise")
    trainer = tiny.trainer(tmp_path, callback, max_epochs=1)
    data = tiny.loader(tiny.Blobs())
    trainer.fit(tiny.timm_classifier(), data, data)
    assert trainer.callback_metrics["head/rank"] == 4
    assert float(trainer.callback_metrics["sing/image_score"]) > 0


def test_a_resumed_run_goes_on_with_its_ridge_and_its_last_head(tmp_path: Path) -> None:
    train, validation = tiny.loader(tiny.Blobs(seed=1)), tiny.loader(tiny.Blobs())
    first = tiny.trainer(tmp_path, tiny.callback(), max_epochs=2, enable_checkpointing=True)
    first.fit(tiny.Classifier(), train, validation)
    first.save_checkpoint(tmp_path / "last.ckpt")
    second = tiny.trainer(tmp_path, tiny.callback(), max_epochs=3)
    second.fit(tiny.Classifier(), train, validation, ckpt_path=tmp_path / "last.ckpt")
    assert second.callback_metrics["translator/ridge"] == first.callback_metrics["translator/ridge"]
    assert 0 < float(second.callback_metrics["head/drift"]) < 1


def test_a_second_training_starts_afresh(tmp_path: Path) -> None:
    callback = tiny.callback(every_n_epochs=2)
    for _ in range(2):
        metrics = fit(tmp_path, callback, max_epochs=1).callback_metrics
        assert metrics["sing/image_score"].isfinite()
        assert metrics["head/drift"].isnan()


def test_only_every_nth_epoch_is_scored_and_the_others_are_nan(tmp_path: Path) -> None:
    logger = tiny.mlflow_logger(tmp_path)
    fit(tmp_path, tiny.callback(every_n_epochs=2), logger=logger, max_epochs=4)
    reader = RunReader(f"sqlite:///{tmp_path / 'mlflow.db'}", str(logger.run_id))
    scored = [math.isfinite(value) for value in curve(reader, "sing/image_score")]
    assert scored == [True, False, True, False]
    assert [epoch for epoch, _ in reader.validations()] == [0, 2]


def test_images_are_embedded_once(tmp_path: Path) -> None:
    space = tiny.HashSpace()
    fit(tmp_path, tiny.callback(space=space, cache_dir=tmp_path / "cache"), max_epochs=3)
    again = tiny.HashSpace()
    fit(tmp_path, tiny.callback(space=again, cache_dir=tmp_path / "cache"))
    assert space.images == 48
    # One image is embedded again to tell what a first time would cost.
    assert again.images == 1


def test_the_probe_holds_as_many_images_as_it_should(tmp_path: Path) -> None:
    space = tiny.HashSpace()
    trainer = fit(tmp_path, tiny.callback(space=space, probe_size=24), max_epochs=3)
    assert int(trainer.callback_metrics["monitor/samples"]) == 24
    # One to measure how long it takes.
    assert space.images <= 48 + 1


def test_class_prototypes_take_the_place_of_missing_names(tmp_path: Path) -> None:
    class Nameless(Dataset[Any]):
        def __init__(self) -> None:
            self.data = tiny.Blobs()

        def __len__(self) -> int:
            return len(self.data)

        def __getitem__(self, index: int) -> Any:
            return self.data[index]

    logger = tiny.mlflow_logger(tmp_path)
    trainer = tiny.trainer(tmp_path, tiny.callback(), logger=logger, max_epochs=1)
    train = tiny.loader(tiny.Blobs(seed=1))
    with pytest.warns(UserWarning, match="prototypes"):
        trainer.fit(tiny.Classifier(), train, tiny.loader(Nameless()))
    reader = RunReader(f"sqlite:///{tmp_path / 'mlflow.db'}", str(logger.run_id))
    assert reader.config()["reference"] == "prototype"
    assert math.isfinite(float(trainer.callback_metrics["sing/attribute_score"]))


def test_annotated_attributes_are_scored(tmp_path: Path) -> None:
    def adapter(batch: Any) -> Batch:
        images, labels = batch
        return Batch(images, labels, {"half": (labels // 2, ("animal", "thing"))})

    callback = tiny.callback(batch_adapter=adapter, attribute_prompts={"half": "a photo of an {}"})
    logger = tiny.mlflow_logger(tmp_path)
    trainer = fit(tmp_path, callback, logger=logger, max_epochs=1)
    for name in ("zero_shot", "zero_shot_centered", "retention", "score"):
        assert f"attribute/half_{name}" in trainer.callback_metrics
    assert 0 <= float(trainer.callback_metrics["attribute/half_zero_shot"]) <= 1
    reader = RunReader(f"sqlite:///{tmp_path / 'mlflow.db'}", str(logger.run_id))
    images = reader.table("images", 0, 3)
    halves = ["animal" if label < 2 else "thing" for label in images["label"]]
    assert images["attribute:half"].tolist() == halves


def test_two_callbacks_with_names_stay_apart(tmp_path: Path) -> None:
    """Two heads in two spaces: keys, folders, tags, config and state."""

    class TwoHeads(tiny.Classifier):
        def __init__(self) -> None:
            super().__init__()
            self.superclass = nn.Linear(16, 2)

        def forward(self, images: Tensor) -> Tensor:
            features = self.network[:-1](images)
            halves = self.superclass(features).repeat_interleave(2, dim=1)
            return self.network[-1](features) + halves

    class OtherSpace(tiny.HashSpace):
        name, dim = "other-space", 7

    def halves(batch: Any) -> Batch:
        return Batch(batch[0], batch[1] // 2)

    first = tiny.callback(head="network.6", every_n_epochs=2)
    aux = tiny.callback(
        name="aux",
        head="superclass",
        space=OtherSpace(),
        class_names=["animal", "thing"],
        batch_adapter=halves,
        concepts=[],
    )
    logger = tiny.mlflow_logger(tmp_path)
    trainer = tiny.trainer(tmp_path, first, aux, logger=logger)
    trainer.fit(TwoHeads(), tiny.loader(tiny.Blobs(seed=1)), tiny.loader(tiny.Blobs()))
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    one, two = (RunReader(uri, str(logger.run_id), name) for name in (None, "aux"))
    for reader, head, space, concepts, rank in (
        (one, "network.6", "hash-space", ["red", "striped"], 4),
        (two, "superclass", "other-space", [], 2),
    ):
        config, curves = reader.config(), reader.scalars(KEYS)
        assert (config["head"], config["space"], config["concepts"]) == (head, space, concepts)
        assert curves["head/rank"].iloc[0] == rank
        assert not curves["sing/image_score"].iloc[:1].isna().any()
    assert one.validations() == [(0, 3)]
    assert two.validations() == [(0, 3), (1, 6)]
    runs = list_runs(uri).set_index("name")
    assert set(runs["sing.head"]) == {"network.6", "superclass"}
    trainer.save_checkpoint(tmp_path / "both.ckpt")
    saved = torch.load(tmp_path / "both.ckpt", weights_only=True)["callbacks"]
    states = [saved[callback.state_key] for callback in (first, aux)]
    assert [state["last_epoch"] for state in states] == [0, 1]
    assert [len(state["head_weight"]) for state in states] == [4, 2]


def test_validate_outside_fit_is_marked_and_leaves_the_history_alone(
    finished_run: Any, tmp_path: Path
) -> None:
    callback = tiny.callback()
    trainer = tiny.trainer(Path(finished_run.trainer.default_root_dir), callback)
    results = trainer.validate(finished_run.model, tiny.loader(tiny.Blobs()), verbose=False)
    assert results[0]["monitor/stage"] == 1
    last = finished_run.reader.scalars().iloc[-1]
    assert results[0]["head/null_energy"] == pytest.approx(last["head/null_energy"], rel=1e-4)
    trainer.save_checkpoint(tmp_path / "validated.ckpt")
    saved = torch.load(tmp_path / "validated.ckpt", weights_only=True)["callbacks"]
    history = saved[callback.state_key]
    assert (history["ridge"], history["head_weight"], history["last_epoch"]) == (None, None, None)


def test_shuffling_the_validation_loader_changes_no_score(
    finished_run: Any, tmp_path: Path
) -> None:
    trainer = tiny.trainer(tmp_path, tiny.callback(layers=True))
    model = finished_run.model.double()
    results = [
        trainer.validate(model, tiny.loader(Doubled(), shuffle=shuffle), verbose=False)[0]
        for shuffle in (False, True)
    ]
    model.float()
    for key in KEYS:
        if key != "monitor/seconds":
            assert results[0][key] == pytest.approx(results[1][key], rel=1e-9, nan_ok=True), key


class Doubled(tiny.Blobs):
    """Images in double precision, so that the order of a batch leaves no rounding."""

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, label = super().__getitem__(index)
        return image.double(), label


def test_a_head_without_null_space_says_so(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Flatten(), nn.LazyLinear(3), nn.Tanh(), nn.Linear(3, 4))
    network(torch.zeros(1, 3, tiny.SIDE, tiny.SIDE))
    trainer = tiny.trainer(tmp_path, tiny.callback(), max_epochs=1)
    data = tiny.loader(tiny.Blobs())
    with pytest.warns(UserWarning, match="no null space"):
        trainer.fit(tiny.Classifier(network), data, data)
    metrics = trainer.callback_metrics
    assert float(metrics["head/null_dim"]) == 0
    assert float(metrics["sing/image_score"]) == float(metrics["sing/attribute_score"]) == 0
    assert math.isnan(float(metrics["sing/score_ratio"]))


def test_the_last_line_says_what_was_found_and_how_to_see_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fit(tmp_path, tiny.callback(), logger=tiny.mlflow_logger(tmp_path), max_epochs=1)
    message = caplog.messages[-1]
    assert "random subspace" in message
    assert f"mlflow ui --backend-store-uri sqlite:///{tmp_path / 'mlflow.db'}" in message
    assert f"sing-monitor app --tracking-uri sqlite:///{tmp_path / 'mlflow.db'}" in message
