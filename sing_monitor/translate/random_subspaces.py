"""The random baseline of every score: subspaces as large as the head's, in random directions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from sing_monitor.row_blocks import (
    NOISE,
    all_blocks,
    all_rows,
    deviations,
    squared_norms,
    working,
)

if TYPE_CHECKING:
    from sing_monitor.translate.cross_fit import CrossFit
    from sing_monitor.translate.reduced import Span

# How many random draws the images share. Of 1,436 images the mean is as certain as if each had one
# of its own, and the product of so few vectors with the translators costs next to nothing.
RANDOM_DRAWS = 256
RANDOM_SEED = 0

ImageIds = TypeVar("ImageIds", int, Tensor)


@dataclass(frozen=True)
class RandomRemoval:
    """What is left of images when each loses a random subspace R of dimension m - r.

    Of a deviation d = f - mu there remains its projection P d on a uniformly random subspace of
    dimension r. That holds a share s of ``|d|^2``, so s is also its part along d, and no direction
    across d goes before another::

        P d = s d + sqrt(s (1 - s)) |d| u,    s ~ Beta(r/2, (m - r)/2)

    with u uniform on the unit sphere orthogonal to d, independent of s (ours). The part of a
    Gaussian g that is orthogonal to d points along u, so ``P d = keep d + add g``: no basis is
    drawn, and no product with one is needed.

    Args:
        directions: g of every draw, (K, m) float64.
        draws: which of them an image has, (N,).
        energies: ``|d|^2``, (N,) float64.
        shares: s, (N,) float64.
        keep: (N,) float64.
        add: (N,) float64.
    """

    directions: Tensor
    draws: Tensor
    energies: Tensor
    shares: Tensor
    keep: Tensor
    add: Tensor

    @property
    def energy(self) -> float:
        """``sum |R d|^2``: what is removed."""
        return float(((1 - self.shares) * self.energies).sum())

    def equivalents(self, features: Tensor, center: Tensor, rows: Tensor | None = None) -> Tensor:
        """``f - R (f - mu) = mu + keep (f - mu) + add g``, (B, m) float64.

        Args:
            features: of all images, (N, m).
            center: mu, (m,) float64.
            rows: those that are wanted, (B,); None: all.
        """
        rows = all_rows(features) if rows is None else rows
        kept = torch.lerp(center, features[rows].double(), self.keep[rows, None])
        return kept + self.add[rows, None] * self.directions[self.draws[rows]]

    def translated(self, fit: CrossFit, original: Tensor, center: Tensor) -> TranslatedAtRandom:
        """``T mu + keep (T f - T mu) + add A g``, (N, n): only the few g are multiplied with A.

        Args:
            fit: the translators T.
            original: ``T f``, (N, n).
            center: mu, (m,).
        """
        count, n = len(self.directions), original.shape[1]
        # Without translators there is no T f, either.
        bases, steps = original.new_zeros(2, n), original.new_zeros(2 * count, n)
        directions = self.directions.to(original)
        for fold, translator in enumerate(fit.translators or ()):
            bases[fold] = translator(center).to(original)
            part = steps[fold * count : (fold + 1) * count]
            torch.mm(directions, translator.weight.T.to(original), out=part)
        return TranslatedAtRandom(self, original, fit.folds, bases, steps)


@dataclass(frozen=True)
class TranslatedAtRandom:
    """Translations of what is left, worked out for the rows that are asked for.

    Args:
        removal: what is left of the images.
        original: ``T f``, (N, n).
        folds: (N,) of 0 and 1.
        bases: ``T mu`` of either fold's translator, (2, n).
        steps: ``A g`` of every draw, those of fold 0 first, (2 K, n).
    """

    removal: RandomRemoval
    original: Tensor
    folds: Tensor
    bases: Tensor
    steps: Tensor

    def __getitem__(self, rows: slice) -> Tensor:
        """Of some images, (B, n)."""
        removal, original, folds = self.removal, self.original[rows], self.folds[rows]
        keep, add = (each[rows, None].to(original) for each in (removal.keep, removal.add))
        kept = torch.lerp(self.bases.index_select(0, folds), original, keep)
        places = removal.draws[rows] + folds * len(removal.directions)
        return kept.addcmul_(add, self.steps.index_select(0, places))


def remove_at_random(
    features: Tensor,
    center: Tensor,
    rank: int,
    draws: Tensor,
    *,
    seed: int = RANDOM_SEED,
    span: Span | None = None,
) -> RandomRemoval:
    """Remove a random subspace as large as a head's null space from every image.

    Drawn on the CPU from a generator of its own, so that neither the device nor the global random
    state matters.

    Args:
        features: (N, m).
        center: mu, (m,) float64.
        rank: r, dimension of the subspace that is kept, 0 to m.
        draws: :func:`chosen_draw` of every image, (N,).
        seed: of the generator.
        span: what features and center are coordinates in; None: they are themselves.
    """
    feature_dim = features.shape[1] if span is None else span.feature_dim
    directions, shares = random_draws(feature_dim, rank, seed)
    if span is not None:
        directions = span.coordinates(directions)
    share = shares[draws]
    energies, along = torch.empty(2, len(features), dtype=torch.float64)
    narrow = directions.to(working(features[:0]))
    for rows in all_blocks(features):
        away = deviations(features[rows], center)
        energies[rows] = squared_norms(away)
        away *= narrow.index_select(0, draws[rows])
        along[rows] = away.sum(dim=1, dtype=along.dtype)
    lengths = directions.square().sum(dim=1)[draws]
    keep, add = kept_and_added(share, energies, along, lengths)
    return RandomRemoval(directions, draws, energies, share, keep, add)


def kept_and_added(
    share: Tensor, energies: Tensor, along: Tensor, lengths: Tensor
) -> tuple[Tensor, Tensor]:
    """``keep`` and ``add`` with ``P d = keep d + add g``, of deviations d and draws g.

    Args:
        share: s, float64 as all of them; they are broadcast.
        energies: ``|d|^2``.
        along: ``d'g``.
        lengths: ``|g|^2``.
    """
    # A deviation of 0 has no direction, and one of a single entry has nothing across it.
    slope = along / energies.clamp(min=torch.finfo(energies.dtype).tiny)
    across = (lengths - slope * along).clamp(min=NOISE * lengths)
    add = (share * (1 - share) * energies / across).sqrt()
    return share - add * slope, add


def chosen_draw(image_ids: ImageIds) -> ImageIds:
    """Which of the random draws an image has, 0 to ``RANDOM_DRAWS - 1``.

    By other bits of the fingerprint than the lowest, which chooses the fold.
    """
    return (image_ids >> 1) % RANDOM_DRAWS


@lru_cache(maxsize=1)
def random_draws(feature_dim: int, rank: int, seed: int) -> tuple[Tensor, Tensor]:
    """Gaussian vectors g, (K, m), and shares s, (K,), one from every K-th part of their law."""
    from scipy.special import betaincinv

    generator = torch.Generator().manual_seed(seed)
    size = RANDOM_DRAWS, feature_dim
    directions = torch.randn(size, generator=generator, dtype=torch.float64)
    jitter = torch.rand(RANDOM_DRAWS, generator=generator, dtype=torch.float64)
    quantiles = (torch.randperm(RANDOM_DRAWS, generator=generator) + jitter) / RANDOM_DRAWS
    if rank in (0, feature_dim):
        return directions, torch.full_like(quantiles, rank / feature_dim)
    shares = betaincinv(rank / 2, (feature_dim - rank) / 2, quantiles.numpy())
    return directions, torch.from_numpy(shares)
