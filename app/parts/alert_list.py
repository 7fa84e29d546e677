"""The alerts of the picked runs, with what each run says of its rules and of its classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from sing_monitor.app.charts.classes import HIDDEN_COLUMNS, hidden_first, leaking, named
from sing_monitor.app.charts.common import swatch
from sing_monitor.app.parts import epoch_tables
from sing_monitor.app.read import alerts, store
from sing_monitor.app.ui import states
from sing_monitor.app.ui.selection import Run
from sing_monitor.app.wording import metrics
from sing_monitor.app.wording.text import listed, plain

_LEAKS, _HIDDEN = "sing/leaking_classes", "sing/class_hidden"
_EVIDENCE = ("attribute_score_centered", "attribute_q", "attribute_deviation")


def of_runs(runs: Sequence[Run]) -> pd.DataFrame:
    """One row for each alert of each run; only runs with alerts are asked for more.

    Args:
        runs: picked.

    Returns:
        The columns of `alerts.fired_alerts`, and series. Where the rule is about hidden or
        leaking classes, the message names them.
    """
    parts = [alerts.fired_alerts("", {}).assign(series="")]
    for run in runs:
        tag = run.tag("alerts")
        if not tag:
            continue
        config = states.quietly(partial(store.config, run.source)) or {}
        found = alerts.fired_alerts(tag, alerts.alert_rules(config))
        messages = [_with_classes(run, row) for row in found.to_dict("records")]
        parts.append(found.assign(series=run.run_id, message=messages))
    return pd.concat(parts, ignore_index=True)


def show_alerts(runs: Sequence[Run], found: pd.DataFrame, marked: str = "") -> None:
    """One line with every alert; only charts of the metrics that it watches can mark it.

    Args:
        runs: picked.
        found: from `of_runs`.
        marked: where charts mark them, in words; empty if none does.
    """
    by_id = {run.run_id: run for run in runs}
    parts, messages = [], []
    for row in found.to_dict("records"):
        run = by_id[row["series"]]
        stroke = f"![{plain(run.label)}]({swatch(run.series)}) " if len(runs) > 1 else ""
        parts.append(f"{stroke}**{plain(row['alert'])}** at epoch {row['epoch']}")
        watched = listed([metrics.label(key) for key in row["keys"]])
        about = f"**{plain(row['alert'])}** ({plain(watched) or 'own rule'}): "
        messages.append(about + plain(row["message"]))
    if parts:
        where = f", marked {alerts.SIGN}{marked}" if marked else ""
        text = f":material/notifications: Alerts{where}: {' · '.join(parts)}"
        st.caption(text, help="\n\n".join(dict.fromkeys(messages)))


def _with_classes(run: Run, row: Mapping[str, Any]) -> str:
    message = str(row["message"])
    evidence = HIDDEN_COLUMNS if _HIDDEN in row["keys"] else _EVIDENCE
    is_about_classes = {_HIDDEN, _LEAKS} & set(row["keys"])
    at = epoch_tables.last_validations(run).get(row["epoch"]) if is_about_classes else None
    if at is None:
        return message
    wanted = ("class_index", "class_name", *evidence)
    table = states.quietly(partial(store.table, run.source, "classes", *at, wanted))
    if table is None or not set(wanted) <= set(table.columns):
        return message
    if evidence is _EVIDENCE:
        names = named(table)["name"][leaking(table)].tolist()
    else:
        found = hidden_first(named(table)[["class_index", "name"]], table)
        names = found["name"][found["hidden"]].tolist()
    return f"{message} At epoch {row['epoch']}: {listed(names)}." if names else message
