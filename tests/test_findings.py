from __future__ import annotations

import math

import pandas as pd
import pytest
import torch

from sing_monitor.analyses import CATALOGUE
from sing_monitor.findings import (
    ColumnSpec,
    Findings,
    MetricGroup,
    MetricSpec,
    TableSpec,
    check_tables,
    complete,
    expand,
    markdown_table,
    markdown_tables,
    named_key,
)

GROUP = MetricGroup("a", "A")


def spec(key: str, formula: str = "x") -> MetricSpec:
    return MetricSpec(key, "Label", "deg", "higher", formula, "ours", "What it tells.", GROUP)


SPECS = (spec("a/one"), spec("attribute/{attribute}_score"), spec("b/two"))


def test_findings_merge() -> None:
    first = Findings({"a/one": 1.0}, {"left": pd.DataFrame({"x": [1]})})
    second = Findings({"b/two": 2.0}, {"right": pd.DataFrame({"y": [2]})})
    both = first | second
    assert both.scalars == {"a/one": 1.0, "b/two": 2.0}
    assert both.tables.keys() == {"left", "right"}
    assert first.scalars == {"a/one": 1.0}


def test_what_is_kept_and_pictured_merges() -> None:
    first = Findings(kept={"a/x": torch.ones(2)}, pictured=frozenset({"01"}))
    second = Findings(kept={"b/x": torch.zeros(1)}, pictured=frozenset({"01", "02"}))
    both = first | second
    assert both.kept.keys() == {"a/x", "b/x"}
    assert both.pictured == {"01", "02"}
    with pytest.raises(ValueError, match="a/x"):
        first | first


@pytest.mark.parametrize(
    "other", [Findings({"a/one": 1.0}), Findings(tables={"left": pd.DataFrame()})]
)
def test_findings_that_hide_each_other_do_not_merge(other: Findings) -> None:
    findings = Findings({"a/one": 1.0}, {"left": pd.DataFrame()})
    with pytest.raises(ValueError, match=r"two analyses report (a/one|left)"):
        findings | other


def test_placeholders_are_filled_with_every_attribute() -> None:
    assert list(expand(SPECS)) == ["a/one", "b/two"]
    assert list(expand(SPECS, ["ink", "back_2"])) == [
        "a/one",
        "attribute/ink_score",
        "attribute/back_2_score",
        "b/two",
    ]


@pytest.mark.parametrize("name", ["", "Ink", "ink colour", "ink/colour", "ünk", "a\n", "{x}"])
def test_an_attribute_name_that_fits_no_key_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be part of a metric key"):
        expand(SPECS, [name])


def test_a_key_given_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="'a/one' twice"):
        expand((*SPECS, spec("a/one")))
    with pytest.raises(ValueError, match="'attribute/ink_score' twice"):
        expand(SPECS, ["ink", "ink"])


def test_complete_gives_every_key_and_nan_where_there_is_none() -> None:
    values = complete({"b/two": 2}, SPECS, ["ink"])
    assert list(values) == ["a/one", "attribute/ink_score", "b/two"]
    assert values["b/two"] == 2.0
    assert isinstance(values["b/two"], float)
    assert math.isnan(values["a/one"])
    assert math.isnan(values["attribute/ink_score"])


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_complete_passes_nothing_infinite(value: float) -> None:
    assert math.isnan(complete({"a/one": value}, SPECS)["a/one"])


def test_complete_refuses_what_nobody_explains() -> None:
    with pytest.raises(ValueError, match="not in the metric catalogue: a/zero"):
        complete({"a/one": 1.0, "a/zero": 0.0}, SPECS)
    with pytest.raises(ValueError, match="attribute/ink_score"):
        complete({"attribute/ink_score": 0.0}, SPECS)


def test_the_name_of_a_callback_joins_the_group() -> None:
    assert named_key("sing/image_score", None) == "sing/image_score"
    assert named_key("sing/image_score", "aux") == "sing.aux/image_score"


def test_the_catalogue_as_markdown() -> None:
    lines = markdown_table(
        [spec("a/one", formula="mean |AS|"), spec("b/two")], {"a/one"}
    ).splitlines()
    assert len(lines) == 4
    assert lines[2] == r"| `a/one` | What it tells. | deg | ↑ |  | mean \|AS\| | ours |"
    assert "| ↑ | ✓ |" in lines[3]


def test_the_catalogue_is_complete_and_every_entry_tells_what_it_is() -> None:
    catalogue = expand(CATALOGUE, ["colour"])
    assert len(catalogue) == len(CATALOGUE)
    for key, entry in catalogue.items():
        assert key.count("/") == 1
        assert entry.unit in {"deg", "share", "count", "ratio", "cosine", "s", "1"}
        assert entry.better in {"higher", "lower", "none"}
        assert all((entry.label, entry.formula, entry.source, entry.plain))
        assert entry.plain.endswith(".")
    assert {key.partition("/")[0] for key in catalogue} == {
        "sing",
        "attribute",
        "head",
        "translator",
        "meaning",
        "probe",
        "support",
        "collapse",
        "steer",
        "perturb",
        "hierarchy",
        "dynamics",
        "similarity",
        "focus",
        "layers",
        "monitor",
    }
    labels = [entry.label for entry in CATALOGUE]
    assert len(set(labels)) == len(labels)


def test_what_a_metric_is_read_beside_is_in_the_catalogue_too() -> None:
    catalogue = {entry.key: entry for entry in CATALOGUE}
    compared = [entry for entry in CATALOGUE if entry.baseline is not None]
    marked = [entry for entry in CATALOGUE if entry.support is not None]
    assert {"sing/image_score_centered", "head/null_energy_centered"} <= {e.key for e in compared}
    assert {"sing/image_score", "attribute/{attribute}_score"} <= {e.key for e in marked}
    for entry in compared:
        baseline = catalogue[entry.baseline]
        assert (baseline.unit, baseline.group) == (entry.unit, entry.group)
        assert baseline.baseline is None
    for entry in marked:
        assert catalogue[entry.support].group.name == "support"
    shorts = [entry.short for entry in CATALOGUE if entry.short]
    assert len(set(shorts)) == len(shorts)
    assert all(len(entry.short) <= len(entry.label) for entry in CATALOGUE)


TABLE = TableSpec(
    "images",
    "Images",
    "An image.",
    (
        ColumnSpec("image", "", "Its name."),
        ColumnSpec("place", "", "Where it is.", is_optional=True),
        ColumnSpec("attribute:{attribute}", "", "Its value."),
        ColumnSpec("score", "deg", "Its score."),
    ),
)


def frame(*columns: str) -> pd.DataFrame:
    return pd.DataFrame(columns=list(columns))


def test_a_table_of_the_columns_of_its_spec_is_let_through() -> None:
    check_tables({}, [TABLE])
    check_tables({"images": frame("image", "score")}, [TABLE])
    check_tables({"images": frame("image", "place", "score")}, [TABLE])
    two = frame("image", "attribute:ink", "attribute:back", "score")
    check_tables({"images": two}, [TABLE], ["ink", "back"])


@pytest.mark.parametrize(
    "columns",
    [
        ("image",),
        ("score", "image"),
        ("image", "score", "other"),
        ("image", "attribute:ink", "score"),
    ],
)
def test_a_table_of_other_columns_is_refused(columns: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"'images' has the columns .*; its TableSpec says image"):
        check_tables({"images": frame(*columns)}, [TABLE])


def test_a_table_that_nobody_explains_is_refused() -> None:
    with pytest.raises(ValueError, match="tables without a spec: others"):
        check_tables({"others": frame("image")}, [TABLE])


def test_the_tables_as_markdown() -> None:
    assert markdown_tables([TABLE]).splitlines()[2:] == ["| `images` | An image. |"]
