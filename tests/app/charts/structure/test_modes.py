"""Charts of the modes of the weights: rows, shares, and the picture of the correlations."""

from __future__ import annotations

import base64
from io import BytesIO

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from sing_monitor.app.charts.structure import mode_charts, mode_rows
from tests.app import structure


def test_modes_have_sizes_and_the_layer_of_their_reference() -> None:
    modes = mode_rows.read_modes(structure.modes())
    found = mode_rows.by_mode(modes, mode_rows.read_curves(structure.mode_curves(7)))
    # Of 60 weights that move; the 20 that stand still are none of a mode.
    assert found["weights"].tolist() == [50, 10]
    assert found["share"].tolist() == pytest.approx([5 / 6, 1 / 6])
    assert found["reference"].tolist() == ["head", "stem"]


def test_every_layer_has_a_cell_for_each_mode_and_still_weights_stand_last() -> None:
    cells, columns, left_out = mode_rows.shares(mode_rows.read_modes(structure.modes()), 9)
    assert columns == ["0", "1", "still"]
    grid = cells.pivot_table(index="name", columns="column", values="share", sort=False)
    assert grid.loc["body"].tolist() == [0.5, 0, 0.5]
    assert cells.groupby("depth")["share"].sum().tolist() == [1, 1, 1]
    assert left_out == 0
    assert mode_rows.shares(mode_rows.read_modes(structure.modes()), 1)[2] == 2


def test_layers_whose_names_are_cut_to_the_same_stay_apart() -> None:
    long = [f"{'x' * 60}{end}" + "y" * 60 for end in "abc"]
    cells, *_ = mode_rows.shares(mode_rows.read_modes(structure.modes(long)), 9)
    assert cells["name"].nunique() == 3


def test_a_weight_and_its_mirror_image_are_wholly_correlated() -> None:
    rows, found = mode_rows.read_weights(structure.mode_weights())
    np.testing.assert_allclose(found[:4, :4], 1, atol=1e-6)
    line, wave = np.arange(8), np.tile([1.0, -1.0], 4)
    np.testing.assert_allclose(found[0, 4], abs(np.corrcoef(line, wave)[0, 1]), atol=1e-6)
    between = mode_rows.blocks(rows["mode"].tolist(), found)
    assert between[["top", "below", "left", "right"]].to_numpy().tolist() == [
        [0, 4, 0, 4],
        [0, 4, 4, 6],
        [4, 6, 0, 4],
        [4, 6, 4, 6],
    ]
    assert between["mean"].iloc[3] == pytest.approx(1)


@pytest.mark.parametrize("odd", [None, "line", np.nan, [1.0], [1.0, np.nan], [[1.0], [2.0]]])
def test_rows_without_a_curve_are_left_out(odd: object) -> None:
    table = structure.mode_weights()
    table["curve"] = [odd, *table["curve"][1:]]
    rows, found = mode_rows.read_weights(table)
    assert (len(rows), found.shape) == (5, (5, 5))
    assert np.isfinite(found).all()


def test_of_many_weights_so_many_are_drawn_that_modes_keep_their_shares() -> None:
    table = pd.concat([structure.mode_weights()] * 300, ignore_index=True)
    rows, found = mode_rows.read_weights(table)
    assert found.shape == (500, 500)
    assert rows["mode"].eq(0).mean() == pytest.approx(2 / 3, abs=0.01)


def test_numbers_that_are_none_are_left_out() -> None:
    table = structure.modes().astype({"share": object})
    table.loc[0, "share"] = "much"
    assert len(mode_rows.read_modes(table)) == len(table) - 1
    curves = structure.mode_curves(7)
    curves.loc[[2, 5], "value"] = [np.inf, np.nan]
    assert len(mode_rows.read_curves(curves)) == len(curves) - 2


def test_the_picture_has_a_pixel_for_each_pair_in_the_colors_of_its_scale() -> None:
    values = np.array([[0.0, 1.0], [1.0, 0.5]])
    uri = mode_charts.matrix_picture(values)
    image = Image.open(BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGB")
    assert image.size == (2, 2)
    spec = mode_charts.weight_matrix(uri, mode_rows.blocks([0, 1], values), "", "").to_dict()
    scale = spec["layer"][1]["encoding"]["color"]["scale"]
    assert (scale["domain"][0], scale["domain"][-1]) == (0, 1)
    colors = [tuple(int(each[at : at + 2], 16) for at in (1, 3, 5)) for each in scale["range"]]
    assert image.getpixel((0, 0)) == colors[0]
    assert image.getpixel((1, 0)) == image.getpixel((0, 1)) == colors[-1]


def test_curves_stand_in_rows_by_epoch_or_by_validation_where_epochs_repeat() -> None:
    curves = mode_rows.read_curves(structure.mode_curves(7))
    sizes = mode_rows.by_mode(mode_rows.read_modes(structure.modes()), curves)

    def spec(drawn: pd.DataFrame) -> dict[str, object]:
        chart = mode_charts.references(drawn, sizes, "#000000", "title", "about").to_dict()
        encoding: dict[str, object] = chart["layer"][0]["encoding"]
        return encoding

    usual = spec(curves)
    assert usual["x"]["field"] == "epoch"  # type: ignore[index]
    labels = usual["y"]["axis"]["labelExpr"]  # type: ignore[index]
    assert "mode 0 · 83%" in labels
    assert "mode 1 · 17%" in labels
    assert spec(curves.assign(epoch=curves["epoch"] // 2))["x"]["field"] == "validation"  # type: ignore[index]


def test_many_layers_have_thin_rows() -> None:
    def height(number: int) -> int:
        rows = [(0, 9 * number, each, f"layer {each}", 9, 1.0) for each in range(number)]
        table = pd.DataFrame(rows, columns=list(mode_rows.MODE_COLUMNS))
        cells, columns, _ = mode_rows.shares(mode_rows.read_modes(table), 160)
        found: int = mode_charts.layer_map(cells, columns, "", "").to_dict()["height"]
        return found

    assert height(10) < height(40) < 1300
    assert height(400) < 1300
