"""The pairs ``(f, f~)`` that are scored: a feature and an equivalent of it, made in three ways."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Pair:
    """One way to make the equivalent f~ of a feature f.

    Args:
        name: for headings, one word.
        suffix: that metrics and columns of this pair have; empty for the paper's pair.
        label: of a metric, after its own words.
        formula: f~.
        removal: what happens to f, as a clause.
        source: paper and equation, or ``ours``.
        is_baseline: whether a random subspace takes the place of the head's null space.
    """

    name: str
    suffix: str
    label: str
    formula: str
    removal: str
    source: str
    is_baseline: bool = False

    def named(self, name: str) -> str:
        """A metric or column of this pair.

        Example::

            >>> CENTERED.named("image_score"), PLAIN.named("image_score")
            ('image_score_centered', 'image_score')
        """
        return f"{name}{self.suffix}"


PLAIN = Pair(
    "plain", "", "", "f - P_n f", "the null-space part is removed (the paper's pair)", "eq. 9"
)
CENTERED = Pair(
    "centered",
    "_centered",
    ", centered",
    "f - P_n (f - mu)",
    "the null-space part of the deviation from the mean feature is removed",
    "ours",
)
RANDOM = Pair(
    "random",
    "_random",
    ", random subspace",
    "f - R (f - mu), R a random subspace of the null space's size, drawn for each image",
    "a random subspace of the same size is removed: the baseline",
    "ours",
    is_baseline=True,
)

# The equivalents under the head, and the baseline they are read against.
EQUIVALENTS = (PLAIN, CENTERED)
PAIRS = (*EQUIVALENTS, RANDOM)
