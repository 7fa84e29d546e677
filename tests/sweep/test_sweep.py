"""Public architectures: the layer that is watched is the one that gives the answer, or a refusal.

A small sample runs with the suite; all of them, and the page about them, with `make sweep`.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from tests.sweep.case import Case
from tests.sweep.catalogue import NOT_RUN, all_cases
from tests.sweep.hugging import transformers_models
from tests.sweep.sweep import Row, run
from tests.sweep.table import page
from tests.sweep.verdict import Verdict
from tests.sweep.vision import timm_models, torchvision_models

PAGE = Path(__file__).parents[2] / "docs" / "heads.md"
CASES = all_cases()
# Small ones of every kind, and the layer that answers; None where no one layer does.
SAMPLE = {
    "timm-test_resnet": "fc",
    "timm-test_vit": "head",
    "timm-test_efficientnet": "classifier",
    "timm-test_convnext": "head.fc",
    "torchvision-shufflenet_v2_x0_5": "fc",
    "torchvision-squeezenet1_1": None,
    "transformers-ViTForImageClassification": "classifier",
    "transformers-DeiTForImageClassificationWithTeacher": None,
    "transformers-ImageGPTForImageClassification": "model.score",
    "transformers-LevitForImageClassificationWithTeacher": None,
    "transformers-MobileViTForImageClassification": "classifier",
    "transformers-PerceiverForImageClassificationFourier": "perceiver.decoder.decoder.final_layer",
    "transformers-SwiftFormerForImageClassification": None,
}


@pytest.fixture(scope="session")
def rows() -> Generator[list[Row], None, None]:
    """What was found; it becomes the page once every architecture had its turn."""
    found: list[Row] = []
    yield found
    if len(found) == len(CASES):
        PAGE.write_text(page(found), "utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_architecture_is_right_or_refused(case: Case, rows: list[Row]) -> None:
    row = run(case)
    if row.reason:
        row = Row(row.library, row.key, reason=NOT_RUN.get(str(case), row.reason))
    rows.append(row)
    assert not row.reason or str(case) in NOT_RUN, row.reason
    assert not row.faults, _faults(row)


@pytest.mark.parametrize("name", SAMPLE)
def test_a_sample_is_right_or_refused(name: str) -> None:
    cases = [*timm_models(["test_resnet", "test_vit", "test_efficientnet", "test_convnext"])]
    cases += torchvision_models() + transformers_models()
    row = run({str(case): case for case in cases}[name])
    assert not row.reason, row.reason
    assert row.heads == tuple(filter(None, [SAMPLE[name]]))
    assert not row.faults, _faults(row)
    expected = Verdict.REFUSED if SAMPLE[name] is None else Verdict.RIGHT
    if SAMPLE[name] is None:
        assert {each.verdict for each in row.outcomes.values()} == {expected}


def _faults(row: Row) -> str:
    lines = [f"{way}: {each.verdict} {each.head} {each.words}" for way, each in row.faults.items()]
    return "\n".join([f"{row.model}, answered by {row.heads or 'no one layer'}", *lines])
