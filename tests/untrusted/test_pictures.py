"""Pictures of others: too large ones are refused unread, and many bits are scaled to eight."""

from __future__ import annotations

import re
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sing_monitor.untrusted.pictures import load_rgb, opened, to_rgb


def saved(values: np.ndarray, path: Path) -> Path:
    Image.fromarray(values).save(path)
    return path


@pytest.mark.parametrize(
    ("values", "name", "expected"),
    [
        (np.array([[0, 300, 32896, 65535]], np.uint16), "a.png", [0, 1, 128, 255]),
        (np.array([[0, 300, 32896, 65535]], np.uint16), "a.tif", [0, 1, 128, 255]),
        (np.array([[0, 300, 32896, 65535]], np.int32), "a.tif", [0, 1, 128, 255]),
        (np.array([[0, 0.25, 0.5, 1]], np.float32), "a.tif", [0, 64, 128, 255]),
        (np.array([[0, 3, 128, 255]], np.uint8), "a.png", [0, 3, 128, 255]),
    ],
)
def test_gray_values_of_many_bits_are_scaled(
    tmp_path: Path, values: np.ndarray, name: str, expected: list[int]
) -> None:
    pixels = np.asarray(load_rgb(str(saved(values, tmp_path / name))))
    assert pixels.tolist() == [[[each] * 3 for each in expected]]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.array([[0.0, 255]], np.float32), "floating-point values go from 0 to 255"),
        (np.array([[0.0, np.nan]], np.float32), "floating-point values go from nan"),
        (np.array([[-0.5, 1]], np.float32), "from -0.5 to 1; expected 0 to 1"),
        (np.array([[0, 70000]], np.int32), "integer values go from 0 to 7e"),
        (np.array([[0, 255]], np.int32), "from 0 to 255; expected 0 to 65535"),
    ],
)
def test_values_of_which_nobody_knows_what_white_is_are_refused(
    tmp_path: Path, values: np.ndarray, said: str
) -> None:
    path = saved(values, tmp_path / "a.tif")
    with pytest.raises(ValueError, match=f"{re.escape(str(path))} cannot be used: .*{said}"):
        load_rgb(str(path))


def test_pictures_of_too_many_pixels_are_refused_before_they_are_decoded(tmp_path: Path) -> None:
    whole = BytesIO()
    Image.new("1", (10_000, 5_001)).save(whole, "PNG")
    # The pixels are cut off: whoever decoded them would stumble over that first.
    header = whole.getvalue()[:64]
    (tmp_path / "a.png").write_bytes(header)
    with pytest.raises(ValueError, match="50,010,000 pixels, and at most 50 million"):
        load_rgb(str(tmp_path / "a.png"))
    with pytest.raises(ValueError, match="50,010,000 pixels"), opened(BytesIO(header)):
        pass


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV"])
def test_other_pictures_are_as_pillow_converts_them(mode: str) -> None:
    picture = Image.effect_noise((8, 8), 60).convert("RGB").convert(mode)
    assert to_rgb(picture).tobytes() == picture.convert("RGB").tobytes()


def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"cannot be read as a picture \(UnidentifiedImageError"):
        load_rgb(str(tmp_path / "a.png"))
