"""The findings of a trained model without training: those that the callback logged."""

from __future__ import annotations

import random
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from pandas.testing import assert_frame_equal
from torch import nn

import sing_monitor
from sing_monitor.offline.analyze import AnalyzedModel
from sing_monitor.space.text_embeddings import prototypes
from tests.callbacks.conftest import Run
from tests.helpers import tiny

SINCE_LAST = ("head/drift", "hierarchy/tree_change", "similarity/drift")


def analyze(model: nn.Module, loader: Any = None, **changes: Any) -> AnalyzedModel:
    arguments = {"space": tiny.HashSpace(), "cache_dir": None, "concepts": ["red", "striped"]}
    loader = tiny.loader(tiny.Blobs()) if loader is None else loader
    return sing_monitor.analyze(model, loader, **{**arguments, **changes})


@pytest.fixture(scope="module")
def found(finished_run: Run) -> AnalyzedModel:
    logged = finished_run.reader.scalars(["translator/ridge"])
    ridge = float(logged["translator/ridge"].iloc[-1])
    return analyze(finished_run.model, ridge=ridge, epoch=2, step=9, n_maps=8, layers=True)


def test_the_findings_are_those_that_the_callback_logged(
    finished_run: Run, found: AnalyzedModel
) -> None:
    logged = finished_run.reader.scalars().iloc[-1]
    # What only a training has: the weights before, the clock, the trainer's counters.
    own = {*SINCE_LAST, "monitor/seconds", "monitor/global_step", "monitor/stage"}
    own |= {key for key in logged.index if key.startswith("dynamics/")}
    keys = set(logged.index) - own - {"epoch", "global_step", "step", "timestamp"}
    assert keys <= set(found.scalars)
    for key in keys:
        assert found.scalars[key] == pytest.approx(logged[key], rel=1e-6, abs=1e-9, nan_ok=True), (
            key
        )
    assert np.isnan(found.scalars["head/drift"])
    epoch, step = finished_run.reader.validations()[-1]
    assert found.tables.keys() > {"classes", "images", "spectrum", "concepts", "class_concepts"}
    for name, table in found.tables.items():
        assert_frame_equal(
            table, finished_run.reader.table(name, epoch, step), rtol=1e-6, atol=1e-9
        )
    stored = finished_run.reader.config()
    assert {key: found.config[key] for key in ("space", "head", "class_names", "probe_size")} == {
        key: stored[key] for key in ("space", "head", "class_names", "probe_size")
    }
    assert found.thumbnails.keys() == finished_run.reader.thumbnails(found.thumbnails).keys()


def test_the_result_holds_what_explaining_and_steering_need(
    finished_run: Run, found: AnalyzedModel
) -> None:
    snapshot, translator = found.snapshot, found.translator
    assert (snapshot.epoch, snapshot.step, len(snapshot)) == (2, 9, 48)
    images = torch.stack([image for image, _ in tiny.Blobs()])  # type: ignore[attr-defined]
    with torch.no_grad():
        logits = finished_run.model.eval()(images[snapshot.sample_index])
    torch.testing.assert_close(snapshot.logits.float(), logits, rtol=1e-4, atol=1e-5)
    translated = translator(snapshot.features.double())
    assert translated.shape == snapshot.embeddings.shape
    # Ridge regression with intercept keeps the mean.
    torch.testing.assert_close(translated.mean(0), snapshot.embeddings.double().mean(0))
    assert found.texts.classes.names == tiny.CLASSES


def test_the_model_and_all_random_numbers_are_as_they_were() -> None:
    model = tiny.Classifier().train()
    model.network[1].eval()
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    states = torch.get_rng_state(), random.getstate()
    analyze(model)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert [module.training for module in model.network] == [True, False, *[True] * 5]
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_without_class_names_scores_refer_to_prototypes() -> None:
    images = torch.utils.data.TensorDataset(tiny.Blobs().images, tiny.Blobs().labels)
    with pytest.warns(UserWarning, match="class prototypes"):
        found = analyze(tiny.Classifier(), tiny.loader(images))
    assert found.tags["reference"] == "prototype"
    snapshot = found.snapshot
    expected = prototypes(snapshot.embeddings, snapshot.labels, snapshot.class_names)
    assert torch.equal(found.texts.classes.embeddings, expected.embeddings)


def test_a_loader_that_is_none_gets_its_own_sentence() -> None:
    with pytest.raises(ValueError, match="analyze needs a loader, got None"):
        sing_monitor.analyze(tiny.Classifier(), None, tiny.HashSpace())
    with pytest.raises(MisconfigurationException, match="check needs a loader, got None"):
        tiny.callback().check(tiny.Classifier(), None)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"probe_size": 1}, "^probe_size=1: expected an integer of at least 2"),
        ({"class_names": ["cat"]}, "names 1 classes, but the head has C=4"),
        ({"head": "network.9"}, "network.9"),
        ({"loader": []}, "the loader holds no image"),
        ({"loader": tiny.loader(tiny.Blobs(0))}, "the loader holds no image"),
        ({"loader": 3}, "analyze needs a loader, got int"),
        (
            {"loader": tiny.Blobs()},
            r"got the data set Blobs\. Pass DataLoader\(dataset, batch_size",
        ),
    ],
)
def test_what_cannot_be_analyzed_is_a_value_error(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        analyze(tiny.Classifier(), **changes)


@pytest.mark.parametrize("space", [tiny.HashSpace(), None], ids=["space", "no space"])
def test_a_head_of_two_outputs_lacks_only_what_two_classes_cannot_tell(space: Any) -> None:
    class Binary(tiny.Blobs):
        classes = ("animal", "thing")

        def __init__(self) -> None:
            super().__init__()
            self.labels = self.labels // 2

    model = tiny.Classifier().network
    model[-1] = nn.Linear(16, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scalars = analyze(model, tiny.loader(Binary()), space=space).scalars
    undefined = {key for key, value in scalars.items() if np.isnan(value)}
    by_others = {"sing/leaking_classes", "sing/class_deviation"} if space else set()
    # What tells two classes apart reads too few directions for the law of random heads.
    by_others |= {"sing/image_score_relative_spread"} if space else set()
    # Two classes make no hierarchy.
    undefined = {key for key in undefined if not key.startswith("hierarchy/")}
    # Zero-shot is at chance in a space that knows nothing of images.
    assert undefined - {"sing/retention", "sing/retention_seen"} == {
        *("collapse/nc2_equinorm", "collapse/nc2_equiangle", "head/drift"),
        "similarity/drift",
        *by_others,
    }
