"""Comparison of the linear translator with the paper's nonlinear ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from sing_monitor.scores.angles import image_score
from sing_monitor.snapshot import Snapshot
from sing_monitor.translate.cross_fit import cross_fit, mean_cosine
from sing_monitor.translate.nonlinear import KINDS, NonlinearKind, TranslatorKind, build_nonlinear
from sing_monitor.translate.precision import check_ridge
from sing_monitor.translate.translator import in_float64

if TYPE_CHECKING:
    from pandas import DataFrame

# SING, supplement, section 1.1. Steps and batch size are ours.
LEARNING_RATE = 1e-4
_WEIGHT_DECAY = 0.1
STEPS = 3000
_BATCH = 256


def fit_nonlinear(
    kind: NonlinearKind,
    features: Tensor,
    embeddings: Tensor,
    *,
    hidden_dim: int | None = None,
    steps: int = STEPS,
    learning_rate: float = LEARNING_RATE,
    seed: int = 0,
) -> nn.Module:
    """Train a nonlinear translator as the paper does: squared error, AdamW, weight decay 0.1.

    The bias of the last layer starts at the mean embedding (ours). Runs on the device of the
    features. The random number generators of the process stay as they are.

    Args:
        kind: ``"3layer"``, ``"4layer"`` or ``"residual"``.
        features: (N, m).
        embeddings: raw image embeddings, (N, n), on the same device.
        hidden_dim: width of the hidden layers; m by default.
        steps: of the optimizer, each on 256 samples at most.
        learning_rate: the paper's by default.
        seed: of weights, order and dropout.

    Returns:
        The translator in eval mode, float32.

    Raises:
        ValueError: if the kind is unknown, there is no sample, or the numbers of features and
            embeddings differ.
    """
    if len(features) != len(embeddings) or len(features) == 0:
        raise ValueError(
            f"a translator is fitted on pairs; got {len(features)} features and "
            f"{len(embeddings)} embeddings."
        )
    from tqdm.auto import tqdm

    x, z = features.detach().float(), embeddings.detach().float()
    with torch.random.fork_rng(), torch.enable_grad():
        torch.manual_seed(seed)
        translator = build_nonlinear(kind, x.shape[1], z.shape[1], hidden_dim).to(x.device)
        with torch.no_grad():
            translator.output.bias.copy_(z.mean(dim=0))
        optimizer = torch.optim.AdamW(
            translator.parameters(), learning_rate, weight_decay=_WEIGHT_DECAY
        )
        batches = islice(_batches(len(x)), steps)
        for rows in tqdm(
            batches, f"SING: {kind} translator", total=steps, leave=False, delay=2, unit="step"
        ):
            loss = nn.functional.mse_loss(translator(x[rows]), z[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return translator.eval().requires_grad_(False)


def _batches(samples: int) -> Iterator[Tensor]:
    """Iterate over the rows of batches without end, in a new order at every pass."""
    while True:
        yield from torch.randperm(samples).split(_BATCH)


def compare_translators(
    snapshot: Snapshot,
    kinds: Sequence[TranslatorKind] = KINDS,
    *,
    ridge: float | Literal["auto"] = "auto",
    hidden_dim: int | None = None,
    steps: int = STEPS,
    learning_rate: float = LEARNING_RATE,
    seed: int = 0,
) -> DataFrame:
    """Compare kinds of translators on held-out images (SING, table 2).

    Each kind is fitted on either fold of the probe and evaluated on the other.

    Args:
        snapshot: of one validation.
        kinds: the kinds to compare.
        ridge: of the linear one.
        hidden_dim: of the others.
        steps: of the others.
        learning_rate: of the others.
        seed: of the others.

    Returns:
        One row for each kind: ``cosine`` (mean), ``mse`` (per element), ``r2``, and
        ``image_score``, the mean IS in degrees of the paper's pair under that translator. The
        linear translator is enough if the others are hardly better and give the same IS.

    Raises:
        ValueError: if a fold of the probe holds no two images that differ, a kind is unknown, or
            the ridge is none from 1e-6 to 1e3.
    """
    from pandas import DataFrame

    check_ridge(ridge)
    features, embeddings = snapshot.features.double(), snapshot.known_embeddings.double()
    linear = cross_fit(features, embeddings, snapshot.folds, ridge).translators
    if linear is None:
        raise ValueError(
            "one fold of the probe holds no two images that differ; give a snapshot of more images."
        )
    original, removed = torch.zeros_like(embeddings), torch.zeros_like(embeddings)
    mean, rows = torch.zeros_like(embeddings), []
    for kind in kinds:
        for fold in (0, 1):
            own, other = snapshot.folds == fold, snapshot.folds != fold
            translator: nn.Module = linear[fold]
            if kind != "linear":
                translator = fit_nonlinear(
                    kind,
                    features[other],
                    embeddings[other],
                    hidden_dim=hidden_dim,
                    steps=steps,
                    learning_rate=learning_rate,
                    seed=seed,
                )
            translate = in_float64(translator)
            original[own] = translate(features[own])
            removed[own] = translate(snapshot.geometry.principal(features[own]))
            mean[own] = embeddings[other].mean(dim=0)
        error = (original - embeddings).square()
        rows.append(
            {
                "kind": kind,
                "cosine": mean_cosine(original, embeddings),
                "mse": float(error.mean()),
                "r2": float(1 - error.sum() / (embeddings - mean).square().sum()),
                "image_score": float(image_score(original, removed).mean()),
            }
        )
    return DataFrame(rows)
