"""Models side by side: the plane of their scores, the same of a random subspace, and ratio bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import altair as alt
import numpy as np
import pandas as pd

from sing_monitor.app.charts.bars import BarLabels, bars
from sing_monitor.app.charts.common import PALETTE, SeriesStyle
from sing_monitor.app.charts.tradeoff import (
    MOST_POINTS,
    PlaneLabels,
    ellipse,
    plane,
    ranges,
    sample,
)
from sing_monitor.app.wording import degrees, metrics, random_heads
from sing_monitor.scores.pairs import CENTERED, RANDOM, Pair

_PLANE_SIDE = 400
_BAR_WIDTH = 190
_PLANES = {
    CENTERED: (
        "What the head cannot see is removed",
        "each point an image, each ellipse 95 % of a model's images",
    ),
    RANDOM: (
        "A random subspace of the same size is removed",
        "what any subspace would show: a model says something only where it differs",
    ),
}
_BARS = (
    *("sing/class_hidden", "sing/score_ratio_centered"),
    *("sing/image_score_centered", "sing/image_score_relative"),
)


@dataclass(frozen=True)
class ComparedModel:
    """One model of a comparison.

    Args:
        label: its name.
        images: the table ``images`` of one validation.
        scalars: the metrics of the same validation, by catalogue key.
    """

    label: str
    images: pd.DataFrame
    scalars: Mapping[str, float]


def comparison(models: Sequence[ComparedModel], most_points: int = MOST_POINTS) -> alt.VConcatChart:
    """The joint distribution of AS and IS by model, for the head and for a random subspace.

    Above, two planes with the same axes: a cloud of images for each model with the ellipse that
    covers 95 % of them (chi-squared, 2 degrees of freedom) and their mean. Below, a bar for each
    model with the share of images that hide their class, if it was measured, its ratio and its IS.
    All degrees of the centered pair, whose baseline is known: left of it the head's null space,
    right of it, and as gray ticks, random subspaces of the same size. A cross marks models of which
    more than a tenth of the images are out of support; a line under the titles says where ridge or
    probe size differ so much that degrees do not compare.

    Args:
        models: at least one, with distinct labels; all of one data set and one semantic space.
        most_points: how many images of each model are drawn; the ellipses stand on all of them.

    Returns:
        A chart, for a notebook or for ``chart.save("models.png")``.

    Raises:
        ValueError: no model, or two of one label.
    """
    labels = [model.label for model in models]
    if not models or len(set(labels)) < len(labels):
        raise ValueError(f"models need distinct labels, and there must be one; got {labels}.")
    series = [
        SeriesStyle(label, label, PALETTE[place % len(PALETTE)])
        for place, label in enumerate(labels)
    ]
    clouds = {pair: _cloud(models, pair) for pair in _PLANES}
    outlines = {pair: _outlines(cloud) for pair, cloud in clouds.items()}
    means = {pair: _means(models, cloud, pair) for pair, cloud in clouds.items()}
    caveat = degrees.caveat([model.scalars for model in models])
    # One pair of axes for both planes: that is what makes them comparable.
    attribute, image = ranges(pd.concat(means.values()), pd.concat(outlines.values()))
    planes = [
        plane(
            sample(clouds[pair], most_points),
            outlines[pair],
            means[pair],
            PlaneLabels(title, about, attribute, image, caveat),
            series,
        ).properties(width=_PLANE_SIDE, height=_PLANE_SIDE)
        for pair, (title, about) in _PLANES.items()
    ]
    columns = [
        bars(_heights(models, key), _around(models, key), series).properties(width=_BAR_WIDTH)
        for key in _BARS
        if any(np.isfinite(model.scalars.get(key, np.nan)) for model in models)
    ]
    return alt.vconcat(alt.hconcat(*planes), alt.hconcat(*columns))


def _cloud(models: Sequence[ComparedModel], pair: Pair) -> pd.DataFrame:
    """Columns series, attribute, image, outside; images without scores are left out."""
    columns = {pair.named("attribute_score"): "attribute", pair.named("image_score"): "image"}
    parts = [
        model.images[list(columns)]
        .rename(columns=columns)
        .assign(series=model.label, outside=False)
        for model in models
    ]
    return pd.concat(parts, ignore_index=True).dropna().reset_index(drop=True)


def _outlines(cloud: pd.DataFrame) -> pd.DataFrame:
    nothing = pd.DataFrame(columns=["attribute", "image", "order", "series"])
    parts = [
        ellipse(of_model["attribute"], of_model["image"]).assign(series=label)
        for label, of_model in cloud.groupby("series", sort=False)
    ]
    return pd.concat(parts, ignore_index=True) if parts else nothing


def _means(models: Sequence[ComparedModel], cloud: pd.DataFrame, pair: Pair) -> pd.DataFrame:
    """A path of one point for each model."""
    means = cloud.groupby("series", sort=False)[["attribute", "image"]].mean().reset_index()
    about = {"label": means["series"], "epoch": 0, "order": 0, "is_chosen": True}
    far = {
        model.label: model.scalars.get(pair.named("support/outside"), np.nan) for model in models
    }
    unknown = dict.fromkeys(
        (f"{name}_{what}" for name in ("attribute", "image") for what in ("std", "low", "high")),
        np.nan,
    )
    return means.assign(**about, **unknown, outside=means["series"].map(far))


def _heights(models: Sequence[ComparedModel], key: str) -> pd.DataFrame:
    """The bars of one number, and the same of a random subspace where there is one."""
    beside = {"random": metrics.baseline_of(key), "outside": metrics.support_of(key)}
    spread = metrics.spread_of(key) or ""
    rows = []
    for model in models:
        value = model.scalars.get(key, np.nan)
        text = f"{value:z.2f}" if np.isfinite(value) else "-"
        band = random_heads.beside(value, model.scalars.get(spread, np.nan), text)
        row = {"series": model.label, "label": model.label, "value": value, **band}
        rows.append(
            row | {name: model.scalars.get(other or "", np.nan) for name, other in beside.items()}
        )
    return pd.DataFrame(rows).assign(low=np.nan, high=np.nan)


def _around(models: Sequence[ComparedModel], key: str) -> BarLabels:
    about = [metrics.DIRECTIONS[metrics.better(key)] or metrics.unit(key)]
    about += ["gray: random subspace"] if metrics.baseline_of(key) else []
    heights = _heights(models, key)
    about += [random_heads.BAND_RULE] if heights["band_low"].notna().any() else []
    longest = heights[["value", "random", "band_high"]].max(axis=None)
    length = float(longest) if np.isfinite(longest) else 1.0
    caveat = degrees.caveat([model.scalars for model in models]) if degrees.move(key) else ""
    return BarLabels(metrics.short_label(key), " · ".join(about), length, caveat)
