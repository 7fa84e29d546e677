"""The comparison of models draws what it was given, on one pair of axes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from sing_monitor.app.charts.comparison import ComparedModel, comparison


def model(label: str, attribute: float, image: float, samples: int = 400) -> ComparedModel:
    """Images around one point, and a random subspace that moves them 10 degrees farther."""
    rng = np.random.default_rng(len(label))
    images = pd.DataFrame(
        {
            "attribute_score_centered": rng.normal(attribute, 1, samples),
            "image_score_centered": rng.normal(image, 2, samples),
            "attribute_score_random": rng.normal(attribute - 5, 1, samples),
            "image_score_random": rng.normal(image + 10, 2, samples),
        }
    )
    scalars = {
        "sing/score_ratio_centered": image / 2,
        "sing/score_ratio_random": image / 4,
        "sing/image_score_centered": image,
        "sing/image_score_random": image + 10,
        "sing/image_score_relative": image / (image + 10),
    }
    return ComparedModel(label, images, scalars)


def rows(spec: dict[str, Any], node: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame(spec["datasets"][node["data"]["name"]])


def test_both_planes_have_the_same_axes_and_their_own_clouds() -> None:
    spec = comparison([model("a", 1, 20), model("bb", -2, 35)], most_points=50).to_dict()
    head, random = spec["vconcat"][0]["hconcat"]
    domains = [
        {axis: plane["layer"][1]["encoding"][axis]["scale"]["domain"] for axis in "xy"}
        for plane in (head, random)
    ]
    assert domains[0] == domains[1]
    for plane, shift in ((head, (0, 0)), (random, (-5, 10))):
        cloud, outline, means = (rows(spec, plane["layer"][place]) for place in (1, 3, 6))
        assert cloud.groupby("series").size().to_dict() == {"a": 50, "bb": 50}
        for label, attribute, image in (("a", 1, 20), ("bb", -2, 35)):
            mean = means[means["series"] == label].iloc[0]
            assert mean["attribute"] == pytest.approx(attribute + shift[0], abs=0.3)
            assert mean["image"] == pytest.approx(image + shift[1], abs=0.5)
            # Half axes of the 95 % ellipse: sqrt(5.99) spreads.
            edge = outline[outline["series"] == label]
            assert np.ptp(edge["attribute"]) / 2 == pytest.approx(2.45 * 1, rel=0.1)
            assert np.ptp(edge["image"]) / 2 == pytest.approx(2.45 * 2, rel=0.1)


def test_bars_carry_the_numbers_and_the_random_subspace() -> None:
    spec = comparison([model("a", 1, 20), model("bb", -2, 30)]).to_dict()
    ratio, image, relative = (rows(spec, bar) for bar in spec["vconcat"][1]["hconcat"])
    assert ratio["value"].tolist() == [10, 15]
    assert ratio["random"].tolist() == [5, 7.5]
    assert image["value"].tolist() == [20, 30]
    assert image["random"].tolist() == [30, 40]
    assert relative["text"].tolist() == ["0.67", "0.75"]
    assert relative["random"].isna().all()


def test_what_random_heads_show_is_a_band_behind_the_bar() -> None:
    found = model("a", 1, 20)
    known = ComparedModel(
        "a", found.images, {**found.scalars, "sing/image_score_relative_spread": 0.25}
    )
    spec = comparison([known, model("bb", -2, 30)]).to_dict()
    *others, relative = spec["vconcat"][1]["hconcat"]
    values = rows(spec, relative)
    assert values["text"].tolist() == ["0.67 ≈", "0.75"]
    assert values["band_low"].tolist()[:1] == [0.5]
    assert values["band_high"].tolist()[:1] == [1.5]
    behind = relative["layer"][0]["encoding"]
    assert (behind["x"]["field"], behind["x2"]["field"]) == ("band_low", "band_high")
    assert relative["layer"][1]["encoding"]["x"]["scale"]["domain"][1] >= 1.5
    assert "random heads" in str(relative["title"])
    assert not any("random heads" in str(bar["title"]) for bar in others)


def test_a_model_without_scores_is_left_blank() -> None:
    blank = model("blank", 0, 0)
    blank = ComparedModel("blank", blank.images * np.nan, {"sing/score_ratio_centered": np.nan})
    spec = comparison([model("a", 1, 20), blank]).to_dict()
    head = spec["vconcat"][0]["hconcat"][0]
    assert set(rows(spec, head["layer"][1])["series"]) == {"a"}
    assert rows(spec, spec["vconcat"][1]["hconcat"][0])["text"].tolist() == ["10.00", "-"]


def test_what_rounds_to_zero_has_no_sign() -> None:
    one = model("a", 1, 20)
    models = [ComparedModel("a", one.images, {**one.scalars, "sing/class_hidden": -0.001})]
    spec = comparison(models).to_dict()
    assert rows(spec, spec["vconcat"][1]["hconcat"][0])["text"].tolist() == ["0.00"]


@pytest.mark.parametrize("labels", [[], ["a", "a"]])
def test_models_need_distinct_labels(labels: list[str]) -> None:
    with pytest.raises(ValueError, match="distinct labels"):
        comparison([model(label, 0, 10) for label in labels])
