"""Where real image embeddings lie, and whether a translated feature lies among them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sing_monitor.row_blocks import NOISE, all_blocks, gram, times_lower

VARIANCE = 0.95
# Above this percentile a vector is out of support.
OUTSIDE = 0.99


@dataclass(frozen=True)
class Whitening:
    """The directions in which reference embeddings vary, each scaled to variance 1.

    Betser, Levi, Gilboa, "Whitened CLIP as a Likelihood Surrogate of Images and Captions",
    ICML 2025; the truncation is ours.

    Args:
        mean: of the reference, the modality mean, (n,).
        directions: eigenvectors of its covariance over the square root of their eigenvalues,
            turned among themselves so that the i-th is 0 before its i-th entry, (n, k): lengths
            stay as they are, and products skip the zeros.
    """

    mean: Tensor
    directions: Tensor

    @classmethod
    def of(cls, reference: Tensor, variance: float = VARIANCE) -> Whitening:
        """Whiten the fewest directions that hold a share of the variance.

        The rest, noise with eigenvalues near 0, would decide the norm.

        Args:
            reference: real image embeddings, (N, n), at least two.
            variance: the share, above 0 and at most 1.

        Raises:
            ValueError: if there are fewer than two embeddings, or they are all equal.
        """
        mean = reference.mean(dim=0)
        scatter = gram(reference - mean)
        varying, constant = scatter.trace(), len(reference) * mean.square().sum()
        if len(reference) < 2 or not varying > NOISE * (varying + constant):
            raise ValueError(
                f"a whitening needs embeddings that vary; got {len(reference)} of them, "
                "alike or fewer than two."
            )
        eigenvalues, vectors = torch.linalg.eigh((scatter / (len(reference) - 1)).to(reference))
        eigenvalues, vectors = eigenvalues.flip(0).clamp(min=0), vectors.flip(1)
        held = eigenvalues.cumsum(0)
        # The first count whose share suffices; rounding must not ask for one more.
        count = int((held < (variance - 1e-12) * held[-1]).sum()) + 1
        scaled = vectors[:, :count] / eigenvalues[:count].sqrt()
        return cls(mean, torch.linalg.qr(scaled.T, mode="r").R.T.contiguous())

    def norm(self, embeddings: Tensor) -> Tensor:
        """Mahalanobis distance from the mean in the kept directions, (N, n) -> (N,)."""
        norms = (
            torch.linalg.vector_norm(self.coordinates(embeddings[rows]), dim=1)
            for rows in all_blocks(embeddings)
        )
        return torch.cat(list(norms))

    def coordinates(self, embeddings: Tensor) -> Tensor:
        """Whitened deviations from the mean, (N, n) -> (N, k)."""
        return times_lower(embeddings - self.mean, self.directions)


def percentiles(values: Tensor, reference: Tensor) -> Tensor:
    """Share of the reference that lies below each value.

    Args:
        values: (N,); NaN stays NaN.
        reference: (M,).

    Returns:
        (N,), float64, 0 to 1.
    """
    below = torch.searchsorted(reference.sort().values, values)
    return (below.double() / len(reference)).where(~values.isnan(), torch.nan)


def whitened_by_the_others(embeddings: Tensor, folds: Tensor, fold: int) -> Whitening | None:
    """What the embeddings of a fold are compared in: the whitening of the other one.

    Args:
        embeddings: of real images, (N, n).
        folds: (N,) of 0 and 1.
        fold: whose images are compared.

    Returns:
        None where the fold is empty, or the other holds no two different embeddings.
    """
    if not bool((folds == fold).any()):
        return None
    try:
        others = (folds != fold).nonzero().flatten()
        return Whitening.of(embeddings.index_select(0, others))
    except ValueError:
        return None


def place_among(vectors: Tensor, embeddings: Tensor, folds: Tensor, fold: int) -> Tensor:
    """Percentile of vectors among the real embeddings of a fold, whitened by those of the other.

    Args:
        vectors: (B, n).
        embeddings: of real images, (N, n).
        folds: of the real images, (N,) of 0 and 1.
        fold: that the vectors are compared with.

    Returns:
        (B,), float64, 0 to 1; NaN where a fold holds too few embeddings that differ.
    """
    whitening = whitened_by_the_others(embeddings, folds, fold)
    if whitening is None:
        return torch.full((len(vectors),), torch.nan, dtype=torch.float64)
    return percentiles(whitening.norm(vectors), whitening.norm(embeddings[folds == fold]))


def split_movement(before: Tensor, after: Tensor, distance: Tensor) -> tuple[Tensor, Tensor]:
    """Split IS into a part toward or away from a pole, and a rotation about it.

    By the haversine formula of the sphere, with ``hav x = sin^2(x / 2)``,

        hav IS = hav radial + hav rotation,    radial = angle(T f, pole) - angle(T f~, pole)

    With the modality mean as pole the radial part says whether the meaning became more generic
    (positive) or more special, and the rotation how far it turned into another one.

    Args:
        before: angle(T f, pole), degrees, (N,).
        after: angle(T f~, pole), degrees, (N,).
        distance: IS, degrees, (N,).

    Returns:
        The radial part, -180 to 180, and the rotation, 0 to 180: degrees, each (N,).
    """
    radial = before - after
    left = _haversine(distance) - _haversine(radial)
    return radial, torch.rad2deg(2 * torch.asin(left.clamp(0, 1).sqrt()))


def _haversine(degrees: Tensor) -> Tensor:
    return torch.sin(torch.deg2rad(degrees) / 2).square()
