"""Influence of the images that the translators were fitted on, on all scores of the probe.

The mathematics is that of :mod:`sing_monitor.scores.influence`. Its kernel ``k(x, x_i)`` is an
affine map of x, as a translator is, so equivalents are weighed the way they are translated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sing_monitor.scores.angles import PairScores, angle, unit
from sing_monitor.scores.influence import Shift, angle_influence
from sing_monitor.scores.pairs import Pair
from sing_monitor.translate.cross_fit import CrossFit

# Fitted images of either fold whose influence is worked out: their squares need to be known on
# average only, and 256 of them do so to about a tenth.
MOST_IMAGES = 128
_SEED = 0


def weighed_images(folds: Tensor) -> tuple[Tensor, Tensor]:
    """Images whose influence is worked out: some of fold 1, which translator 0 is fitted on,
    and some of fold 0; as many of either, at most ``MOST_IMAGES``, (I,) each.

    Args:
        folds: (N,) of 0 and 1.
    """
    own = [(folds == fold).nonzero().flatten() for fold in (1, 0)]
    wanted = min(MOST_IMAGES, *map(len, own))
    generator = torch.Generator().manual_seed(_SEED)
    first, second = (
        rows[torch.randperm(len(rows), generator=generator)[:wanted].sort().values] for rows in own
    )
    return first, second


@dataclass(frozen=True)
class Weighed:
    """Fitted images with what their weight does to translations.

    Args:
        rows: of the images that translator k was fitted on, (I,), for either k.
        residuals: ``(z_i - T x_i) / (1 - k_ii)``, (I, n), for either k: what they leave of a fit
            without them.
        kernels: translators to k_ji, (I,), in place of the fit's.
        folds: fold of every image, (N,).
    """

    rows: tuple[Tensor, Tensor]
    residuals: tuple[Tensor, Tensor]
    kernels: CrossFit

    @classmethod
    def of(
        cls, fit: CrossFit, features: Tensor, embeddings: Tensor, rows: tuple[Tensor, Tensor]
    ) -> Weighed:
        """Work out residuals.

        Args:
            fit: with kernels of these images.
            features: of all images, (N, m).
            embeddings: (N, n).
            rows: of the images.

        Raises:
            ValueError: if the fit holds no kernels.
        """
        if fit.translators is None or fit.kernels is None:
            raise ValueError("influences need a fit with kernels; give `weighed` to cross_fit.")
        first, second = (
            _left_out(translator, kernel, features[some].double(), embeddings[some].double())
            for translator, kernel, some in zip(fit.translators, fit.kernels, rows, strict=True)
        )
        kernels = replace(
            fit, translators=fit.kernels, means=fit.means.new_zeros(2, len(rows[0]))
        )
        return cls(rows, (first, second), kernels)


def _left_out(translator, kernel, x: Tensor, z: Tensor) -> Tensor:
    residual = z - translator(x)
    leverage = kernel(x).diagonal()
    return residual / (1 - leverage)[:, None]


def pair_influences(
    weighed: Weighed,
    original: Tensor,
    equivalents: Mapping[Pair, Tensor],
    kernel: Tensor,
    kernels: Mapping[Pair, Tensor],
    scores: Mapping[Pair, PairScores],
    texts: Tensor,
    labels: Tensor,
) -> dict[str, Tensor]:
    folds = weighed.kernels.folds
    found = {
        pair.named(f"sing/{name}"): torch.zeros(len(folds), dtype=torch.float64)
        for pair in scores
        for name in ("attribute_score", "attribute_score_abs", "image_score")
    }
    text_directions = unit(texts.to(original))
    for fold in (0, 1):
        rows, residual = weighed.rows[fold], weighed.residuals[fold].to(original).T
        own = (folds == fold).nonzero().flatten()

        def shift(embeddings, kernel, own=own, residual=residual):
            y = embeddings[own]
            length = torch.linalg.vector_norm(y, dim=1)
            return Shift(kernel[own], (y @ residual) / length[:, None], length)

        base = shift(original, kernel)
        towards = text_directions[labels[own]]
        toward = (text_directions @ residual)[labels[own]]
        to_text = angle(original[own], towards)
        scale = ((folds != fold).sum() / len(rows)).sqrt()
        for pair, score in scores.items():
            moved = shift(equivalents[pair], kernels[pair])
            attribute, image = score.attribute[own], score.image[own]
            weights = torch.stack([torch.ones_like(attribute), attribute.sign()], dim=1)
            change = angle_influence(base, toward, to_text, weights) - angle_influence(
                moved, toward, angle(equivalents[pair][own], towards), weights
            )
            one = weights[:, :1]
            turn = angle_influence(base, moved.along, image, one) + angle_influence(
                moved, base.along, image, one
            )
            for name, values in (
                ("attribute_score", change[:, 0]),
                ("attribute_score_abs", change[:, 1]),
                ("image_score", turn[:, 0]),
            ):
                values = values.double()
                found[pair.named(f"sing/{name}")][rows] = scale * (values - values.mean())
    return found
