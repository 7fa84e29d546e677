from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from sing_monitor.app.ui.pictures import png


@pytest.mark.parametrize(("repeats", "size"), [(1, (8, 4)), (4, (20, 10))])
def test_a_picture_keeps_its_shape_and_is_no_wider_than_asked(
    repeats: int, size: tuple[int, int]
) -> None:
    pixels = np.random.default_rng(0).integers(256, size=(4, 8, 3), dtype=np.uint8)
    found = Image.open(BytesIO(png(pixels, 20, repeats)))
    assert (found.format, found.size) == ("PNG", size)
    if repeats == 1:
        assert np.asarray(found).tolist() == pixels.tolist()
    assert png(pixels.copy(), 20, repeats) is png(pixels, 20, repeats)
