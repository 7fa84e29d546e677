"""What the stability of the modes says about a training, in plain words."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

# Of docs/method.md: lowest .06 to .17 after a learning-rate step, .32 to .47 without any.
_CLEARLY_LOW = 0.25
_FEWEST = 5
# A fall comes 5 to 8 validations after the change.
_LATEST = 8
# As long as it reaches back to the first epochs, their large steps make the same fall.
_RECENT = 10
# Random walks exceed their surrogate by up to .8 points.
_TELLING = 1.0


def lowest_point(stability: Sequence[float]) -> int | None:
    """Place of the lowest value, where the fall to it is clear; else None.

    Clear is a value below a quarter and below half of the median: no training of an even learning
    rate fell so far.

    Args:
        stability: by validation, in order; NaN where unknown.

    Example::

        >>> lowest_point([float("nan"), 0.6, 0.7, 0.6, 0.1, 0.5]), lowest_point([0.6, 0.5, 0.4] * 2)
        (4, None)
    """
    known = [value for value in stability if value == value]
    if len(known) < _FEWEST:
        return None
    lowest = min(known)
    if lowest >= _CLEARLY_LOW or lowest >= median(known) / 2:
        return None
    return list(stability).index(lowest)


def change_reading(stability: Sequence[float], epochs: Sequence[int]) -> str | None:
    """When the way in which weights move together changed; None where no fall is clear.

    Args:
        stability: by validation of one run, in order, from the first one on.
        epochs: of the same validations.

    Example::

        >>> print(change_reading([0.6] * 28 + [0.1, 0.6], range(30)).partition(":")[0])
        Stability was lowest at epoch 28
    """
    place = lowest_point(stability)
    if place is None:
        return None
    said = (
        f"Stability was lowest at epoch {epochs[place]}: the way in which weights move together "
        "changed in the epochs before it"
    )
    if place < _RECENT + _LATEST:
        return f"{said}. So early, that may be the large first steps of a training, no more."
    return f"{said}, as it does 5 to 8 validations after a learning rate is lowered."


def modes_reading(epoch: int, modes: int, explained: float, surrogate: float) -> str:
    """How much the modes explain beyond chance, as Markdown.

    Args:
        epoch: of the validation.
        modes: number of them.
        explained: ``dynamics/explained``; NaN where unknown.
        surrogate: ``dynamics/explained_surrogate``; NaN where unknown.

    Example::

        >>> print(modes_reading(28, 10, 0.929, 0.834)[-68:])
        **Only the excess, 9.5 points, tells something about the training.**
    """
    found, chance = round(100 * explained, 1), round(100 * surrogate, 1)
    if found != found or chance != chance:
        return ""
    excess = round(found - chance, 1)
    tells = (
        f"**Only the excess, {excess:.1f} points, tells something about the training.**"
        if excess >= _TELLING
        else f"**The excess, {excess:.1f} points, is no more than chance gives: nothing is found.**"
    )
    return (
        f"At epoch {epoch} these {modes} curves explain {found:.1f} % of how the sampled weights "
        f"moved, and {chance:.1f} % would be chance. {tells}"
    )
