from __future__ import annotations

import base64
import tomllib
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from sing_monitor.app.charts.common import (
    PALETTE,
    RANDOM_COLOR,
    SeriesStyle,
    alt_text,
    chart_title,
    color,
    dash,
    swatch,
)

CONFIG = Path(__file__).resolve().parents[3] / "app" / ".streamlit" / "config.toml"
# Machado, Oliveira, Fernandes 2009, severity 1, on linear RGB.
EYES = {
    "usual": np.eye(3),
    "protanopia": np.array(
        [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]]
    ),
    "deuteranopia": np.array(
        [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]]
    ),
    "tritanopia": np.array(
        [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]]
    ),
}


def linear(color: str) -> NDArray[np.float64]:
    rgb = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def luminance(color: str) -> float:
    return float(linear(color) @ [0.2126, 0.7152, 0.0722])


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def oklab(rgb: NDArray[np.float64]) -> NDArray[np.float64]:
    to_cones = [[0.4122, 0.5363, 0.0514], [0.2119, 0.6807, 0.1074], [0.0883, 0.2817, 0.63]]
    to_lab = [[0.2105, 0.7936, -0.0041], [1.978, -2.4286, 0.4506], [0.0259, 0.7828, -0.8087]]
    return np.array(to_lab) @ np.cbrt(np.array(to_cones) @ np.clip(rgb, 0, 1))


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_color_stands_out_on_the_background(theme: str) -> None:
    background = tomllib.loads(CONFIG.read_text())["theme"][theme]["backgroundColor"]
    assert min(contrast(each, background) for each in PALETTE) >= 2.95
    assert contrast(RANDOM_COLOR, background) >= 4


@pytest.mark.parametrize("eyes", EYES)
def test_colors_differ_for_all_eyes(eyes: str) -> None:
    seen = [oklab(EYES[eyes] @ linear(each)) for each in PALETTE]
    assert min(np.linalg.norm(a - b) for a, b in combinations(seen, 2)) > 0.07


def test_the_theme_has_the_same_colors() -> None:
    config = tomllib.loads(CONFIG.read_text())
    assert tuple(config["theme"]["chartCategoricalColors"]) == PALETTE


def test_the_app_is_private() -> None:
    config = tomllib.loads(CONFIG.read_text())
    assert config["server"]["address"] == "127.0.0.1"
    assert config["browser"]["gatherUsageStats"] is False


SERIES = [
    SeriesStyle("a", "run a", "#111111"),
    SeriesStyle("b", "run b", "#222222", is_baseline=True),
]


def test_color_and_dash_follow_the_series() -> None:
    found = color(SERIES)
    assert found["scale"] == {"domain": ["a", "b"], "range": ["#111111", "#222222"]}
    assert found["legend"] is None
    assert dash(SERIES)["scale"]["range"] == [[1, 0], [6, 4]]


def test_empty_lines_of_a_title_are_left_out() -> None:
    assert "subtitle" not in chart_title("x", "", "")
    assert chart_title("x", "", "y")["subtitle"] == ["y"]


def test_alt_text_names_the_runs() -> None:
    assert alt_text("AS", SERIES) == "AS; 2 runs: run a and run b (baseline)."
    assert alt_text("AS", SERIES * 3).endswith(
        "6 runs: run a, run b (baseline), run a, run b (baseline) and others."
    )


def test_a_swatch_is_a_picture_with_the_color() -> None:
    def svg(series: SeriesStyle) -> str:
        return base64.b64decode(swatch(series).partition(",")[2]).decode()

    run, baseline, repeat = (
        svg(SeriesStyle("a", "", "#123456", **look))
        for look in ({}, {"is_baseline": True}, {"variant": 1})
    )
    assert run.startswith("<svg")
    assert "#123456" in run
    assert 'stroke-dasharray="1 0"' in run
    assert 'stroke-dasharray="6 4"' in baseline
    assert "<path" in repeat
    assert "<path" not in run + baseline
