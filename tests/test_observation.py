from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from sing_monitor.findings import Findings
from sing_monitor.observation import Observation
from sing_monitor.scores.pairs import CENTERED, PAIRS
from sing_monitor.space.text_embeddings import TextSet
from tests.helpers import (
    make_snapshot,
    make_texts,
    observe,
    reorder,
    scored_of,
)


def test_what_is_derived_is_worked_out_once() -> None:
    observation = observe(make_snapshot(), ridge=0.1)
    assert observation.fit is observation.fit
    assert observation.scores is observation.scores
    assert tuple(observation.scores) == PAIRS
    calls = []

    def derive(observed: Observation) -> Findings:
        calls.append(observed)
        return Findings({"toy/one": 1.0})

    assert observation.once(derive) is observation.once(derive)
    assert calls == [observation]
    # Of another observation, the result is another.
    observe(make_snapshot()).once(derive)
    assert len(calls) == 2


def test_every_reading_is_of_the_centered_pair() -> None:
    observation = observe(make_snapshot(), ridge=0.1)
    assert list(observation.readings) == ["sing/", "attribute/colour_"]
    reading = observation.readings["sing/"]
    assert torch.equal(reading.attribute, observation.scores[CENTERED].attribute)
    assert (reading.choices, len(reading.before), len(reading.after)) == (4, 60, 60)


def test_without_a_space_what_translates_is_refused() -> None:
    snapshot = replace(make_snapshot(), embeddings=None)
    observation = Observation(snapshot)
    assert not observation.has_space
    assert observation.varying > 0
    with pytest.raises(ValueError, match="taken without a semantic space"):
        observation.fit  # noqa: B018
    with pytest.raises(ValueError, match="needs texts"):
        observation.class_texts  # noqa: B018
    with pytest.raises(ValueError, match="texts but no image embeddings"):
        Observation(snapshot, make_texts(make_snapshot()))


def test_without_a_space_no_image_and_no_number_are_refused_too() -> None:
    snapshot = replace(make_snapshot(), embeddings=None)
    broken = snapshot.features.clone()
    broken[7, 3] = math.nan
    with pytest.raises(ValueError, match="features of 1 of 60 images hold NaN"):
        Observation(replace(snapshot, features=broken))
    with pytest.raises(ValueError, match="the probe holds no image"):
        Observation(replace(reorder(make_snapshot(), torch.zeros(0).long()), embeddings=None))


@pytest.mark.parametrize("name", ["features", "embeddings"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_values_that_are_not_finite_are_counted(name: str, value: float) -> None:
    snapshot = make_snapshot()
    texts = make_texts(snapshot)
    broken = getattr(snapshot, name).clone()
    broken[[3, 3, 50], [0, 1, 2]] = value
    with pytest.raises(ValueError, match=f"{name} of 2 of 60 images hold NaN or infinite"):
        scored_of(replace(snapshot, **{name: broken}), texts)


def test_a_probe_without_images_is_refused() -> None:
    snapshot = make_snapshot()
    texts = make_texts(snapshot)
    with pytest.raises(ValueError, match="the probe holds no image"):
        scored_of(reorder(snapshot, torch.zeros(0).long()), texts)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"classes": TextSet(tuple("abc"), torch.ones(3, 8))},
            "classes: the snapshot names 4, but there are 3 texts",
        ),
        (
            {"attributes": {"colour": TextSet(tuple("ab"), torch.ones(2, 8))}},
            "attribute 'colour': the snapshot names 3, but there are 2 texts",
        ),
        (
            {
                "classes": TextSet(tuple("abcd"), torch.ones(4, 7)),
                "concepts": None,
                "attributes": {},
            },
            "texts have 7 dimensions, image embeddings 8",
        ),
    ],
)
def test_texts_that_do_not_fit_are_refused(change, message: str) -> None:
    snapshot = make_snapshot()
    with pytest.raises(ValueError, match=message):
        scored_of(snapshot, replace(make_texts(snapshot), **change))
