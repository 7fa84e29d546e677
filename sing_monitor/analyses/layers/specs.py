"""The metrics of the room that features keep, as readers see them."""

from __future__ import annotations

from sing_monitor.findings import ColumnSpec, MetricGroup, MetricSpec, TableSpec

MOST_IMAGES = 1024
# Of the variance, and of the head's accuracy.
SHARE = 0.95

LAYERS = MetricGroup("layers", "Room of the features")
_FENG = "Feng et al. 2022"
_AMONG = f"Of at most {MOST_IMAGES:,} images of the probe."


def _of_the_most(key: str, label: str, short: str) -> MetricSpec:
    """The share of a rank in the largest that there can be."""
    return MetricSpec(
        f"layers/{key}_share",
        f"{label}, share",
        "share",
        "none",
        f"{key} / min(N, m)",
        "ours",
        "The same as a share of all directions that so many images and features can have.",
        group=LAYERS,
        short=f"{short}, share",
    )


METRICS: tuple[MetricSpec, ...] = (
    MetricSpec(
        "layers/effective_rank",
        "Effective rank of the features",
        "count",
        "none",
        "exp(-sum p log p), p the singular values of f - mu over their sum",
        "Roy, Vetterli 2007; RankMe: Garrido et al. 2023",
        "In how many directions the head's features vary, each counted by how much. Falls to "
        "about C - 1 as the features collapse onto their class means. NaN where nothing varies. "
        f"{_AMONG}",
        group=LAYERS,
        short="Effective rank",
    ),
    _of_the_most("effective_rank", "Effective rank", "Effective rank"),
    MetricSpec(
        "layers/pca_95",
        "Directions with 95 % of the variance",
        "count",
        "none",
        "fewest principal components of f - mu with 95 % of the variance",
        f"{_FENG}, PCA dimension",
        "How few directions hold nearly all variation of the head's features. NaN where "
        f"nothing varies. {_AMONG}",
        group=LAYERS,
        short="95 % variance",
    ),
    _of_the_most("pca_95", "Directions with 95 % of the variance", "95 % variance"),
    MetricSpec(
        "layers/classification_dimension",
        "Directions with 95 % of the accuracy",
        "count",
        "none",
        "fewest principal components of f - mu on which the head keeps 95 % of its accuracy",
        f"{_FENG}, classification dimension",
        "How few directions, those with most variance first, the head needs to answer nearly as "
        "well as with all. 0: the mean feature alone does. NaN where the head has no image right, "
        f"or nothing varies. {_AMONG}",
        group=LAYERS,
        short="95 % accuracy",
    ),
    _of_the_most(
        "classification_dimension", "Directions with 95 % of the accuracy", "95 % accuracy"
    ),
)

STAGE_METRICS: tuple[MetricSpec, ...] = (
    MetricSpec(
        "layers/rank_drop",
        "Effective rank of the last stage over the first",
        "ratio",
        "none",
        "effective rank of the last stage / effective rank of the first stage",
        f"{_FENG}, from the ranks of RankMe",
        "In how many directions features vary at the end of the network, for each one at its "
        "start. Below 1: depth takes directions away. Above 1: usual where the first stage has few "
        "channels; the table of layers has each rank as a share of what is possible. Only with "
        f"layers=. NaN without two stages whose features vary. {_AMONG}",
        group=LAYERS,
        short="Rank, last / first",
    ),
)
STAGES = TableSpec(
    "layers",
    "Layers",
    "A stage of the network: in how many directions its output, averaged over the locations, "
    "varies.",
    (
        ColumnSpec("layer", "", "Dotted name of the module."),
        ColumnSpec("depth", "count", "Its place in the order in which the stages end, from 1."),
        ColumnSpec("channels", "count", "Numbers that it gives for each image, c."),
        ColumnSpec("samples", "count", "Images of the probe, N."),
        ColumnSpec("rank", "count", "Effective rank of its features; NaN if they do not vary."),
        ColumnSpec("rank_share", "share", "The same over min(N, c)."),
        ColumnSpec("pca_95", "count", "Fewest principal components with 95 % of the variance."),
        ColumnSpec("pca_95_share", "share", "The same over min(N, c)."),
    ),
    is_followed=True,
)
