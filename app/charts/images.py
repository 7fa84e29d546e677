"""Which images moved most, and how the scores of one of them go over training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import get_args

import altair as alt
import pandas as pd

from sing_monitor.app.charts.common import LINE_WIDTH, RANDOM_COLOR, chart_title
from sing_monitor.app.wording.removals import Removal, suffix

SCORES = {"AS": "attribute_score", "IS": "image_score"}
RIGHT, WRONG = "right", "wrong"
# Title, axis and legend, which Streamlit counts in, take more than half of it.
_HEIGHT = 300


@dataclass(frozen=True)
class ScoreLabels:
    """A column of the table of images, and what a chart says around it.

    Args:
        column: of the table.
        title: for people.
        about: unit and sign, in words.
    """

    column: str
    title: str
    about: str


def column(score: str, removal: Removal) -> str:
    """The column of a score.

    Example::

        >>> column("AS", "centered"), column("IS", "raw")
        ('attribute_score_centered', 'image_score')
    """
    return SCORES[score] + suffix(removal)


# Of both scores and both removals.
COLUMNS = tuple(column(score, removal) for score in SCORES for removal in get_args(Removal))


def ranked(table: pd.DataFrame, score: str) -> pd.DataFrame:
    """The rows that have the score, those of largest magnitude first.

    Args:
        table: ``images`` of one validation.
        score: a column of it.
    """
    known = table[table[score].notna()]
    return known.loc[known[score].abs().sort_values(ascending=False, kind="stable").index]


def history_of(image: str, tables: Mapping[int, pd.DataFrame]) -> pd.DataFrame:
    """The scores of one image at every epoch.

    Args:
        image: its id.
        tables: ``images`` by epoch.

    Returns:
        Columns epoch, verdict (right or wrong), prediction and the scores of `SCORES`, raw and
        centered, as far as the tables hold them; no row where the image was not in the probe.
    """
    rows = []
    for epoch, table in sorted(tables.items()):
        for row in table[table["image"] == image].head(1).to_dict("records"):
            verdict = RIGHT if row["label"] == row["prediction"] else WRONG
            scores = {name: row[name] for name in COLUMNS if name in row}
            rows.append(
                {"epoch": epoch, "verdict": verdict, "prediction": row["prediction"], **scores}
            )
    return pd.DataFrame(rows, columns=["epoch", "verdict", "prediction", *_present(COLUMNS, rows)])


def history(values: pd.DataFrame, score: ScoreLabels, color: str, at_epoch: int) -> alt.LayerChart:
    """The score of one image against the epoch; a cross where the prediction is wrong.

    Args:
        values: from `history_of`, with the class's name as ``prediction``.
        score: which one.
        color: of the run.
        at_epoch: marked by a vertical line.
    """
    x = alt.X(
        "epoch:Q",
        title="epoch",
        axis=alt.Axis(format="d", tickMinStep=1),
        scale=alt.Scale(nice=False, padding=12),
    )
    y = alt.Y(
        f"{score.column}:Q",
        title="degrees",
        axis=alt.Axis(format=".6~g", tickCount=5),
        scale=alt.Scale(zero=False),
    )
    shape = alt.Shape(
        "verdict:N",
        scale=alt.Scale(domain=[RIGHT, WRONG], range=["circle", "cross"]),
        legend=alt.Legend(title="prediction", orient="bottom"),
    )
    tooltip = [
        alt.Tooltip("epoch:Q", title="epoch", format="d"),
        alt.Tooltip(f"{score.column}:Q", title=score.title, format=".2f"),
        alt.Tooltip("prediction:N", title="prediction"),
        alt.Tooltip("verdict:N", title="which is"),
    ]
    base = alt.Chart().encode(x=x, y=y)
    line = base.mark_line(strokeWidth=LINE_WIDTH, color=color, invalid="break-paths-show-domains")
    points = base.transform_filter(f"isValid(datum.{score.column})").mark_point(
        filled=True, size=70, opacity=1, color=color
    )
    rules = [_rule("epoch:Q", at_epoch, [3, 3])]
    if values[score.column].min() < 0 < values[score.column].max():
        rules.append(_rule(f"{score.column}:Q", 0, [1, 0], is_level=True))
    return alt.LayerChart(
        data=values,
        layer=[*rules, line, points.encode(shape=shape, tooltip=tooltip)],
        title=chart_title(score.title, score.about),
        height=_HEIGHT,
    )


def _rule(field: str, at: float, dash: list[int], *, is_level: bool = False) -> alt.Chart:
    name = field.partition(":")[0]
    rule = alt.Chart(pd.DataFrame({name: [at]})).mark_rule(
        strokeWidth=1, strokeDash=dash, color=RANDOM_COLOR
    )
    return rule.encode(y=alt.Y(field)) if is_level else rule.encode(x=alt.X(field))


def _present(names: Iterable[str], rows: list[dict[str, object]]) -> list[str]:
    return [name for name in names if any(name in row for row in rows)]
