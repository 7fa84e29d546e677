"""Known numbers: what the authors' published functions and checkpoints give."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from sing_monitor.head.geometry import HeadGeometry
from sing_monitor.scores.angles import attribute_score, image_score, text_cosines, to_degrees
from sing_monitor.translate.cross_fit import CrossFit
from sing_monitor.translate.nonlinear import load_translator
from sing_monitor.translate.steering import steer
from sing_monitor.translate.translator import LinearTranslator
from tests.helpers import normal

REFERENCE = Path(__file__).parent / "data" / "sing_reference.npz"
PUBLISHED = Path(__file__).parents[2] / "shared" / "golden"
# Where nothing moves, the reference holds the noise of arccos around the exact 0.
CASES = {
    "wide": 1e-6,
    "rank_deficient": 1e-6,
    "resnet_like": 1e-6,
    "more_classes_than_features": 2e-6,
}


def load(case: str) -> dict[str, Tensor]:
    with np.load(REFERENCE) as file:
        return {
            key.partition("/")[2]: torch.from_numpy(file[key])
            for key in file.files
            if key.startswith(f"{case}/")
        }


def published(name: str) -> Path:
    path = PUBLISHED / name
    if not path.exists():
        pytest.skip(f"{name} is not beside this checkout; it is not part of the repository")
    return path


def test_the_reference_holds_these_cases() -> None:
    with np.load(REFERENCE) as file:
        assert {key.partition("/")[0] for key in file.files} == set(CASES)


@pytest.mark.parametrize("case", CASES)
def test_rank_and_principal_part(case: str) -> None:
    data = load(case)
    head = HeadGeometry.from_weight(data["weight"], atol=1e-5)
    assert head.rank == int(data["rank"])
    assert HeadGeometry.from_weight(data["weight"]).rank == int(data["rank"])
    torch.testing.assert_close(
        head.remove_null(data["features"]), data["principal"], atol=1e-9, rtol=1e-9
    )


@pytest.mark.parametrize(("case", "tolerance"), CASES.items())
def test_scores(case: str, tolerance: float) -> None:
    data = load(case)
    head = HeadGeometry.from_weight(data["weight"], atol=1e-5)
    translator = LinearTranslator(data["translator_weight"], data["translator_bias"])
    pair = translator(data["features"]), translator(head.remove_null(data["features"]))
    check(pair, data, tolerance)


@pytest.mark.parametrize(("case", "tolerance"), CASES.items())
def test_scores_along_the_path_of_the_analysis(case: str, tolerance: float) -> None:
    data = load(case)
    head = HeadGeometry.from_weight(data["weight"], atol=1e-5)
    translator = LinearTranslator(data["translator_weight"], data["translator_bias"])
    folds, means = torch.arange(len(data["features"])) & 1, torch.zeros(2, len(translator.bias))
    fit = CrossFit((translator, translator), folds, 1.0, means)
    pairs = fit.translate(data["features"], head, data["features"].mean(dim=0))
    check((pairs.original, pairs.removed), data, tolerance)


def check(pair: tuple[Tensor, Tensor], data: dict[str, Tensor], tolerance: float) -> None:
    torch.testing.assert_close(image_score(*pair), data["image_score"], atol=tolerance, rtol=0)
    torch.testing.assert_close(
        attribute_score(*pair, data["text"]), data["attribute_score"], atol=tolerance, rtol=0
    )


def test_the_published_translator_loads_and_translates() -> None:
    state = torch.load(published("translator_dinovit1.pt"), weights_only=True)
    translator = LinearTranslator.from_state_dict(state)
    assert translator.weight.shape == (768, 1024)
    blank = LinearTranslator(torch.zeros(768, 1024), torch.zeros(768))
    blank.load_state_dict(state)
    features = normal(5, 1024, seed=0).float()
    assert torch.equal(blank(features), translator(features))
    assert torch.equal(blank(torch.zeros(1024)), state["bias"])


def test_the_published_concepts_score() -> None:
    state = torch.load(published("translator_dinovit1.pt"), weights_only=True)
    with np.load(published("attributes_broden_fp16.npz"), allow_pickle=False) as file:
        concepts, prompts = file["classes"].tolist(), file["prompts"].tolist()
        texts = torch.from_numpy(file["embeddings"][:, prompts.index("mean")]).double()
    assert len(concepts) == 173
    assert texts.shape == (173, 768)
    translator = LinearTranslator.from_state_dict(state).double()
    head = HeadGeometry.from_weight(normal(100, 1024, seed=1))
    features = normal(8, 1024, seed=2)
    original, equivalent = translator(features), translator(head.remove_null(features))
    moved = image_score(original, equivalent)
    assert ((moved > 1) & (moved < 90)).all()
    fast = to_degrees(text_cosines(original, texts)) - to_degrees(text_cosines(equivalent, texts))
    for k in range(0, 173, 20):
        one = attribute_score(original, equivalent, texts[k])
        assert (one.abs() <= moved).all()
        torch.testing.assert_close(fast[:, k], one, atol=1e-9, rtol=0)
    assert float(fast.abs().max()) > 0.1


def test_the_published_translator_steers_toward_the_published_concepts() -> None:
    translator = load_translator(torch.load(published("translator_dinovit1.pt"), weights_only=True))
    assert isinstance(translator, LinearTranslator)
    with np.load(published("attributes_broden_fp16.npz"), allow_pickle=False) as file:
        texts = torch.from_numpy(file["embeddings"][::20, -1]).double()
    weight, features = normal(100, 1024, seed=1), normal(len(texts), 1024, seed=2)
    moved = steer(features, translator, HeadGeometry.from_weight(weight), texts)
    torch.testing.assert_close(moved.image_score, torch.full_like(moved.step, 40))
    assert (moved.attribute_score > 0).all()
    torch.testing.assert_close(moved.features @ weight.T, features @ weight.T, atol=1e-9, rtol=0)
