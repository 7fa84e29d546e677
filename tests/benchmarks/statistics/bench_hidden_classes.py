"""How often a class is called hidden that is not, and how often one that is.

Simulated counts of images that only the whole, or only the seen part, reads rightly. An epoch is a
false alarm if any of its classes is called hidden though both parts read all of them equally well.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sing_monitor.scores.hidden_classes import FALSE_DISCOVERIES, SUBSTANTIAL_LOSS, mcnemar_p

SEED = 0
CLASSES = (2, 3, 5, 10, 100)
IMAGES = (10, 30, 100)
DISCORDANT = (0.1, 0.3, 0.5)


def false_alarms(
    classes: int, images: int, discordant: float, *, loss: float = 0.0, epochs: int = 20_000
) -> float:
    """Share of epochs with a class that is called hidden.

    Args:
        classes: C.
        images: of each class.
        discordant: share of images that one part reads rightly and the other wrongly.
        loss: share that is lost on balance in every class.
        epochs: that are simulated.
    """
    rates = (discordant + loss) / 2, (discordant - loss) / 2
    return float(
        _hidden(_drawn(classes, images, *rates, epochs), images).any(dim=1).double().mean()
    )


def power(
    classes: int, images: int, *, hidden: float, discordant: float, epochs: int = 20_000
) -> float:
    """Share of epochs that find the one class of which a share of the images is hidden."""
    lost, gained = _drawn(classes, images, discordant / 2, discordant / 2, epochs)
    # Its hidden images are lost for certain; the others are as in every class.
    rest = 1 - hidden
    own = _drawn(1, images, hidden + rest * discordant / 2, rest * discordant / 2, epochs)
    lost[:, :1], gained[:, :1] = own
    return float(_hidden((lost, gained), images)[:, 0].double().mean())


def _drawn(
    classes: int, images: int, losing: float, gaining: float, epochs: int
) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(SEED)
    shape = epochs, classes
    lost = torch.binomial(
        torch.full(shape, float(images)), torch.full(shape, losing), generator=generator
    ).double()
    left = torch.full(shape, gaining / (1 - losing))
    return lost, torch.binomial((images - lost).float(), left, generator=generator).double()


def _hidden(counts: tuple[Tensor, Tensor], images: int) -> Tensor:
    """The rule of :func:`hidden_by_counts` for many epochs at once, (E, C) bool."""
    lost, gained = counts
    table = mcnemar_p(*torch.meshgrid(*[torch.arange(images + 1.0)] * 2, indexing="ij"))
    p, order = table[lost.long(), gained.long()].sort(dim=1)
    ranks = torch.arange(1, p.shape[1] + 1)
    adjusted = (p * p.shape[1] / ranks).flip(1).cummin(dim=1).values.flip(1)
    q = torch.empty_like(p).scatter_(1, order, adjusted)
    return (q < FALSE_DISCOVERIES) & ((lost - gained) / images >= SUBSTANTIAL_LOSS)


def main() -> None:
    """Print shares of epochs by number of classes and of images."""
    print(f"seed {SEED}; shares of 20,000 epochs")
    for images in IMAGES:
        for classes in CLASSES:
            alarms = [false_alarms(classes, images, each) for each in DISCORDANT]
            print(
                f"{classes} classes of {images}: false alarms "
                + ", ".join(
                    f"{share:.4f} at {each:.0%} discordant"
                    for share, each in zip(alarms, DISCORDANT, strict=True)
                )
                + f"; {false_alarms(classes, images, 0.15, loss=0.05):.4f} if every class loses "
                f"5 %; power for 60 % hidden "
                f"{power(classes, images, hidden=0.6, discordant=0.1):.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
