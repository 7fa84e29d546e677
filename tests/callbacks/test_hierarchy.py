"""The hierarchy of classes in a training: asked for by name, kept for the next validation."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from sing_monitor.analyses.hierarchy.reference import describe_reference
from sing_monitor.tracking import RunReader, list_runs
from tests.helpers import tiny

HIERARCHY = {"cat": "animal", "dog": "animal", "ship": ["machine"], "Tree": []}
RESOLVED = {"cat": ("animal",), "dog": ("animal",), "ship": ("machine",), "tree": ()}


def train(folder: Path, **options: object) -> str:
    store = f"{folder}/runs"
    monitor = tiny.callback(tracking=store, hierarchy=HIERARCHY, on_error="raise", **options)
    tiny.trainer(folder, monitor, num_sanity_val_steps=0).fit(
        tiny.Classifier(), tiny.loader(tiny.Blobs(32)), tiny.loader(tiny.Blobs(40, seed=1))
    )
    return store


@pytest.mark.parametrize("space", ["own", None])
def test_the_numbers_and_tables_are_read_back(tmp_path: Path, space: str | None) -> None:
    store = train(tmp_path, **({"space": None} if space is None else {}))
    (run,) = list_runs(store).to_dict("records")
    expected = describe_reference(list(RESOLVED), RESOLVED)
    reader = RunReader(store, run["run_id"])
    assert run["sing.hierarchy"] == reader.config()["hierarchy"] == expected
    scalars = reader.scalars()
    depths = scalars["hierarchy/similarity_depth"]
    assert all(1 <= depth <= 2 for depth in depths)
    assert math.isnan(scalars["hierarchy/tree_change"][0])
    assert 0 <= scalars["hierarchy/tree_change"][1] <= 1
    assert ("hierarchy/soft_depth" in scalars) == (space is not None)
    epoch, step = reader.validations()[-1]
    edges = reader.table("class_edges", epoch, step)
    assert set(edges["class_a"]) | set(edges["class_b"]) == set(tiny.CLASSES)
    kin = edges[(edges["class_a"] == "cat") & (edges["class_b"] == "dog")]
    assert kin["ancestor"].tolist() == ["animal"]
    assert kin["depth"].tolist() == [2]
    tree = edges[edges["in_tree"]]
    assert depths.iloc[-1] == pytest.approx(tree["depth"].mean())
    assert reader.table("class_graph", epoch, step)["class"].tolist() == list(tiny.CLASSES)
    shown = {image for side in ("images_a", "images_b") for of in edges[side] for image in of}
    assert shown
    if space is not None:  # Without one, no pixels are restored, and there are no pictures.
        assert shown <= reader.thumbnails(sorted(shown)).keys()


def test_a_hierarchy_of_other_classes_is_refused(tmp_path: Path) -> None:
    monitor = tiny.callback(hierarchy={"cat": "animal", "unicorn": "animal"})
    with pytest.raises(Exception, match="'unicorn' is no class"):
        tiny.trainer(tmp_path, monitor).fit(
            tiny.Classifier(), tiny.loader(tiny.Blobs(32)), tiny.loader(tiny.Blobs(40, seed=1))
        )
