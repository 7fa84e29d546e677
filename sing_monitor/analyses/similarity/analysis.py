"""How alike a model finds the images of a probe: by place, and by content."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import linear

from sing_monitor.analyses.analysis import Analysis
from sing_monitor.analyses.similarity.agreement import (
    by_similarity,
    cka,
    jensen_shannon,
    pair_correlation,
    retrieval,
)
from sing_monitor.analyses.similarity.matching import WINDOW, Matcher
from sing_monitor.analyses.similarity.matrices import (
    Kernel,
    matched_pairs,
    matrices_of,
    position_vectors,
)
from sing_monitor.analyses.similarity.specs import (
    ALIGNMENT_METRICS,
    FEWEST_IMAGES,
    IMAGES,
    METRICS,
    NEAREST,
    PAIRS,
    STRONGEST,
)
from sing_monitor.analyses.similarity.strongest import StrongestPositions, strongest
from sing_monitor.feature_maps import first_rows
from sing_monitor.findings import Findings
from sing_monitor.observation import Observation
from sing_monitor.row_blocks import working
from sing_monitor.scores.angles import text_cosines
from sing_monitor.scores.derived import ratio
from sing_monitor.snapshot import Snapshot, hex_ids

if TYPE_CHECKING:
    from pandas import DataFrame

# More positions than these are matched window by window.
EXACT_UP_TO = 256

_MATRIX, _IMAGES = "similarity/semantic", "similarity/images"


@dataclass(frozen=True)
class ComparedImages:
    """The images of a probe that have maps, in the order of their ids, and how alike they are.

    Args:
        rows: of these M images in the snapshot, (M,).
        ids: their fingerprints, (M,).
        grid: rows and columns of their maps.
        cosines: of the maps, both (M, M).
        strongest: matched positions of each pair i < j, in the order of
            ``torch.triu_indices(M, M, 1)``.
    """

    rows: Tensor
    ids: Tensor
    grid: tuple[int, int]
    cosines: Kernel
    strongest: StrongestPositions


def compared_images(observation: Observation) -> ComparedImages:
    """Compare the maps of an observation; exactly up to 256 positions, by windows beyond.

    Raises:
        ValueError: if there are no maps, or they hold NaN or infinite values.
    """
    snapshot = observation.snapshot
    rows, maps = snapshot.known_maps.among(snapshot.ids)
    vectors, scale = position_vectors(maps.values)
    has_map = vectors.flatten(1).any(dim=1)
    vectors = vectors[has_map]
    count, positions = vectors.shape[:2]
    semantic = torch.zeros(count, count, dtype=torch.float64)
    kept = min(STRONGEST, positions)
    numbers = semantic.new_empty(3, count, count, kept)
    matcher: Matcher = "optimal" if positions <= EXACT_UP_TO else "batch_optimal"
    for pairs in matched_pairs(vectors, matcher, WINDOW):
        first, second = pairs.first, pairs.second
        semantic[first, second] = pairs.strengths.sum(dim=1, dtype=torch.float64)
        best = strongest(pairs.permutation, pairs.strengths, STRONGEST)
        numbers[:, first, second] = torch.stack([found.double() for found in best])
    cosines = matrices_of(vectors, semantic + semantic.T, scale).cosine()
    firsts, seconds = torch.triu_indices(count, count, offset=1)
    a, b, shares = numbers[:, firsts, seconds]
    return ComparedImages(
        rows[has_map],
        maps.image_ids[has_map],
        maps.grid,
        cosines,
        StrongestPositions(a.long(), b.long(), shares),
    )


def analyze_similarity(observation: Observation) -> Findings:
    """Whether a model finds images alike that have the same content, wherever it stands.

    Returns:
        Scalars ``similarity/*`` but the alignment, NaN with fewer than 8 images; tables
        ``similarity`` and ``similarity_images``; kept: the semantic matrix and its images.
    """
    found, snapshot = observation.once(compared_images), observation.snapshot
    ids, cosines, labels = found.ids, found.cosines, snapshot.labels[found.rows]
    divergence = jensen_shannon(_probabilities(snapshot, found.rows))
    scalars = dict.fromkeys((spec.key for spec in METRICS), math.nan)
    scalars["similarity/images"] = float(len(ids))
    if len(ids) >= FEWEST_IMAGES:
        by_content = pair_correlation(cosines.semantic, divergence)
        by_place = pair_correlation(cosines.spatial, divergence)
        scalars |= {
            "similarity/jsd_semantic": by_content,
            "similarity/jsd_spatial": by_place,
            "similarity/jsd_gain": by_place - by_content,
            "similarity/gain": _gain(cosines),
            "similarity/cka": cka(cosines.spatial, cosines.semantic),
            "similarity/drift": _drift(ids, cosines.semantic, observation.previous),
            "similarity/retrieval_semantic": retrieval(cosines.semantic, labels),
            "similarity/retrieval_spatial": retrieval(cosines.spatial, labels),
        }
    return Findings(
        scalars,
        {
            "similarity": _pairs_table(found, divergence),
            "similarity_images": _images_table(found, snapshot),
        },
        kept={_MATRIX: cosines.semantic.float(), _IMAGES: ids},
        pictured=frozenset(hex_ids(ids)),
    )


def analyze_alignment(observation: Observation) -> Findings:
    """Whether the model finds the same images alike as the semantic space.

    Returns:
        Scalar ``similarity/alignment``; NaN with fewer than 8 images.
    """
    found = observation.once(compared_images)
    alignment = math.nan
    if len(found.ids) >= FEWEST_IMAGES:
        embeddings = observation.embeddings[found.rows].double()
        alignment = cka(found.cosines.semantic, text_cosines(embeddings, embeddings))
    return Findings({"similarity/alignment": alignment})


def _probabilities(snapshot: Snapshot, rows: Tensor) -> Tensor:
    """What the model answers to some images, (M, C) float64."""
    features = working(snapshot.features[rows])
    bias = None if snapshot.bias is None else snapshot.bias.to(features)
    return linear(features, snapshot.weight.to(features), bias).double().softmax(dim=1)


def _gain(cosines: Kernel) -> float:
    count = len(cosines.spatial)
    firsts, seconds = torch.triu_indices(count, count, offset=1)
    spatial, semantic = (float(each[firsts, seconds].mean()) for each in cosines)
    return ratio(semantic - spatial, spatial) if spatial > 0 else math.nan


def _drift(ids: Tensor, semantic: Tensor, previous: Mapping[str, Tensor]) -> float:
    """``1 - CKA`` with the matrix of the last validation, over the images of both."""
    before, ids_before = previous.get(_MATRIX), previous.get(_IMAGES)
    if before is None or ids_before is None or before.shape != (len(ids_before),) * 2:
        return math.nan
    rows = first_rows(ids_before, ids)
    common = rows >= 0
    if int(common.sum()) < FEWEST_IMAGES:
        return math.nan
    rows = rows[common]
    return 1 - cka(semantic[common][:, common], before[rows][:, rows])


def _pairs_table(found: ComparedImages, divergence: Tensor) -> DataFrame:
    from pandas import DataFrame

    count, ids = len(found.ids), hex_ids(found.ids)
    firsts, seconds = torch.triu_indices(count, count, offset=1)
    columns = {
        "image_a": [ids[i] for i in firsts.tolist()],
        "image_b": [ids[j] for j in seconds.tolist()],
        "spatial": found.cosines.spatial[firsts, seconds].numpy(),
        "semantic": found.cosines.semantic[firsts, seconds].numpy(),
        "jsd": divergence[firsts, seconds].numpy(),
        "positions_a": found.strongest.a.tolist(),
        "positions_b": found.strongest.b.tolist(),
        "strengths": found.strongest.shares.tolist(),
    }
    return DataFrame(columns, columns=[column.name for column in PAIRS.columns])


def _images_table(found: ComparedImages, snapshot: Snapshot) -> DataFrame:
    from pandas import DataFrame

    ids, names, (height, width) = hex_ids(found.ids), snapshot.class_names, found.grid
    columns = {
        "image": ids,
        "class": [names[label] for label in snapshot.labels[found.rows].tolist()],
        "prediction": [names[label] for label in snapshot.predictions[found.rows].tolist()],
        "height": [height] * len(ids),
        "width": [width] * len(ids),
    } | {
        f"nearest_{kind}": [
            [ids[other] for other in others]
            for others in by_similarity(cosines)[:, :NEAREST].tolist()
        ]
        for kind, cosines in found.cosines._asdict().items()
    }
    return DataFrame(columns, columns=[column.name for column in IMAGES.columns])


ANALYSIS = Analysis(
    "similarity",
    analyze_similarity,
    METRICS,
    (PAIRS, IMAGES),
    needs=frozenset({"labels", "maps"}),
)
ALIGNMENT = Analysis(
    "similarity_alignment",
    analyze_alignment,
    ALIGNMENT_METRICS,
    needs=frozenset({"labels", "maps", "embeddings"}),
    part_of="similarity",
)
