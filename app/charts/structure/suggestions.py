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
        pairs: ``similarity``, at least one row.
        images: ``similarity_images``.
    """
    classes = images.set_index("image")["class"]
    known = pairs[pairs["image_a"].isin(classes.index) & pairs["image_b"].isin(classes.index)]
    is_one = known["image_a"].map(classes) == known["image_b"].map(classes)
    gain = known["semantic"] - known["spatial"]
    best = {
        MOVED: gain[is_one] if is_one.any() else gain,
        OTHER: known.loc[~is_one, "semantic"],
        APART: -known.loc[is_one, "semantic"],
    }
    rows = {title: known.loc[values.idxmax()] for title, values in best.items() if values.any()}
    return {title: (str(row["image_a"]), str(row["image_b"])) for title, row in rows.items()}
