"""Maps laid over their picture."""

from __future__ import annotations

import base64
import math
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from sing_monitor.app.charts.classes import AWAY, TOWARD
from sing_monitor.app.charts.maps import SIZE, MapLabels, gray, locations, overlay

VALUES = np.array([[1.0, -4.0, 0.5], [0.0, 2.0, 3.0]])


def decoded(uri: str) -> Image.Image:
    kind, _, content = uri.partition(",")
    assert kind == "data:image/png;base64"
    return Image.open(BytesIO(base64.b64decode(content)))


def test_every_location_keeps_its_place() -> None:
    rows = locations(VALUES).set_index(["row", "column"])["value"]
    assert rows[0, 1] == -4
    assert rows[1, 2] == 3
    assert len(rows) == 6


@pytest.mark.parametrize("side", [12, 204, 900])
def test_the_picture_below_is_grey_and_of_a_fitting_size(side: int) -> None:
    colored = np.zeros((side, side, 3), np.uint8)
    colored[..., 0] = 200
    found = decoded(gray(colored))
    assert found.mode == "L"
    assert SIZE <= found.width == found.height <= 2 * SIZE


@pytest.mark.parametrize(
    ("is_signed", "domain", "last"), [(True, [-4, 0, 4], TOWARD), (False, [0, 4], None)]
)
def test_map_and_picture_share_their_sides(
    is_signed: bool, domain: list[float], last: str | None
) -> None:
    about = MapLabels("Title", ("a line",), "degrees", is_signed)
    spec = overlay(locations(VALUES), gray(np.zeros((8, 12, 3), np.uint8)), about).to_dict()
    picture, cells = spec["layer"]
    assert (spec["width"], spec["height"]) == (SIZE, SIZE * 2 // 3)
    assert [picture["encoding"][each]["value"] for each in ("x2", "y2")] == [SIZE, SIZE * 2 // 3]
    scale = cells["encoding"]["color"]["scale"]
    assert scale["domain"] == domain
    assert cells["encoding"]["color"]["legend"]["title"] == "degrees"
    if last is not None:
        assert (scale["range"][0], scale["range"][-1]) == (AWAY, last)


@pytest.mark.parametrize("value", [0.0, math.nan])
def test_a_map_without_values_has_a_scale(value: float) -> None:
    about = MapLabels("Title", (), "degrees", is_signed=True)
    spec = overlay(
        locations(np.full((2, 3), value)), gray(np.zeros((8, 8, 3), np.uint8)), about
    ).to_dict()
    assert spec["layer"][1]["encoding"]["color"]["scale"]["domain"] == [-1, 0, 1]
