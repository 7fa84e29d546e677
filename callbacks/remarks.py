"""What the user should know of an analysed epoch, beside its numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sing_monitor.callbacks.exchange import Outcome

_NAMED = 3


def remarks(outcome: Outcome, epoch: int) -> Iterator[tuple[str, str]]:
    """Remarks on an epoch that went well.

    Args:
        outcome: with its scalars.
        epoch: that it belongs to.

    Yields:
        Each remark, and where it was seen.
    """
    for note in outcome.notes:
        yield note, ""
    if outcome.scalars["head/null_dim"] == 0:
        yield (
            "the head has no null space (as many independent classes as features): AS and IS are "
            "0 by definition and their ratio is undefined.",
            "",
        )
    if outcome.poor_classes:
        yield (
            "the translator predicts their images no better than one constant vector (held-out R2 "
            "at most 0), so their scores mean nothing. More images, or a space that knows such "
            "images, may help; the table of classes has every translator_r2.",
            f"epoch {epoch}, {named(outcome.poor_classes)}: ",
        )


def named(classes: Sequence[str]) -> str:
    """A few names, and how many more there are.

    Example::

        >>> named(["cat"]), named(["cat", "dog", "ship", "tree", "car"])
        ("class 'cat'", "classes 'cat', 'dog', 'ship' and 2 more")
    """
    names = ", ".join(repr(name) for name in classes[:_NAMED])
    more = f" and {len(classes) - _NAMED} more" if len(classes) > _NAMED else ""
    return f"{'class' if len(classes) == 1 else 'classes'} {names}{more}"
