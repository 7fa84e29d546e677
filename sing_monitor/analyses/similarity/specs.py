"""The metrics and tables of the similarity of images, as readers see them."""

from __future__ import annotations

from sing_monitor.analyses.columns import IMAGE
from sing_monitor.findings import ColumnSpec, MetricGroup, MetricSpec, TableSpec

FEWEST_IMAGES = 8
STRONGEST = 8
NEAREST = 3

SIMILARITY = MetricGroup("similarity", "Similarity")
_PAPER = "Wald et al. 2024"
_FEW = f"NaN where fewer than {FEWEST_IMAGES} images have maps."

METRICS: tuple[MetricSpec, ...] = (
    MetricSpec(
        "similarity/jsd_semantic",
        "Answers follow the content",
        "1",
        "lower",
        "Pearson over pairs of (semantic cosine, JSD of the predicted probabilities)",
        f"{_PAPER}, prediction agreement",
        "How well the similarity of two images tells how alike the model answers, with the "
        f"positions of their maps matched by content. -1: perfectly; 0: not at all. {_FEW}",
        group=SIMILARITY,
        short="Answers, content",
    ),
    MetricSpec(
        "similarity/jsd_spatial",
        "Answers follow the places",
        "1",
        "lower",
        "Pearson over pairs of (spatial cosine, JSD of the predicted probabilities)",
        f"{_PAPER}, prediction agreement",
        f"The same with each position compared with the same position. {_FEW}",
        group=SIMILARITY,
        short="Answers, places",
    ),
    MetricSpec(
        "similarity/jsd_gain",
        "Content tells more than place",
        "1",
        "none",
        "jsd_spatial - jsd_semantic",
        "ours",
        "How much better the answers follow the similarity when positions are matched by content. "
        f"0: where things stand matters as the model sees them, or makes no difference. {_FEW}",
        group=SIMILARITY,
        short="Content gains",
    ),
    MetricSpec(
        "similarity/gain",
        "Similarity gained by matching",
        "ratio",
        "none",
        "mean semantic cosine / mean spatial cosine - 1, over pairs",
        "ours",
        "By how much images become more alike when the positions of their maps may be exchanged. "
        "0: the maps say the same at every position. NaN where the mean spatial cosine is not "
        f"above 0. {_FEW}",
        group=SIMILARITY,
        short="Gain",
    ),
    MetricSpec(
        "similarity/cka",
        "Spatial and semantic agree",
        "1",
        "none",
        "CKA of the spatial and the semantic matrix of cosines",
        f"{_PAPER}; CKA: Kornblith et al. 2019",
        "Whether both comparisons find the same images alike. 1: place makes no difference to "
        f"which images are alike. {_FEW}",
        group=SIMILARITY,
        short="CKA",
    ),
    MetricSpec(
        "similarity/drift",
        "Change of the similarities",
        "1",
        "none",
        "1 - CKA of the semantic matrix and that of the last analyzed validation",
        "ours; CKA: Kornblith et al. 2019",
        "How much has changed in which images are alike. 0: nothing. NaN at the first validation, "
        f"and where fewer than {FEWEST_IMAGES} images have maps at both.",
        group=SIMILARITY,
        short="Drift",
    ),
    MetricSpec(
        "similarity/retrieval_semantic",
        "Nearest image of the same class",
        "share",
        "higher",
        "share of images whose nearest other image by semantic cosine has their class",
        f"ours; retrieval as in {_PAPER}",
        "How often the most similar other image, compared by content, is of the same class. Only "
        f"images whose class has another one count; NaN without any. {_FEW}",
        group=SIMILARITY,
        short="Same class, content",
    ),
    MetricSpec(
        "similarity/retrieval_spatial",
        "Nearest image of the same class, by place",
        "share",
        "higher",
        "share of images whose nearest other image by spatial cosine has their class",
        f"ours; retrieval as in {_PAPER}",
        f"The same with each position compared with the same position. {_FEW}",
        group=SIMILARITY,
        short="Same class, place",
    ),
    MetricSpec(
        "similarity/images",
        "Images compared by their maps",
        "count",
        "none",
        "number of images whose maps are compared",
        "ours",
        "On how many images the numbers of this group stand. Images whose map holds zeros alone "
        "resemble nothing and are left out.",
        group=SIMILARITY,
        short="Images",
    ),
)

ALIGNMENT_METRICS: tuple[MetricSpec, ...] = (
    MetricSpec(
        "similarity/alignment",
        "Similarity as the space sees it",
        "1",
        "higher",
        "CKA of the semantic matrix of cosines and the cosines of the image embeddings",
        "ours; CKA: Kornblith et al. 2019",
        "Whether the model finds the same images alike as the semantic space. 1: the same; about "
        f"0: there is nothing in common. {_FEW}",
        group=SIMILARITY,
        short="Alignment",
    ),
)

PAIRS = TableSpec(
    "similarity",
    "Pairs of images",
    "A pair of images: how alike they are, and the positions that say most of it.",
    (
        ColumnSpec("image_a", "", "Id of one image, as in the table similarity_images."),
        ColumnSpec("image_b", "", "Id of the other image."),
        ColumnSpec("spatial", "cosine", "Cosine of the maps, equal positions compared."),
        ColumnSpec("semantic", "cosine", "Cosine of the maps, matched positions compared."),
        ColumnSpec("jsd", "1", "Jensen-Shannon divergence of the predictions, bits, 0 to 1."),
        ColumnSpec(
            "positions_a",
            "",
            f"The {STRONGEST} strongest positions of image a, counted row by row.",
        ),
        ColumnSpec("positions_b", "", "The positions of image b that these are matched with."),
        ColumnSpec("strengths", "", "Share of each in the semantic inner product of the pair."),
    ),
)
IMAGES = TableSpec(
    "similarity_images",
    "Images with maps",
    "An image whose map is compared with those of the others.",
    (
        IMAGE,
        ColumnSpec("class", "", "Name of the true class."),
        ColumnSpec("prediction", "", "Name of the class that the model answers."),
        ColumnSpec("height", "count", "Rows of the map."),
        ColumnSpec("width", "count", "Columns of the map."),
        ColumnSpec("nearest_spatial", "", "The 3 most similar images by spatial cosine."),
        ColumnSpec("nearest_semantic", "", "The 3 most similar images by semantic cosine."),
    ),
    is_followed=True,
)
