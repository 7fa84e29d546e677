"""Which means of scores are marked as out of support, and how that is said; pure functions."""

from __future__ import annotations

import pandas as pd

# Ten times what real images show: images count as outside above the 99th percentile.
MARKED_ABOVE = 0.1
MARK_RULE = (
    "The score of a run or class is marked where more than "
    f"{100 * MARKED_ABOVE:.0f} % of its images are; of real images 1 % are."
)
OUT_OF_SUPPORT = (
    "Out of support: without its null part the image is translated to a place farther from the "
    "mean than nearly all embeddings of real images. No image lies there, so its score may say "
    "more about the translator than about the head."
)
MARK = "\N{MULTIPLICATION SIGN}"


def is_marked(share: pd.Series) -> pd.Series[bool]:
    """Which of the means are marked; never where the share is unknown."""
    return share.astype("float64").gt(MARKED_ABOVE)


def support_text(share: pd.Series) -> pd.Series[str]:
    """The share of images out of support with the mark, empty where there is none.

    Example::

        >>> support_text(pd.Series([0.01, 0.25]))[1].removeprefix(MARK)
        ' 25 % of the images'
    """
    texts = share.map(lambda value: f"{MARK} {100 * value:.0f} % of the images")
    return texts.where(is_marked(share), "")
