"""Time and memory that an analysis will take, estimated before there is anything to analyze."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Literal

import torch

from sing_monitor.messages import duration
from sing_monitor.translate.parts.probes import FEWEST_JUDGED, JUDGED_PRODUCTS
from sing_monitor.translate.random_subspaces import RANDOM_DRAWS
from sing_monitor.translate.reduced import is_worthwhile
from sing_monitor.translate.ridge_sample import MAX_IMAGES

# Seconds an epoch from which the user should know of it, and may want to change it.
NOTICED, LONG = 5.0, 30.0
# An eigendecomposition of k x k takes about so many times k^3 operations at a product's speed.
_EIGEN = 25
# What is not a product: seconds for each number that is read and written, and for all calls.
_SECONDS_PER_NUMBER = 1e-9
_SECONDS_OF_CALLS = 0.1
# Numbers of each image that are worked on, times the embedding size.
_PASSES = 80
# Matrices that are products of the features with each other, alive at a time.
_ALIVE = 7
# Vectors that R2 along the ridge, and with half of the images, multiplies with such a matrix.
_ALONG = 1700
# Seconds to match two positions of a pair of maps, for each pair of positions.
_SECONDS_PER_MATCH = 3e-8


@dataclass(frozen=True)
class MapShape:
    """Sizes that the cost of comparing feature maps depends on.

    Args:
        images: that have maps.
        channels: of the maps.
        positions: of each map.
    """

    images: int
    channels: int
    positions: int

    def in_words(self, speed: float) -> str:
        """How long comparing them takes, with the option that helps; speed as for `estimate`."""
        seconds = duration(seconds_to_compare(self, speed))
        return (
            f"about {seconds} each validation, for {self.images} maps of {self.positions} "
            f"positions; n_maps={max(self.images // 2, 1)} takes a quarter of that, and n_maps=0 "
            "leaves it out"
        )


@dataclass(frozen=True)
class Shape:
    """Sizes that the cost of an analysis depends on.

    Args:
        samples: N images of the probe.
        feature_dim: m features.
        classes: C.
        embedding_dim: n, of the semantic space.
        concepts: K.
        ridge: rho, or ``"auto"`` where it is yet to be chosen.
        maps: that are compared; None: there are none, or they are not known yet.
    """

    samples: int
    feature_dim: int
    classes: int
    embedding_dim: int
    concepts: int = 0
    ridge: float | Literal["auto"] = "auto"
    maps: MapShape | None = None


@dataclass(frozen=True)
class Cost:
    """What an analysis will take, to a factor of about 4.

    Args:
        seconds: wall time.
        gigabytes: memory beside features and embeddings.
    """

    seconds: float
    gigabytes: float


def estimate(shape: Shape, speed: float) -> Cost:
    """Estimate one analysis.

    Args:
        shape: of the probe and the head.
        speed: operations a second of products in double precision, :func:`measure_speed`.
    """
    operations, numbers, largest = _count(shape)
    seconds = operations / speed + numbers * _SECONDS_PER_NUMBER + _SECONDS_OF_CALLS
    if shape.maps is not None:
        seconds += seconds_to_compare(shape.maps, speed)
    return Cost(seconds, 8 * largest / 1e9)


def seconds_to_compare(maps: MapShape, speed: float) -> float:
    """Estimate how long the comparison of all pairs of maps takes, on one core.

    Args:
        maps: that are compared, with exact matching.
        speed: as for :func:`estimate`; these products are in single precision, twice as fast.
    """
    matches = maps.images * (maps.images - 1) / 2 * maps.positions**2
    return matches * (maps.channels / speed + _SECONDS_PER_MATCH)


def largest_probe(shape: Shape, speed: float, seconds: float = LONG) -> int | None:
    """How often the number of images must be halved until their analysis is quick; None: never.

    Args:
        shape: of which the number of images may be lowered.
        speed: as for :func:`estimate`.
        seconds: the time.

    Returns:
        The number of images that is left.
    """
    samples = shape.samples // 2
    while samples >= 2:
        if estimate(replace(shape, samples=samples), speed).seconds <= seconds:
            return samples
        samples //= 2
    return None


def in_words(shape: Shape, speed: float) -> str:
    """The estimate as a sentence; if it is long, with the options that help.

    Args:
        shape: of the probe and the head.
        speed: as for :func:`estimate`.
    """
    each = estimate(shape if shape.ridge != "auto" else replace(shape, ridge=1.0), speed)
    first = estimate(shape, speed)
    text = f"about {duration(each.seconds)} and {first.gigabytes:.1f} GB each validation"
    if first.seconds > max(2 * each.seconds, 5):
        text += f" (the first {duration(first.seconds)}, to choose the ridge)"
    if first.seconds <= LONG:
        return text
    fewer, options = largest_probe(shape, speed), []
    if shape.maps is not None and seconds_to_compare(shape.maps, speed) > each.seconds / 2:
        options.append(f"n_maps={max(shape.maps.images // 2, 1)} compares fewer images")
    if fewer is not None:
        options.append(f"probe_size={fewer} analyzes fewer images")
    if each.seconds > LONG:
        options.append("every_n_epochs=5 analyzes fewer epochs")
    if shape.ridge == "auto" and first.seconds > 2 * each.seconds:
        options.append("ridge=0.01, say, saves the choice of the ridge")
    return f"{text}. That is long; {'; '.join(options)}"


def measure_speed(size: int = 384, seconds: float = 0.03) -> float:
    """Operations a second of products in double precision on this machine, right now.

    Draws no random number.

    Args:
        size: of the square matrices.
        seconds: for how long, at least.
    """
    matrix = torch.ones(size, size, dtype=torch.float64)
    # The first product starts threads.
    torch.mm(matrix, matrix)
    started, products = time.perf_counter(), 0
    while (spent := time.perf_counter() - started) < seconds or products == 0:
        torch.mm(matrix, matrix)
        products += 1
    return 2 * size**3 * products / spent


def _count(shape: Shape) -> tuple[float, float, float]:
    """Operations of products in double precision, other numbers touched, and numbers kept."""
    samples, m, classes, n = shape.samples, shape.feature_dim, shape.classes, shape.embedding_dim
    rank = min(classes, m)
    operations = float(classes * m * rank + 10 * rank**3)  # the head
    kept = 3.0 * m * classes
    wide, is_reduced = m, is_worthwhile(samples, classes, m)
    if is_reduced:
        wide = samples + classes + 1
        operations += 4 * m * wide**2 + 2 * m * RANDOM_DRAWS * wide
        kept += 3 * m * wide + 2 * m * RANDOM_DRAWS
    # Moments and translators, in the smaller of the two forms, of both halves.
    if samples < m:
        half = samples / 2
        operations += 2 * (half**2 * wide + half**3 / 3 + 6 * half * n * wide + half**2 * n)
        operations += _ALONG * half**2
        side = half
        if shape.ridge == "auto":
            operations += 2 * (2 * half**2 * wide + _EIGEN * half**3 + 6 * half**3)
    else:
        operations += samples * wide * (wide + 2 * n) + 2 * (wide**3 / 3 + 3 * wide**2 * n)
        operations += 2 * (wide**2 * (rank + 4 * MAX_IMAGES) + wide * rank**2)
        operations += wide**3 / 3 + _ALONG * wide**2
        side = wide
        if shape.ridge == "auto":
            operations += 2 * (_EIGEN * wide**3 + 6 * wide**3)
    kept += _ALIVE * side**2 + 8 * wide * n + 6 * RANDOM_DRAWS * wide + 4 * MAX_IMAGES * wide
    # Refits on both parts, and probes of the judged images.
    judged = min(samples, max(FEWEST_JUDGED, JUDGED_PRODUCTS // (wide * max(classes, n))))
    operations += samples * rank * (rank + 2 * classes) + 4 * wide * rank * n + 8 * rank**2 * n
    solved = 2 * min(judged / 2, classes)
    operations += solved * (4 * wide**2 + 6 * wide * rank) + 6 * judged * wide * classes
    kept += 4 * wide * n + rank**2
    # Features, translations and the draws; collapse, predictions, readings, support, concepts.
    vectors = RANDOM_DRAWS * 2 + MAX_IMAGES * 8
    operations += 2 * wide * n * (samples + vectors)
    operations += 4 * wide * rank * vectors
    operations += samples * (4 * wide * classes + 4 * rank * (n + classes) + 4 * n * classes)
    operations += samples * n * (8 * n + 4 * shape.concepts) + 2 * _EIGEN * n**3 / 4
    numbers = 50 * m * classes + samples * (
        15 * wide + _PASSES * n + 10 * shape.concepts + 4 * classes
    )
    kept += samples * (10.0 * n + 3 * rank + wide)
    return operations, numbers, kept
