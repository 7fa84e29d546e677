"""Comparison of two images as a model sees them: by place, by content, and which parts match."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sing_monitor.analyses.similarity.matching import WINDOW, Matcher, check_matcher, matched
from sing_monitor.analyses.similarity.matrices import Kernel, matrices_of, position_vectors
from sing_monitor.analyses.similarity.strongest import strongest
from sing_monitor.capture.map_choice import find_map_site
from sing_monitor.capture.map_search import MapSearch
from sing_monitor.capture.map_site import NoMapError
from sing_monitor.head.forward import run_head


@dataclass(frozen=True)
class ImageComparison:
    """How alike two images are to a model, and the parts that match, the strongest first.

    Args:
        spatial: cosine of the two maps, equal positions compared, -1 to 1; NaN for a map of zeros.
        semantic: the same with matched positions compared; never below it with exact matching.
        grid: rows and columns of the maps.
        positions_a: all positions of the first image, counted row by row, (S,) int64.
        positions_b: the position of the second image that each is matched with, (S,) int64.
        shares: share of each in the semantic inner product, (S,) float64; NaN where that is not
            above 0.
        layer: whose maps these are; empty where maps were given.
    """

    spatial: float
    semantic: float
    grid: tuple[int, int]
    positions_a: Tensor
    positions_b: Tensor
    shares: Tensor
    layer: str = ""


def compare_images(
    model: nn.Module,
    image_a: Tensor,
    image_b: Tensor,
    head: str | None = None,
    *,
    matcher: Matcher = "optimal",
    window: int = WINDOW,
) -> ImageComparison:
    """Compare two images by the maps that the model's head summarizes.

    The model runs once, in eval mode, and stays as it is. The maps are those that a monitored
    validation keeps, at most 14 x 14 positions.

    Args:
        model: maps images to logits.
        image_a: input of the model, (c, H, W) or (1, c, H, W).
        image_b: another one of the same shape.
        head: dotted name of the head; None: the layer whose output is the model's answer.
        matcher: as for :func:`sing_monitor.analyses.similarity.match`.
        window: as for :func:`sing_monitor.analyses.similarity.match`.

    Raises:
        ValueError: if the images are no pair of single images of one shape, the head is not found,
            the model has no map (``NoMapError``, whose sentence says why), or maps hold NaN or
            infinite values.
    """
    pair = [image if image.ndim == 4 else image[None] for image in (image_a, image_b)]
    if pair[0].shape != pair[1].shape or pair[0].ndim != 4 or len(pair[0]) != 1:
        raise ValueError(
            "two single images of the same shape are compared, (c, H, W) each; got "
            f"{tuple(image_a.shape)} and {tuple(image_b.shape)}."
        )
    search = MapSearch(model)
    search.open()
    try:
        seen = run_head(model, torch.cat(pair), head)
    finally:
        search.close()
    if search.error is not None:
        raise search.error
    site, candidate = find_map_site(search, seen.head.module)
    whole = search.whole(candidate, site.reading)
    if whole is None:
        raise NoMapError(
            f"the map of {site.label} is changed in place before the head is called, so that it "
            "cannot be read."
        )
    maps = site.maps(whole.detach()).cpu()
    return compare_maps(maps[0], maps[1], matcher=matcher, window=window, layer=site.label)


def compare_maps(
    map_a: Tensor,
    map_b: Tensor,
    *,
    matcher: Matcher = "optimal",
    window: int = WINDOW,
    layer: str = "",
) -> ImageComparison:
    """Compare two maps.

    Args:
        map_a: (c, h, w), floating point.
        map_b: another one of the same shape.
        matcher: as for :func:`compare_images`.
        window: as for :func:`compare_images`.
        layer: whose maps these are.

    Raises:
        ValueError: for other shapes, and as :func:`compare_images`.

    Example::

        >>> a, b = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[0.0, 2.0]]])
        >>> found = compare_maps(a, b)
        >>> found.spatial, found.semantic, found.positions_a[0].item(), found.positions_b[0].item()
        (0.0, 1.0, 0, 1)
    """
    if map_a.ndim != 3 or map_a.shape != map_b.shape:
        raise ValueError(
            "two maps of the same shape are compared, (c, h, w) each; got "
            f"{tuple(map_a.shape)} and {tuple(map_b.shape)}."
        )
    window = check_matcher(matcher, window)
    vectors, scale = position_vectors(torch.stack([map_a, map_b]))
    permutation, strengths = matched(vectors[:1], vectors[1], matcher, window)
    semantic = torch.full((2, 2), float(strengths.sum(dtype=torch.float64)), dtype=torch.float64)
    cosines: Kernel = matrices_of(vectors, semantic, scale).cosine()
    found = strongest(permutation, strengths, strengths.shape[1])
    height, width = map_a.shape[1:]
    return ImageComparison(
        float(cosines.spatial[0, 1]),
        float(cosines.semantic[0, 1]),
        (height, width),
        found.a[0],
        found.b[0],
        found.shares[0],
        layer,
    )
