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

_PLANE_SIDE = 400
_BAR_WIDTH = 190
_KINDS = {
    "_centered": (
        "What the head cannot see is removed",
        "each point an image, each ellipse 95 % of a model's images; good: high, narrow around 0",
    ),
    "_random": (
        "A random subspace of the same size is removed",
        "what any subspace would show: a model says something only where it differs",
    ),
}
_BARS = {
    "score_ratio": ("IS / |AS|", "higher is better; gray: random subspace"),
    "image_score": ("IS, degrees", "gray: random subspace"),
    "image_score_relative": (
        "IS over that of a random subspace",
        "1: it moves as much meaning as any",
    ),
}


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
    model with its ratio and its IS. All of the centered pair, whose baseline is known: left of it
    the head's null space, right of it, and as gray ticks, random subspaces of the same size. A
    cross marks models of which more than a tenth of the images are out of support.

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
    clouds = {suffix: _cloud(models, suffix) for suffix in _KINDS}
    outlines = {suffix: _outlines(cloud) for suffix, cloud in clouds.items()}
    means = {suffix: _means(models, cloud, suffix) for suffix, cloud in clouds.items()}
    # One pair of axes for both planes: that is what makes them comparable.
    attribute, image = ranges(pd.concat(means.values()), pd.concat(outlines.values()))
    planes = [
        plane(
            sample(clouds[suffix], most_points),
            outlines[suffix],
            means[suffix],
            PlaneLabels(title, about, attribute, image),
            series,
        ).properties(width=_PLANE_SIDE, height=_PLANE_SIDE)
        for suffix, (title, about) in _KINDS.items()
    ]
    columns = [
        bars(_heights(models, name), _around(models, name), series).properties(width=_BAR_WIDTH)
        for name in _BARS
    ]
    return alt.vconcat(alt.hconcat(*planes), alt.hconcat(*columns))


def _cloud(models: Sequence[ComparedModel], suffix: str) -> pd.DataFrame:
    """Columns series, attribute, image, outside; images without scores are left out."""
    columns = {f"attribute_score{suffix}": "attribute", f"image_score{suffix}": "image"}
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


def _means(models: Sequence[ComparedModel], cloud: pd.DataFrame, suffix: str) -> pd.DataFrame:
    """A path of one point for each model."""
    means = cloud.groupby("series", sort=False)[["attribute", "image"]].mean().reset_index()
    about = {"label": means["series"], "epoch": 0, "order": 0, "is_chosen": True}
    far = {model.label: model.scalars.get(f"support/outside{suffix}", np.nan) for model in models}
    unknown = dict.fromkeys(
        (f"{name}_{what}" for name in ("attribute", "image") for what in ("std", "low", "high")),
        np.nan,
    )
    return means.assign(**about, **unknown, outside=means["series"].map(far))


def _heights(models: Sequence[ComparedModel], name: str) -> pd.DataFrame:
    """The bars of one number: the centered pair's, and the random one's where there is one."""
    rows = []
    for model in models:
        key = f"sing/{name}"
        value = model.scalars.get(f"{key}_centered", model.scalars.get(key, np.nan))
        random = model.scalars.get(f"{key}_random", np.nan)
        text = f"{value:.2f}" if np.isfinite(value) else "-"
        outside = model.scalars.get("support/outside_centered", np.nan)
        rows.append((model.label, model.label, value, random, text, outside))
    columns = ["series", "label", "value", "random", "text", "outside"]
    return pd.DataFrame(rows, columns=columns).assign(low=np.nan, high=np.nan)


def _around(models: Sequence[ComparedModel], name: str) -> BarLabels:
    title, about = _BARS[name]
    longest = _heights(models, name)[["value", "random"]].max(axis=None)
    return BarLabels(title, about, float(longest) if np.isfinite(longest) else 1.0)
