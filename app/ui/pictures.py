"""Pictures as the PNG files that Streamlit sends, made once."""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def png(pixels: NDArray[np.uint8], width: int, repeats: int = 1) -> bytes:
    """A picture as a PNG file of at most a width.

    Args:
        pixels: (H, W, 3).
        width: in pixels; larger pictures are made smaller, as Streamlit does at each look.
        repeats: of each pixel in both directions, before that.
    """
    return _png(pixels.tobytes(), pixels.shape, width, repeats)


# By what is on it: two cards often show the same image.
@lru_cache(maxsize=512)
def _png(pixels: bytes, shape: tuple[int, ...], width: int, repeats: int) -> bytes:
    array = np.frombuffer(pixels, dtype=np.uint8).reshape(shape)
    picture = Image.fromarray(array.repeat(repeats, axis=0).repeat(repeats, axis=1))
    if picture.width > width:
        height = int(picture.height * width / picture.width)
        picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    file = BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()
