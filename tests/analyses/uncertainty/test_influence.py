from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sing_monitor.analyses.intervals import analyze_intervals, image_columns, probe_columns
from sing_monitor.analyses.uncertainty.influence import score_influences
from sing_monitor.analyses.uncertainty.probe_influence import probe_influences
from sing_monitor.observation import Observation
from sing_monitor.snapshot import Snapshot
from sing_monitor.space.text_embeddings import TextSet
from sing_monitor.translate.parts import probes
from tests.helpers import make_snapshot, make_texts, observe


def observed(snapshot: Snapshot) -> Observation:
    return observe(snapshot, ridge=0.01)


@pytest.fixture(scope="module")
def observation() -> Observation:
    return observed(make_snapshot(samples=90, noise=2.0))


def test_every_averaged_column_has_an_influence_that_leaves_its_mean(
    observation: Observation,
) -> None:
    found, columns = score_influences(observation), image_columns(observation)
    # AS toward the true class is there twice.
    assert found.keys() == columns.keys() - {"sing/score"}
    read = probe_influences(observation)
    assert read.keys() == probe_columns(observation).keys()
    for name, values in {**found, **read}.items():
        assert values.shape == (90,), name
        assert float(values.std()) > 0, name
        assert float(values.mean()) == pytest.approx(0, abs=1e-9), name


def test_an_attribute_that_is_the_class_has_the_influence_of_the_class() -> None:
    snapshot = make_snapshot(samples=90, noise=2.0)
    texts = make_texts(snapshot)
    snapshot = replace(snapshot, attributes={"same": (snapshot.labels, snapshot.class_names)})
    texts = replace(texts, attributes={"same": texts.classes})
    observation = Observation(snapshot, texts, ridge=0.01)
    found, read = score_influences(observation), probe_influences(observation)
    same = {
        "zero_shot": "sing/zero_shot",
        "zero_shot_centered": "sing/zero_shot_centered",
        "zero_shot_seen": "sing/zero_shot_seen",
        "hidden": "sing/class_hidden",
        "score": "sing/attribute_score_centered",
    }
    for name, key in same.items():
        torch.testing.assert_close(found[f"attribute/same_{name}"], found[key])
    torch.testing.assert_close(read["attribute/same_probe_hidden"], read["probe/class_hidden"])


def test_without_a_null_space_no_image_hides_or_moves_anything() -> None:
    observation = observed(make_snapshot(classes=12, feature_dim=5))
    found = {**score_influences(observation), **probe_influences(observation)}
    for key in (
        "sing/attribute_score",
        "sing/image_score_centered",
        "sing/class_hidden",
        "probe/class_hidden",
    ):
        assert torch.equal(found[key], torch.zeros(60, dtype=torch.float64)), key
    assert float(found["sing/zero_shot"].std()) > 0


def test_a_class_without_a_text_leaves_the_others_a_reading() -> None:
    snapshot = make_snapshot()
    texts = make_texts(snapshot)
    embeddings = texts.classes.embeddings.clone()
    embeddings[1] = torch.nan
    texts = replace(texts, classes=TextSet(texts.classes.names, embeddings))
    found = score_influences(Observation(snapshot, texts, ridge=0.01))
    for key in ("sing/zero_shot", "sing/class_hidden", "sing/image_score"):
        assert found[key].isfinite().all(), key


@pytest.mark.parametrize(
    "ids", [2 * torch.arange(60), torch.tensor([1] + 59 * [2])], ids=["empty", "of one image"]
)
def test_a_fold_of_hardly_any_image_breaks_nothing(ids: torch.Tensor) -> None:
    table = analyze_intervals(observed(replace(make_snapshot(), image_ids=ids)))
    assert len(table.tables["intervals"]) > 20


def test_probes_that_judge_some_images_have_influences_on_these(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(probes, "FEWEST_JUDGED", 50)
    monkeypatch.setattr(probes, "JUDGED_PRODUCTS", 1)
    observation = observed(make_snapshot(samples=90, noise=2.0))
    judged = observation.request.judged
    found = probe_influences(observation)["probe/class_hidden"]
    assert len(judged) == len(found) < 90
    assert float(found.std()) > 0
    assert float(found.mean()) == pytest.approx(0, abs=1e-9)
