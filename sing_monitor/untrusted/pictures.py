"""Pictures of any format, refused by their header when they are too large to decode."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from os import PathLike

    from PIL.Image import Image

MOST_PIXELS = 50_000_000
_TOO_LARGE = (
    f"it has {{}} pixels, and at most {MOST_PIXELS / 1e6:.0f} million are decoded. Make it smaller."
)
_SIXTEEN_BITS = 65535


@contextmanager
def opened(source: str | PathLike[str] | IO[bytes]) -> Iterator[Image]:
    """A picture whose header was read, for the length of the block; its pixels are not yet decoded.

    Raises:
        ValueError: if it has more than `MOST_PIXELS` pixels, or decoding it in the block fails.
    """
    from PIL import Image

    try:
        with Image.open(source) as file:
            pixels = file.width * file.height
            if pixels > MOST_PIXELS:
                raise ValueError(_TOO_LARGE.format(f"{pixels:,}"))
            yield file
    except ValueError:
        raise
    except Image.DecompressionBombError as error:
        raise ValueError(_TOO_LARGE.format("far too many")) from error
    # Pillow's plugins raise whatever their format makes them stumble over.
    except Exception as error:
        raise ValueError(f"it cannot be read as a picture ({type(error).__name__})") from error


def to_rgb(picture: Image) -> Image:
    """The picture in 8 bits of red, green and blue, as Pillow converts it; transparency is dropped.

    Gray values of more than 8 bits are scaled, where Pillow would clip them: 16 bits from
    0..65535, and floating point from 0..1.

    Raises:
        ValueError: if such values have another range, so that nobody knows what white is.
    """
    from PIL import Image

    if picture.mode != "F" and not picture.mode.startswith("I"):
        return picture.convert("RGB")
    values = np.asarray(picture, dtype=np.float64)
    white = 1.0 if picture.mode == "F" else float(_SIXTEEN_BITS)
    low, high = float(values.min()), float(values.max())
    # 32 bits that hold 8 would turn black.
    is_eight = picture.mode == "I" and 1 < high <= 255
    if not (low >= 0 and high <= white) or is_eight:
        kind = "floating-point" if picture.mode == "F" else "integer"
        raise ValueError(
            f"its {kind} values go from {low:.4g} to {high:.4g}; expected 0 to {white:.0f}. "
            "Save it with 8 bits a channel."
        )
    gray = np.round(255 * values / white).astype(np.uint8)
    return Image.fromarray(gray).convert("RGB")


def load_rgb(path: str) -> Image:
    """A file of a data set, as torchvision's ``loader=`` takes it.

    Raises:
        ValueError: if it is no picture, has too many pixels, or values of an unknown range.
    """
    try:
        with opened(path) as file:
            return to_rgb(file)
    except ValueError as error:
        raise ValueError(f"{path} cannot be used: {error}") from error
