"""The table of all runs, and what the last numbers of a run say in words; pure functions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import pandas as pd

from sing_monitor.app.charts.common import SeriesStyle, swatch
from sing_monitor.app.read.alerts import alert_summary
from sing_monitor.app.read.curves import best_values, long_table
from sing_monitor.app.wording import metrics
from sing_monitor.app.wording.run_reading import NO_REFERENCE
from sing_monitor.app.wording.support_marks import MARK, MARKED_ABOVE
from sing_monitor.app.wording.text import one_line
from sing_monitor.headline import HIDDEN, HIDDEN_BY_PROBES, KEPT, leading_key
from sing_monitor.tracking import shown_address

# Rows of the table, each with its curves: of so many runs all are shown, of more a page at a time.
MOST_AT_ONCE, ROWS = 50, 25
REFIT = (HIDDEN, KEPT)
PROBES = (HIDDEN_BY_PROBES, "probe/class_seen")
# What leads where runs of earlier versions have nothing of the above.
SCORES = (
    "sing/attribute_score_centered",
    "sing/image_score_centered",
    "sing/score_ratio_centered",
    "sing/retention",
)
DEGREES = SCORES[:2]
# What stands for the scores of runs without a semantic space.
HEAD = ("head/null_dim", "head/null_energy_centered", "collapse/null_share_between")
ACCURACY = "monitor/accuracy"
# One number of each further group, at the right end of the table.
FURTHER = ("layers/effective_rank", "focus/entropy", "dynamics/explained_excess")
CURVES = (HIDDEN, HIDDEN_BY_PROBES, *DEGREES, HEAD[1], ACCURACY)
# Shown as they are; those of a run that does not say it are empty.
_TAGS = ("model", "way", "head", "space", "reference")
# Cards show these, by what leads; the sentence below them needs the rest.
HEADLINES = {
    HIDDEN: (*REFIT, ACCURACY, "sing/hidden_classes"),
    HIDDEN_BY_PROBES: (*PROBES, ACCURACY, HEAD[1]),
}
HEADLINE = (SCORES[0], "sing/image_score_relative", "sing/retention", ACCURACY)
HEADLINE_WITHOUT_SPACE = (*HEAD, ACCURACY)


def card_metrics(row: Mapping[str, Any], *, has_space: bool) -> tuple[str, ...]:
    """The metrics of a run's card; those of an earlier version where it has no others.

    Args:
        row: of the listing.
        has_space: whether the run was watched with a semantic space.
    """
    first = leading_key(row)
    if first is None:
        return HEADLINE if has_space else HEADLINE_WITHOUT_SPACE
    return tuple(key for key in HEADLINES[first] if math.isfinite(row.get(key, math.nan)))


def table_metrics(listing: pd.DataFrame) -> tuple[str, ...]:
    """The metrics of the table, as the runs have them: what leads, the accuracy, the others.

    Args:
        listing: the rows to show, at least one.
    """
    rows = listing.to_dict("records")
    is_without = without_space(listing)
    first = {leading_key(row) for row in rows}
    keys = [*(REFIT if HIDDEN in first else ()), *(PROBES if HIDDEN_BY_PROBES in first else ())]
    if keys:
        keys.append(ACCURACY)
    has_older = not is_without.all() and (
        HIDDEN not in first or any(leading_key(row) is None and _is_scored(row) for row in rows)
    )
    if not is_without.all():
        keys += SCORES if has_older else DEGREES
    if is_without.any():
        keys += HEAD
    return tuple(dict.fromkeys([*keys, ACCURACY]))


def further_metrics(listing: pd.DataFrame) -> tuple[str, ...]:
    """The further metrics that a run of the listing has."""
    return tuple(key for key in FURTHER if key in listing and listing[key].notna().any())


def _is_scored(row: Mapping[str, Any]) -> bool:
    return math.isfinite(row.get(SCORES[0], math.nan))


def without_space(listing: pd.DataFrame) -> pd.Series[bool]:
    """Which runs were watched without a semantic space."""
    tags = listing.get("sing.reference", pd.Series("", listing.index))
    return tags.eq(NO_REFERENCE)


def has_best(key: str) -> bool:
    """Whether a column shows the best value: where one direction is good.

    The least hidden share is no feat: what cannot be read, in the beginning, is not hidden.
    """
    return metrics.better(key) != "none" and key not in HEADLINES


def has_interval(key: str) -> bool:
    """Whether a column shows the interval, which the headline scores have."""
    return key in (*REFIT, *PROBES, *SCORES)


def matching(listing: pd.DataFrame, words: str) -> pd.DataFrame:
    """Rows that hold every word, in any case, in name, id, experiment, status or tags."""
    if not words.strip():
        return listing
    columns = ["run_name", "run_id", "experiment", "status"]
    columns += [column for column in listing if str(column).startswith("sing.")]
    texts = (listing[column].fillna("").astype(str) for column in columns)
    text = pd.Series(map(" ".join, zip(*texts, strict=True)), listing.index, dtype=str).str.lower()
    keep = pd.Series(True, index=listing.index)
    for word in words.lower().split():
        keep &= text.str.contains(word, regex=False)
    return listing[keep]


def best_first(listing: pd.DataFrame, key: str) -> pd.DataFrame:
    """Rows by the last value of a metric: the best first, or the highest where none is good.

    Runs without a number come last; equals stay in their order.
    """
    is_rising = metrics.better(key) == "lower"
    return listing.sort_values(key, ascending=is_rising, kind="stable", na_position="last")


def runs_table(
    listing: pd.DataFrame,
    histories: Mapping[str, pd.DataFrame],
    series: Iterable[SeriesStyle],
    links: Mapping[str, str] | None = None,
    intervals: Mapping[tuple[str, str], str] | None = None,
) -> pd.DataFrame:
    """One row for each run, as the page Runs shows it; column names are keys of its settings.

    Args:
        listing: rows to show, with ``label`` and ``origin``.
        histories: by run id, from `training_history`; runs without one show last values only.
        series: the picked runs.
        links: address of each run in the MLflow UI.
        intervals: of the last values in words, by run id and metric.
    """
    strokes = {each.key: swatch(each, height=28) for each in series}
    keys, further = table_metrics(listing), further_metrics(listing)
    best = best_values(long_table(histories, keys, labels=dict.fromkeys(histories, "")))
    best_of = best.set_index(["series", "metric"])["value"].to_dict()
    rows = [
        _row(row, keys, histories.get(row["run_id"]), best_of, strokes, links, intervals or {})
        | {f"{key} last": row.get(key, math.nan) for key in further}
        for row in listing.to_dict("records")
    ]
    return pd.DataFrame(rows, index=listing.index)


def _row(
    row: Mapping[str, Any],
    keys: Sequence[str],
    history: pd.DataFrame | None,
    best_of: Mapping[tuple[str, str], float],
    strokes: Mapping[str, str],
    links: Mapping[str, str] | None,
    intervals: Mapping[tuple[str, str], str],
) -> dict[str, object]:
    run, share = row["run_id"], row.get(metrics.support_of(SCORES[0]) or "", math.nan)
    # What is looked at first comes first: the others lie beyond the right edge.
    found: dict[str, object] = {"color": strokes.get(run, ""), "run": row["label"]}
    for key in keys:
        found[f"{key} last"] = row.get(key, math.nan)
        if key in HEADLINES:
            found[f"{key} interval"] = intervals.get((run, key), "")
    found["mark"] = MARK if share > MARKED_ABOVE else ""
    found["outside"] = share
    found["alerts"] = alert_summary(row.get("sing.alerts"))
    found["origin"] = row["origin"]
    found["status"] = str(row["status"]).lower()
    found["epochs"] = None if history is None or history.empty else history["epoch"].nunique()
    for key in (key for key in CURVES if key in keys):
        # The table draws no gaps, and takes a missing number for an error.
        curve = [] if history is None or key not in history else history[key].dropna().tolist()
        found[f"{key} curve"] = curve
    found |= {f"{key} best": best_of.get((run, key), math.nan) for key in keys if has_best(key)}
    later = [key for key in keys if has_interval(key) and key not in HEADLINES]
    found |= {f"{key} interval": intervals.get((run, key), "") for key in later}
    found["started"] = row["start_time"]
    found |= {tag: _tag(row, tag) for tag in _TAGS}
    found["experiment"] = one_line(str(row["experiment"]))
    found["monitor"] = row["name"] or ""
    if links:
        found["mlflow"] = links.get(run, "")
    return found


def _tag(row: Mapping[str, Any], key: str) -> str:
    value = row.get(f"sing.{key}")
    return one_line(value) if isinstance(value, str) else ""


def mlflow_links(uri: str, listing: pd.DataFrame) -> dict[str, str]:
    """Where the MLflow UI shows each run; nothing unless the store is a web server.

    A name and password in the URI are left out: the page must not show them.
    """
    if not uri.startswith(("http://", "https://")):
        return {}
    root = shown_address(uri).rstrip("/")
    return {
        run: f"{root}/#/experiments/{quote(str(experiment), safe='')}/runs/{quote(run, safe='')}"
        for run, experiment in zip(listing["run_id"], listing["experiment_id"], strict=True)
    }
