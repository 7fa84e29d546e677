"""Which means of scores are marked as out of support, and how that is said; pure functions."""

from __future__ import annotations

import re

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

# Shares of images, by what was removed: see `metric_of`.
METRICS = ("support/outside", "support/outside_centered")
_RAW = re.compile(r"sing/((attribute_score|image_score)(_abs|_std)?|score_ratio)")
_CENTERED = re.compile(
    r"sing/(.+_centered|image_score_relative|attribute_share|retention)"
    r"|attribute/.+_(zero_shot_centered|retention|score)"
)


def metric_of(key: str) -> str | None:
    """The metric that tells which share of a score's images is out of support.

    Example::

        >>> metric_of("sing/retention"), metric_of("sing/image_score"), metric_of("head/rank")
        ('support/outside_centered', 'support/outside', None)
    """
    if _CENTERED.fullmatch(key):
        return METRICS[1]
    return METRICS[0] if _RAW.fullmatch(key) else None


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
