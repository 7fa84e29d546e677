"""How far the Image Score of a random head strays from that of others of its shape.

Removing the null space of a head of random weights moves the meaning by ``IS(P) = mean of
angle(T f, T f - A P (f - mu))``, with P a uniformly random projection of rank d. Every angle is
taken to first order in the part of ``A P (f - mu)`` along ``T f`` and in the square of the part
across it, about their means over all P. That leaves ::

    IS(P) = constant + tr(P L) + sum over the halves of a probe of tr(P B P S)

with B of the translator, S of the features and L of both. Its variance over P is known
(:mod:`sing_monitor.scores.random_projections`), so no head is drawn.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial, reduce
from operator import add, mul

import torch
from torch import Tensor

from sing_monitor.scores.random_projections import Number, Word, projection_moment

# B and S of either half, as letters.
_TRANSLATORS, _FEATURES = "BC", "ST"
# Of a matrix, for the names of vectors p and q, the weights of images in the sum of p' q.
Weights = dict[str, dict[tuple[str, str], Tensor]]

# Of more embedding dimensions, tr B C is averaged over so many random directions (Hutchinson 1989).
_MOST_DIRECTIONS = 256
_PROBES = 64
# Of translators that read two directions the first order says up to half too little; eight serve.
_FEWEST_READ = 3


@dataclass(frozen=True)
class TranslatedHalf:
    """Images of one half of a probe with the translator that scores them, in one precision.

    Args:
        deviations: ``f - mu``, (K, m).
        weight: A, (n, m).
        base: ``T mu``, (n,).
        images: of how many these are a sample.
    """

    deviations: Tensor
    weight: Tensor
    base: Tensor
    images: int

    @cached_property
    def moved(self) -> Tensor:
        """``A (f - mu)``, (K, n)."""
        return self.deviations @ self.weight.T

    @cached_property
    def directions(self) -> Tensor:
        """Those of ``T f``, (K, n)."""
        return torch.nn.functional.normalize(self.base + self.moved, dim=1)

    @cached_property
    def read(self) -> Tensor:
        """``A' u`` of the directions u: what is read along them, (K, m)."""
        return self.directions @ self.weight

    @cached_property
    def energy(self) -> float:
        """``|A|_F^2``."""
        return float(self.weight.square().sum(dim=1).double().sum())

    def through(self, vectors: Tensor) -> Tensor:
        """``B x = A' (I - E u u') A x`` of vectors x, (B, m)."""
        moved = self.moved if vectors is self.deviations else vectors @ self.weight.T
        return self.across(moved) @ self.weight

    def trace_with(self, other: TranslatedHalf) -> float:
        """``tr B C`` with B of this and C of another half."""
        probes = _probes(self.weight.shape[0]).to(self.weight)
        left = (probes @ self.weight) @ other.weight.T
        right = (self.across(probes) @ self.weight) @ other.weight.T
        return float((left * other.across(right)).double().sum())

    def across(self, embeddings: Tensor) -> Tensor:
        """``(I - E u u') z`` of embeddings z, (B, n): what lies across the images', on average."""
        shared = (embeddings @ self.directions.T) @ self.directions
        return embeddings - shared / len(self.directions)


def random_head_spread(halves: Sequence[TranslatedHalf], feature_dim: int, null_dim: int) -> float:
    """Standard deviation of IS over random heads of one shape, over its mean.

    Args:
        halves: of the probe, one or two.
        feature_dim: m. Vectors may be given by fewer coordinates of the same products.
        null_dim: d, dimension of the null space, 0 to m.

    Returns:
        At least 0, and 0 where everything is removed; NaN where nothing is, or nothing moves, and
        where a translator reads fewer than three directions: (tr B)^2 < 3 tr B B.
    """
    if null_dim == feature_dim:
        return 0.0
    if null_dim == 0:
        return math.nan
    expansions = [_Expansion.of(half, feature_dim, null_dim) for half in halves]
    total = sum(half.images for half in halves)
    angle = sum(h.images / total * each.angle for h, each in zip(halves, expansions, strict=True))
    if not angle > 0:
        return math.nan
    traces = _Traces(halves, expansions)
    for letter, _ in zip(_TRANSLATORS, halves, strict=False):
        if traces.of(letter) ** 2 < _FEWEST_READ * traces.of(2 * letter):
            return math.nan
    # One trace of P for L, and one with two P for each half.
    terms = ["L", *(b + s for b, s in zip(_TRANSLATORS, _FEATURES, strict=True))][: 1 + len(halves)]

    def variance(terms: Sequence[Word], trace: Callable[[Word], Number]) -> Number:
        def moment(*words: Word) -> Number:
            return projection_moment(words, trace, feature_dim, null_dim)

        parts = [moment(a, b) - moment(a) * moment(b) for a in terms for b in terms]
        return reduce(add, parts)

    found = variance(terms, lru_cache(maxsize=None)(traces.of))
    # A sample's mean has more of what varies in single images than that of all.
    for half, translator, features in zip(halves, _TRANSLATORS, _FEATURES, strict=False):
        if half.images <= len(half.deviations):
            continue
        each = lru_cache(maxsize=None)(partial(traces.of_each, features))
        single = variance(["L", translator + features], each)
        own = float(single.mean()) - found * (half.images / total) ** 2
        found -= (1 / len(half.deviations) - 1 / half.images) * own
    return math.sqrt(max(found, 0.0)) / angle


@dataclass(frozen=True)
class _Expansion:
    """The mean angle of some images, in radians, and what it changes with.

    Args:
        angle: about the mean removal.
        linear: vectors y of all images with ``L = sum of y A`` and ``f - mu``, (K, n).
        quadratic: weights of all images in S, (K,) float64.
    """

    angle: float
    linear: Tensor
    quadratic: Tensor

    @classmethod
    def of(cls, half: TranslatedHalf, feature_dim: int, null_dim: int) -> _Expansion:
        moved, towards = half.moved.double(), half.directions.double()
        lengths = torch.linalg.vector_norm(half.base.double() + moved, dim=1)
        along = (towards * moved).sum(dim=1)
        # E[P x P] = (a + b) x + b tr(x) for a symmetric x.
        m, d = feature_dim, null_dim
        scale = d / (m * (m - 1) * (m + 2))
        a, b = scale * ((m + 1) * d - 2), scale * (m - d)
        energy = half.deviations.square().sum(dim=1).double()
        squared = (a + b) * moved.square().sum(dim=1)
        squared += b * energy * half.energy
        own = half.read.square().sum(dim=1).double()
        own = (a + b) * along**2 + b * energy * own
        shift = d / m * along
        across, left = (squared - own).clamp(min=0).sqrt(), lengths - shift
        # |T f~|^2 on average, which is more than that of its mean where little is left of it.
        length = left**2 + across**2 + own - shift**2
        # An image at the mean does not move.
        quadratic = (left / length / (2 * across)).where(across > 0, 0.0)
        along_too = (across / length).where(across > 0, 0.0) - 2 * quadratic * shift
        linear = along_too[:, None] * towards
        linear += 2 * d / m * quadratic[:, None] * (moved - half.across(half.moved).double())
        return cls(float(torch.atan2(across, left).mean()), linear, quadratic)


class _Traces:
    """Traces of products of L, B, C, S and T, by their words.

    L and S are sums over images. So a word is cut at them, and its trace is made of products of
    images' vectors with each other, B or C in between: no matrix of all features is formed.
    """

    def __init__(self, halves: Sequence[TranslatedHalf], expansions: Sequence[_Expansion]) -> None:
        self._halves = dict(zip(_TRANSLATORS, halves, strict=False))
        total = sum(half.images for half in halves)
        # Of either half f - mu, in capitals, those through a translator, and y A.
        self._vectors: dict[str, Tensor] = {}
        self._weights: Weights = {"L": {}}
        for name, half, each in zip(_FEATURES, halves, expansions, strict=False):
            scale = half.images / total / len(half.deviations)
            linear = name.lower()
            self._vectors[name] = half.deviations
            self._vectors[linear] = each.linear.to(half.weight) @ half.weight
            for translator, other in self._halves.items():
                self._vectors[translator + name] = other.through(half.deviations)
            self._weights[name] = {(name, name): scale * each.quadratic}
            equal = torch.full_like(each.quadratic, scale / 2)
            self._weights["L"] |= {(name, linear): equal, (linear, name): equal}
        self._known: dict[tuple[str, str, str], Tensor] = {}
        self._alone: dict[Word, Tensor] = {}

    def of(self, word: Word) -> float:
        """The trace for all images."""

        def over_all(one: Tensor, *products: Tensor, other: Tensor | None = None) -> Tensor:
            product = reduce(mul, products)
            return one @ product.diagonal() if other is None else one @ product @ other

        return float(self._trace(word, self._weights, over_all))

    def of_each(self, name: str, word: Word) -> Tensor:
        """The trace for each image of a half alone, as if it were all of the half, (K,)."""
        count = len(self._vectors[name])
        own = {
            letter: {pq: count * weight for pq, weight in weights.items() if pq[0].upper() == name}
            for letter, weights in self._weights.items()
        }

        def each(one: Tensor, *products: Tensor, other: Tensor | None = None) -> Tensor:
            product = reduce(mul, (found.diagonal() for found in products))
            return one * product * (1 if other is None else other)

        return self._trace(word, own, each)

    def _trace(self, word: Word, weights: Weights, sums: Callable[..., Tensor]) -> Tensor:
        cuts = [place for place, letter in enumerate(word) if letter in weights]
        if not cuts:
            return self._of_translators(word)
        first, after = weights[word[cuts[0]]], word[cuts[0] + 1 :]
        if len(cuts) == 1:
            between = after + word[: cuts[0]]
            parts = [sums(own, self._products(q, between, p)) for (p, q), own in first.items()]
            return torch.stack(parts).sum(dim=0)
        there, back = word[cuts[0] + 1 : cuts[1]], word[cuts[1] + 1 :] + word[: cuts[0]]
        parts = [
            sums(one, self._products(q, there, r), self._products(p, back[::-1], s), other=other)
            for (p, q), one in first.items()
            for (r, s), other in weights[word[cuts[1]]].items()
        ]
        return torch.stack(parts).sum(dim=0)

    def _products(self, p: str, between: Word, q: str) -> Tensor:
        """``p B q'`` of vectors p and q, with up to two translators between, (K_p, K_q) float64."""
        if (p, between, q) not in self._known:
            # Deviations alone, in capitals, go through translators: each of them is in the word.
            left, right = (
                ("", between) if len(between) == 1 and q.isupper() else (between[:1], between[1:])
            )
            product = self._vectors[left + p] @ self._vectors[right + q].T
            self._known[p, between, q] = product.double()
            self._known[q, between[::-1], p] = product.double().T
        return self._known[p, between, q]

    def _of_translators(self, word: Word) -> Tensor:
        """``tr B`` or ``tr B C``."""
        if word not in self._alone:
            half = self._halves[word[0]]
            self._alone[word] = (
                half.energy - half.read.square().sum(dim=1).double().mean()
                if len(word) == 1
                else torch.tensor(half.trace_with(self._halves[word[1]]), dtype=torch.float64)
            )
        return self._alone[word]


def _probes(size: int) -> Tensor:
    """Directions z among embeddings with ``sum of z z' = I``, or near it, (P, n)."""
    if size <= _MOST_DIRECTIONS:
        return torch.eye(size)
    generator = torch.Generator().manual_seed(0)
    signs = torch.randint(2, (_PROBES, size), generator=generator)
    return (2 * signs - 1) / _PROBES**0.5
