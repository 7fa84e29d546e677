"""Planted worlds: how much of the class stands in what a head sees, and how much in its null space.

Eight classes at plus and minus four axes. Features hold the class twice, each time with noise of
its own: in eight directions that the head reads, and in eight that it does not.
"""

from __future__ import annotations

import torch

from sing_monitor.snapshot import Snapshot
from sing_monitor.space.text_embeddings import Texts, TextSet
from tests.helpers import class_texts, normal, orthogonal

CODES = torch.cat([torch.eye(4), -torch.eye(4)]).double()
CLASSES = len(CODES)
SIDES = ("plus", "minus")


def world(
    seen: float | list[float] = 1.0,
    null: float | list[float] = 1.0,
    *,
    nuisance: float = 0.0,
    noise: float = 0.3,
    samples: int = 400,
    seed: int = 0,
) -> Snapshot:
    """One validation in such a world.

    Args:
        seen: length of the class's code in what the head sees, for all classes or for each.
        null: the same in the null space.
        nuisance: by how much another thing that the head sees moves embeddings among the codes.
        noise: of features and embeddings.
        samples: N.
        seed: of all that is drawn.
    """
    labels = torch.arange(samples) % CLASSES
    in_seen, in_null = (
        torch.as_tensor(length).double().expand(CLASSES)[labels, None] * CODES[labels]
        for length in (seen, null)
    )
    draws = normal(5, samples, 4, seed=seed)
    other = draws[0]
    features = torch.cat(
        [in_seen + noise * draws[1], other, in_null + noise * draws[2], draws[3]], dim=1
    )
    rotation = orthogonal(16, seed=seed + 1)
    embeddings = torch.cat([CODES[labels] + nuisance * other, torch.zeros_like(other)], dim=1)
    return Snapshot(
        weight=normal(CLASSES, 8, seed=seed + 2) @ rotation[:8],
        bias=None,
        features=features @ rotation + 1,
        labels=labels,
        embeddings=embeddings + 0.1 * noise * torch.cat([draws[4], draws[3]], dim=1),
        class_names=tuple(f"class {c}" for c in range(CLASSES)),
        image_ids=torch.randperm(samples, generator=torch.Generator().manual_seed(seed)),
        attributes={"side": ((labels >= 4).long(), SIDES)},
    )


def texts_of(snapshot: Snapshot) -> Texts:
    """Class texts at the codes; of the attribute, those of the first class of either side."""
    codes = torch.cat([CODES, torch.zeros_like(CODES)], dim=1)
    sides = torch.stack([codes[:4].mean(dim=0), codes[4:].mean(dim=0)])
    classes = class_texts(codes).classes
    assert len(classes.names) == len(snapshot.class_names)
    return Texts(classes, attributes={"side": TextSet(SIDES, sides)})
