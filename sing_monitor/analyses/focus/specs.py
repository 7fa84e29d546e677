"""The metrics and the table of where features stand, as readers see them."""

from __future__ import annotations

from sing_monitor.analyses.columns import IMAGE, columns_of
from sing_monitor.findings import ColumnSpec, MetricGroup, MetricSpec, TableSpec

FEWEST_IMAGES = 8

FOCUS = MetricGroup("focus", "Focus")
_FBI = "FBI: Levi, Gilboa 2024"
_ABOUT = "h the map about its mean over images and locations"
_FEW = f"NaN where fewer than {FEWEST_IMAGES} images have maps, or maps have one location."
_AVERAGED = (
    "NaN unless the mean of the map is what enters the head (global average pooling): for other "
    "heads what they see of a location is not known."
)

METRICS: tuple[MetricSpec, ...] = (
    MetricSpec(
        "focus/entropy",
        "Spread of the features",
        "1",
        "none",
        f"mean over images of -sum p log p / log P, p the share of |h|_1, {_ABOUT}",
        f"{_FBI}, normalized entropy",
        "How evenly what a model holds of an image is spread over the locations of its map. 1: "
        "evenly; 0: it stands on one. A heuristic where the head reads no global average: there a "
        f"long vector need not matter. {_FEW}",
        group=FOCUS,
        short="Spread",
    ),
    MetricSpec(
        "focus/entropy_seen",
        "Spread of what the head sees",
        "1",
        "none",
        "the same of |P_p h|",
        "ours",
        "How evenly what the head sees of an image is spread over its locations. Falls as the "
        f"head comes to look at a place. {_AVERAGED}",
        group=FOCUS,
        short="Spread, seen",
    ),
    MetricSpec(
        "focus/entropy_null",
        "Spread of what the head ignores",
        "1",
        "none",
        "the same of |P_n h|",
        "ours",
        "How evenly what the head does not see of an image is spread over its locations. NaN "
        f"without a null space. {_AVERAGED}",
        group=FOCUS,
        short="Spread, null",
    ),
    MetricSpec(
        "focus/overlap",
        "Seen and ignored in one place",
        "cosine",
        "none",
        "mean over images of the cosine of the maps |P_p h| and |P_n h|",
        "ours",
        "Whether what the head sees and what it ignores stand in the same places. 1: in the same; "
        f"0: nowhere both. NaN without a null space. {_AVERAGED}",
        group=FOCUS,
        short="Overlap",
    ),
    MetricSpec(
        "focus/critical_share",
        "Locations that win a channel",
        "share",
        "none",
        "mean over images of the share of locations at which some channel is largest",
        "Critical Points++: Levi, Gilboa",
        "How many locations of an image max pooling would draw on. NaN where no channel varies. "
        f"{_FEW}",
        group=FOCUS,
        short="Critical",
    ),
    MetricSpec(
        "focus/concentration",
        "Features on a tenth of the locations",
        "share",
        "none",
        "mean over images of the share of |h|_1 on the tenth of the locations with most of it",
        "ours",
        f"0.1: spread evenly; 1: all on a tenth of the image. {_FEW}",
        group=FOCUS,
        short="On a tenth",
    ),
)

IMAGES = TableSpec(
    "focus",
    "Focus in images",
    "An image with a map: how what the model holds of it is spread over its locations.",
    (IMAGE, *columns_of(METRICS)),
    is_followed=True,
)

MAPS = TableSpec(
    "focus_maps",
    "Focus maps",
    "An image with a map and a picture, and one part of its features: how long they are at each "
    "location.",
    (
        IMAGE,
        ColumnSpec(
            "part",
            "",
            "all: |h|_1; seen: |P_p h|_2; null: |P_n h|_2, the last two with global average "
            "pooling alone.",
        ),
        ColumnSpec("height", "count", "Rows of the map."),
        ColumnSpec("width", "count", "Columns of the map."),
        ColumnSpec("levels", "", "Row by row, 0 to 255; 255: the largest of the map."),
    ),
    is_followed=True,
)
