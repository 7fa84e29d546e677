"""The list of analyses: what follows from it, what runs without a space, and one more of them."""

from __future__ import annotations

import importlib
import json
import math
import os
import pkgutil
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pandas as pd
import pytest
import torch

import sing_monitor
from sing_monitor import analyses
from sing_monitor.analyses import ANALYSES, CATALOGUE, GROUPS, TABLES, analyze, catalogue_of
from sing_monitor.analyses.analysis import Analysis, Need
from sing_monitor.analyses.monitor_metrics import MONITOR_METRICS
from sing_monitor.errors import SetupError
from sing_monitor.findings import ColumnSpec, Findings, TableSpec, expand
from sing_monitor.head.geometry import HeadGeometry
from sing_monitor.snapshot import Snapshot
from tests.helpers import make_snapshot, make_texts, make_trajectory, normal, with_maps

ROOT = Path(__file__).parents[2]
UNITS = {"deg", "share", "count", "ratio", "cosine", "s", "1"}


def without_space(snapshot: Snapshot) -> Snapshot:
    return replace(snapshot, embeddings=None)


def test_names_of_analyses_and_tables_are_given_once() -> None:
    names = [analysis.name for analysis in ANALYSES]
    assert len(set(names)) == len(names)
    assert len(TABLES) == sum(len(analysis.tables) for analysis in ANALYSES)
    assert all(name == spec.name for name, spec in TABLES.items())


def test_every_column_says_what_it_holds() -> None:
    for spec in TABLES.values():
        assert spec.title
        assert spec.plain.endswith(".")
        names = [column.name for column in spec.columns]
        assert len(set(names)) == len(names)
        for column in spec.columns:
            assert column.unit in UNITS | {""}, (spec.name, column.name)
            assert column.plain.endswith("."), (spec.name, column.name)


def test_every_group_is_one_value() -> None:
    assert all(spec.group == GROUPS[spec.key.partition("/")[0]] for spec in CATALOGUE)
    assert list(GROUPS)[-1] == "monitor"


def test_what_a_run_without_a_space_logs_is_measured_in_none() -> None:
    logged = {spec.key for spec in analyses.catalogue_of({"labels", "maps", "weights"})}
    assert logged == {spec.key for spec in CATALOGUE} - analyses.IN_SPACE
    assert {key.partition("/")[0] for key in logged} == {
        *("head", "collapse", "layers", "probe", "attribute", "hierarchy", "similarity"),
        *("focus", "dynamics", "monitor"),
    }
    attributes = {key for key in logged if key.startswith("attribute/")}
    assert attributes == {
        f"attribute/{{attribute}}_probe_{part}" for part in ("hidden", "whole", "seen", "null")
    }


@pytest.mark.parametrize("ridge", [0.0, math.inf, 1e300, 1e-300])
def test_a_ridge_that_gives_no_right_numbers_is_refused(ridge: float) -> None:
    snapshot = make_snapshot()
    with pytest.raises(SetupError, match="expected 'auto' or a number from 1e-06 to 1000"):
        analyses.analyze(snapshot, make_texts(snapshot), ridge=ridge)


@pytest.mark.parametrize("feature_dim", [12, 300])
@pytest.mark.parametrize("attributes", [True, False])
def test_each_analysis_returns_what_its_specs_say(feature_dim: int, attributes: bool) -> None:
    snapshot = with_maps(make_snapshot(feature_dim=feature_dim, noise=20))
    if not attributes:
        snapshot = replace(snapshot, attributes={}, sample_index=None)
    names = ["colour"] if attributes else []
    observation = analyses.Observation(
        snapshot, make_texts(snapshot), ridge=0.01, trajectory=make_trajectory()
    )
    for analysis in ANALYSES:
        found = analysis.run(observation)
        assert found.scalars.keys() == expand(analysis.metrics, names).keys(), analysis.name
        assert found.tables.keys() == {spec.name for spec in analysis.tables}, analysis.name


def test_without_a_space_everything_else_keeps_its_numbers() -> None:
    snapshot = make_snapshot()
    previous = HeadGeometry.from_weight(snapshot.weight + normal(4, 12, seed=9))
    found = analyze(without_space(snapshot), None, previous_head=previous, ridge=0.1)
    whole = analyze(snapshot, make_texts(snapshot), previous_head=previous, ridge=0.1)
    groups = {key.partition("/")[0] for key in found.scalars}
    assert groups == {"head", "collapse", "layers", "probe", "attribute", "hierarchy"}
    shared = {key: whole.scalars[key] for key in found.scalars}
    assert found.scalars == pytest.approx(shared, rel=0, abs=0, nan_ok=True)
    assert 0 < found.scalars["head/drift"] < 1
    own = ("spectrum", "probe_classes", "class_edges", "class_graph")
    assert found.tables.keys() == {*own, "intervals"}
    for name in own:
        pd.testing.assert_frame_equal(found.tables[name], whole.tables[name])
    intervals = found.tables["intervals"].set_index("key")
    assert list(intervals.index) == ["probe/class_hidden", "attribute/colour_probe_hidden"]
    shared = whole.tables["intervals"].set_index("key").loc[list(intervals.index)]
    pd.testing.assert_frame_equal(intervals, shared)


def test_the_keys_of_a_run_are_those_of_its_analyses() -> None:
    snapshot = with_maps(make_snapshot())
    assert catalogue_of(get_args(Need)) == CATALOGUE
    logged = set(expand(catalogue_of({"labels", "maps", "weights"}), ["colour"]))
    found = analyze(without_space(snapshot), None, trajectory=make_trajectory())
    of_the_monitor = {spec.key for spec in MONITOR_METRICS}
    assert of_the_monitor < logged
    assert logged - of_the_monitor == found.scalars.keys()


def test_without_a_space_few_images_are_analyzed_in_coordinates() -> None:
    snapshot = make_snapshot(samples=40, feature_dim=300)
    texts = make_texts(snapshot)
    found = analyze(without_space(snapshot), None, ridge=0.1).scalars
    whole = analyze(snapshot, texts, ridge=0.1).scalars
    assert dict(found) == pytest.approx({key: whole[key] for key in found}, nan_ok=True)
    assert found["head/null_dim"] == 296


def table_of(column: str) -> Analysis:
    spec = TableSpec("lengths", "Lengths", "An image.", (ColumnSpec("length", "1", "|f|."),))

    def run(observation: analyses.Observation) -> Findings:
        lengths = observation.snapshot.features.norm(dim=1).numpy()
        return Findings(tables={"lengths": pd.DataFrame({column: lengths})})

    return Analysis("lengths", run, tables=(spec,))


def test_a_table_that_is_not_as_its_spec_says_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = without_space(make_snapshot())
    for column, table in (("length", "lengths"), ("size", "lengths"), ("length", "others")):
        one = table_of(column)
        monkeypatch.setattr(analyses, "ANALYSES", (one,))
        monkeypatch.setattr(analyses, "TABLES", {table: replace(one.tables[0], name=table)})
        if (column, table) == ("length", "lengths"):
            found = analyze(snapshot, None).tables["lengths"]
            assert torch.equal(torch.tensor(found["length"]), snapshot.features.norm(dim=1))
        else:
            with pytest.raises(ValueError, match=r"table 'lengths' has the columns|without a spec"):
                analyze(snapshot, None)


TOY = '''"""How long features are: a toy."""

from __future__ import annotations

from sing_monitor.analyses.analysis import Analysis
from sing_monitor.findings import ColumnSpec, Findings, MetricGroup, MetricSpec, TableSpec
from sing_monitor.observation import Observation

TOY = MetricGroup("toy", "Toys")
METRICS = (
    MetricSpec("toy/length", "Length", "1", "none", "mean |f|", "ours", "How long.", TOY),
)
TABLE = TableSpec(
    "toy_images", "Toy images", "A toy of an image.", (ColumnSpec("length", "1", "|f|."),)
)


def analyze_toy(observation: Observation) -> Findings:
    from pandas import DataFrame

    lengths = observation.snapshot.features.double().norm(dim=1)
    table = DataFrame({"length": lengths.numpy()})
    return Findings({"toy/length": float(lengths.mean())}, {"toy_images": table})


ANALYSIS = Analysis("toy", analyze_toy, METRICS, (TABLE,))
'''

ASKED = """
import importlib
import json
from dataclasses import replace
import sing_monitor
from sing_monitor.analyses import CATALOGUE, GROUPS, IN_SPACE, TABLES, analyze, catalogue_of
from sing_monitor.findings import complete, markdown_table, markdown_tables
from tests.helpers import make_snapshot, make_texts

snapshot = make_snapshot()
found = analyze(snapshot, make_texts(snapshot), ridge=0.1)
bare = analyze(replace(snapshot, embeddings=None), None)
print(json.dumps({
    "package": sing_monitor.__file__,
    "logged": complete(found.scalars, CATALOGUE, ["colour"])["toy/length"],
    "without space": complete(bare.scalars, catalogue_of({"labels"}), ["colour"])["toy/length"],
    "length": float(snapshot.features.norm(dim=1).mean()),
    "table": len(bare.tables["toy_images"]),
    "readme": markdown_table(CATALOGUE, IN_SPACE) + markdown_tables(TABLES.values()),
    "group": GROUPS["toy"].title,
}))
"""


def test_an_analysis_is_one_file_and_one_entry(tmp_path: Path) -> None:
    package = tmp_path / "sing_monitor"
    shutil.copytree(
        Path(sing_monitor.__file__).parent,
        package,
        ignore=shutil.ignore_patterns("__pycache__", "app", "callbacks"),
    )
    (package / "analyses" / "toy.py").write_text(TOY)
    listed = package / "analyses" / "__init__.py"
    text = listed.read_text()
    text = text.replace("    translator,\n)", "    toy,\n    translator,\n)", 1)
    text = text.replace("(\n    refits.ANALYSIS,", "(\n    toy.ANALYSIS,\n    refits.ANALYSIS,")
    listed.write_text(text)
    answered = subprocess.run(
        [sys.executable, "-c", ASKED],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (tmp_path, ROOT)))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answered.returncode == 0, answered.stderr
    found = json.loads(answered.stdout)
    assert Path(found["package"]).is_relative_to(tmp_path)
    assert found["logged"] == found["without space"] == pytest.approx(found["length"])
    assert found["table"] == 60
    assert "| `toy/length` | How long. |" in found["readme"]
    assert "| `toy_images` | A toy of an image. |" in found["readme"]
    assert found["group"] == "Toys"


def test_no_room_of_the_analyses_is_hidden_by_an_import() -> None:
    rooms = [found.name for found in pkgutil.iter_modules(analyses.__path__) if found.ispkg]
    assert {"dynamics", "focus", "hierarchy", "layers", "similarity"} <= set(rooms)
    for room in rooms:
        module = importlib.import_module(f"{analyses.__name__}.{room}")
        assert getattr(analyses, room) is module
