"""Pairs of images that are worth a look."""

from __future__ import annotations

import pandas as pd

MOVED, OTHER, APART = "Same parts, other places", "Alike, of two classes", "One class, unlike"
ABOUT = {
    MOVED: "Of the pairs of one class, the one that gains most when parts may look for their "
    "partners.",
    OTHER: "Of the pairs of two classes, the one that is most alike part by part.",
    APART: "Of the pairs of one class, the one that is least alike part by part.",
}


def suggested(pairs: pd.DataFrame, images: pd.DataFrame) -> dict[str, tuple[str, str]]:
    """Two image ids for each suggestion; at least one, since any pair may gain from matching.

    Args:
        pairs: ``similarity`` of these images, at least one row.
        images: ``similarity_images``.
    """
    classes = images.set_index("image")["class"]
    is_one = pairs["image_a"].map(classes) == pairs["image_b"].map(classes)
    gain = pairs["semantic"] - pairs["spatial"]
    values = {
        MOVED: gain[is_one] if is_one.any() else gain,
        OTHER: pairs.loc[~is_one, "semantic"],
        APART: -pairs.loc[is_one, "semantic"],
    }
    best = {title: each.idxmax() for title, each in values.items() if each.notna().any()}
    rows = {title: pairs.loc[at] for title, at in best.items()} or {MOVED: pairs.iloc[0]}
    return {title: (str(row["image_a"]), str(row["image_b"])) for title, row in rows.items()}
