"""The images one by one: their scores, and the neighbors of those that moved most."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sing_monitor.analyses.analysis import Analysis
from sing_monitor.analyses.columns import IMAGE, LABEL
from sing_monitor.findings import ColumnSpec, Findings, TableSpec
from sing_monitor.observation import Observation
from sing_monitor.scores.angles import PairScores, text_cosines
from sing_monitor.scores.pairs import CENTERED, PAIRS, PLAIN
from sing_monitor.snapshot import Snapshot, hex_ids

NEIGHBORS = 3

_NEIGHBORS = (
    ("neighbours_before", "T f"),
    (PLAIN.named("neighbours_after"), "the paper's equivalent"),
    (CENTERED.named("neighbours_after"), "the centered equivalent"),
)
IMAGES = TableSpec(
    "images",
    "Images",
    "An image of the probe: its scores, and its neighbors if it moved much.",
    (
        IMAGE,
        LABEL,
        ColumnSpec("prediction", "", "Index of the class that the model answers."),
        ColumnSpec("fold", "", "Half of the probe, 0 or 1; the other half fits its translator."),
        ColumnSpec("sample_index", "", "Position in the data set; -1: not known.", True),
        ColumnSpec("attribute:{attribute}", "", "True value of the annotated attribute."),
        *(
            column
            for pair in PAIRS
            for column in (
                ColumnSpec(
                    pair.named("attribute_score"),
                    "deg",
                    f"AS toward the true class when {pair.removal}.",
                ),
                ColumnSpec(pair.named("image_score"), "deg", f"IS when {pair.removal}."),
            )
        ),
        ColumnSpec("mover", "", "Whether it is one of the images that moved most."),
        *(
            ColumnSpec(name, "", f"The images nearest to {whom}, nearest first; of movers alone.")
            for name, whom in _NEIGHBORS
        ),
    ),
    is_followed=True,
)


def analyze_images(observation: Observation) -> Findings:
    """Label, prediction and scores of every image, and for the largest movers neighbors.

    ``neighbours_*`` hold the ids of the probe images whose embeddings are nearest to ``T f``, to
    the paper's equivalent and to the centered one; empty for images that are no movers.

    Returns:
        Table ``images``; pictured are the movers and their neighbors.
    """
    from pandas import DataFrame

    snapshot, scores, pairs = observation.snapshot, observation.scores, observation.translated
    columns: dict[str, object] = {
        "image": hex_ids(snapshot.ids),
        "label": snapshot.labels.numpy(),
        "prediction": snapshot.predictions.numpy(),
        "fold": snapshot.folds.numpy(),
    }
    if snapshot.sample_index is not None:
        columns["sample_index"] = snapshot.sample_index.numpy()
    for name, (labels, values) in snapshot.attributes.items():
        columns[f"attribute:{name}"] = [values[label] for label in labels.tolist()]
    for pair, found in scores.items():
        columns[pair.named("attribute_score")] = found.attribute.numpy()
        columns[pair.named("image_score")] = found.image.numpy()
    movers = _movers(scores[CENTERED], observation.n_images)
    is_mover = torch.zeros(len(snapshot), dtype=torch.bool).index_fill(0, movers, True)
    columns["mover"] = is_mover.numpy()
    kinds = (pairs.original, pairs.removed, pairs.centered)
    nearest = _neighbors(snapshot, movers, kinds)
    ids = hex_ids(snapshot.ids)
    pictured = {ids[row] for row in movers.tolist()}.union(
        image for lists in nearest.values() for found in lists for image in found
    )
    return Findings(
        tables={"images": DataFrame({**columns, **nearest})}, pictured=frozenset(pictured)
    )


def _movers(scores: PairScores, n_images: int) -> Tensor:
    """Rows of the images that moved most: half by |AS|, the rest by IS, in row order.

    An image without scores is none of them.
    """
    attribute, image = scores.attribute, scores.image
    magnitude, distance = attribute.abs().nan_to_num(nan=-1.0), image.nan_to_num(nan=-1.0)
    chosen = magnitude.argsort(descending=True, stable=True)[: n_images // 2]
    by_image = distance.index_fill(0, chosen, -2.0).argsort(descending=True, stable=True)
    rest = by_image[: min(n_images, len(image)) - len(chosen)]
    movers = torch.cat([chosen, rest]).sort().values
    return movers[~(attribute + image)[movers].isnan()]


def _neighbors(
    snapshot: Snapshot, movers: Tensor, kinds: tuple[Tensor, ...]
) -> dict[str, list[list[str]]]:
    """Ids of the nearest images, by column, a list for every image.

    Args:
        snapshot: its images are looked through.
        movers: rows of the images that have neighbors.
        kinds: in the order of the columns, each (N, n).
    """
    ids = hex_ids(snapshot.ids)
    queries = torch.cat([embeddings[movers] for embeddings in kinds])
    found = iter(_nearest(queries, snapshot, movers.repeat(len(kinds))))
    columns = {}
    for name, _ in _NEIGHBORS:
        # One list for all images without neighbors: thousands of them wake the garbage collector.
        nearest: list[list[str]] = [[]] * len(ids)
        for row in movers.tolist():
            nearest[row] = [ids[other] for other in next(found)]
        columns[name] = nearest
    return columns


def _nearest(queries: Tensor, snapshot: Snapshot, rows: Tensor) -> list[list[int]]:
    """For each query, the images with the nearest embeddings, nearest first.

    Copies of the image it is of, with the same fingerprint, are not among them.

    Args:
        queries: (B, n).
        snapshot: its images are looked through.
        rows: of which image each query is, (B,).
    """
    cosines = text_cosines(snapshot.known_embeddings.to(queries), queries).T.nan_to_num(nan=-2.0)
    cosines = cosines.masked_fill(snapshot.ids[rows][:, None] == snapshot.ids, -math.inf)
    nearest = cosines.topk(min(NEIGHBORS, len(snapshot)), dim=1)
    return [
        [row for row, cosine in zip(found, values, strict=True) if cosine > -math.inf]
        for found, values in zip(nearest.indices.tolist(), nearest.values.tolist(), strict=True)
    ]


ANALYSIS = Analysis(
    "images",
    analyze_images,
    tables=(IMAGES,),
    needs=frozenset({"labels", "embeddings"}),
    part_of="sing",
)
