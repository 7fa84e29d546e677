"""What the user should know of an analysed epoch, beside its numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from torch import Tensor
from torch.nn.functional import linear

from sing_monitor.capture.pass_maps import PassMaps
from sing_monitor.capture.probe import Account
from sing_monitor.capture.stages.pass_stages import PassStages
from sing_monitor.errors import ChangedImagesError, Option, SetupError
from sing_monitor.head.ordinal import NO_ROWS, answers_by_thresholds
from sing_monitor.monitor.exchange import Outcome
from sing_monitor.scores.bootstrap import FEWEST_GROUPS
from sing_monitor.translate.ridge_curve import KeptRidge

if TYPE_CHECKING:
    from sing_monitor.snapshot import Snapshot

_NAMED = 3
# More new images than this share of the probe, and the validation set is not the same every time.
_CHANGED = 0.2
# Images whose outputs are looked at for thresholds.
_LOOKED_AT = 256
# Share of images with near copies from which scores are in doubt.
_COPIES = 0.05


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
    if outcome.scalars.get("head/null_dim") == 0:
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


def notes(account: Account, epoch: int) -> tuple[str, ...]:
    """Warnings about images that an analysed epoch leaves out, though they belong to its probe."""
    found = []
    if account.lost_batches:
        found.append(
            f"batches that could not be used in epoch {epoch}: {account.lost_batches}, with "
            f"{account.missing} images of the probe; the scores leave them out. The first: "
            f"{account.lost_reason}"
        )
    elif account.missing:
        found.append(
            f"images that the scores of epoch {epoch} leave out: {account.missing}. They "
            "were not in the validation before it. The next validation embeds what is new; "
            "scores of epochs compare where all validate on the same images."
        )
    return tuple(found)


def doubts_of_groups(groups: Tensor | None) -> tuple[str, ...]:
    """A warning where the images are of too few groups for halves of the probe, or for intervals.

    Args:
        groups: of the images, (N,) int64; None: each its own.
    """
    if groups is None:
        return ()
    count = len(groups.unique())
    if count == 1:
        return (
            f"all {len(groups):,} images are of one group, so no half of them can judge the other, "
            "and every score is undefined. A group is an object or a patient, not all images.",
        )
    if count < FEWEST_GROUPS:
        return (
            f"the images are of {count} groups. Fewer than {FEWEST_GROUPS} do not tell how much "
            "groups differ, so there are no intervals.",
        )
    return ()


def doubts_of_copies(scalars: Mapping[str, float], *, has_groups: bool) -> tuple[str, ...]:
    """A warning where images stand on both sides of a translator by their near copies.

    Args:
        scalars: of the epoch.
        has_groups: whether the batches tell the group of each image.
    """
    share = scalars.get("monitor/near_copies", 0.0)
    if not share > _COPIES:
        return ()
    cure = (
        "The groups of the batches do not hold them together: name what all of them share"
        if has_groups
        else "Say which images belong together (object, patient, video, source file): "
        'Batch(..., group=...) from batch_adapter, or groups="patient_id" for a key of the batch'
    )
    return (
        f"{share:.0%} of the images have a near copy among those that their translator is fitted "
        "on, so that it knows their meaning whatever the features say: scores and intervals look "
        f"better than they are. {cure}.",
    )


def doubts_of_thresholds(snapshot: Snapshot) -> tuple[str, ...]:
    """A warning where the head's outputs are thresholds between ordered classes, and no classes."""
    features = snapshot.features[:_LOOKED_AT].double()
    bias = None if snapshot.bias is None else snapshot.bias.double()
    logits = linear(features, snapshot.weight.double(), bias)
    evidence = answers_by_thresholds(logits, snapshot.labels[:_LOOKED_AT])
    if evidence is None:
        return ()
    return (
        f"the outputs of the head are thresholds between ordered classes: {evidence}. {NO_ROWS}, "
        "so no number of a class, and none of what the head hides, means anything. Train a head "
        "with one output for each class to measure it.",
    )


def infos(account: Account) -> tuple[str, ...]:
    """What is worth a line about the images of a pass."""
    found = []
    if account.disorder:
        found.append(
            f"sample_index is -1 in the table of images, because {account.disorder}. An image that "
            "comes again with the same label counts once."
        )
    if account.unlabeled:
        found.append(
            f"{account.unlabeled} images have no class (label -1 or -100) and are left out."
        )
    if account.filtered:
        found.append(
            f"the head saw only the images that have a class, {account.filtered} fewer than the "
            "batches hold; their order is taken to be that of the batch. If the step orders them "
            "otherwise, do the same in batch_adapter."
        )
    return tuple(found)


def translator_infos(
    ridge: float | Literal["auto"], scalars: Mapping[str, float]
) -> tuple[str, ...]:
    """What is worth a line about the translator: a new ridge, and a probe that is too small.

    Each line is the same at every epoch, so that a run says it once.

    Args:
        ridge: that the analysis was given.
        scalars: that it found.
    """
    from sing_monitor.analyses.translator import SATURATED, SATURATION

    found = []
    now = scalars.get("translator/ridge", math.nan)
    if isinstance(ridge, KeptRidge) and math.isfinite(now) and now != ridge:
        found.append(
            "the ridge of the translator was chosen anew, for the one that was kept cost more than "
            "one standard error of held-out R2. translator/ridge shows where; degrees (AS, IS) "
            "before and after a change do not compare. ridge=0.01, say, holds it."
        )
    # NaN compares as false.
    if scalars.get(SATURATION, 1.0) < SATURATED:
        found.append(
            f"{SATURATION} is below {SATURATED}: a translator fitted on half of the images "
            "explains clearly less, so degrees (AS, IS) still grow with the number of validation "
            "images. Compare only runs with probes of the same size; more images help."
        )
    return tuple(found)


def doubts_of_maps(maps: PassMaps) -> tuple[str, ...]:
    """A warning where a fault has cost the maps."""
    if maps.fault is None:
        return ()
    return (
        f"the maps before the head could not be taken ({maps.fault}), so images are not compared "
        "part by part; every other number is as it is without this.",
    )


def map_infos(maps: PassMaps) -> tuple[str, ...]:
    """What is worth a line about the maps: why there are none, or that they were averaged."""
    if maps.maps is not None:
        return (maps.reason,) if maps.reason else ()
    if not maps.reason:
        return ()
    return (f"images are not compared part by part: {maps.reason}.",)


def refuse_changed(unknown: int, expected: int) -> None:
    """Refuse a validation set that is another one than that of the pass before.

    Args:
        unknown: how many images of the probe were not seen before.
        expected: about how many there are.

    Raises:
        ChangedImagesError: if these are too many for the same set.
    """
    if unknown <= _CHANGED * expected:
        return
    raise ChangedImagesError(
        f"{unknown} of about {expected} probe images were not seen before: the validation set "
        "changes from pass to pass (random augmentation, shuffling with limit_val_batches, a loop "
        "that broke off before), so epochs cannot be compared. Validate on fixed images, or pass ",
        Option("allow_augmented", "True"),
        " to embed anew each time.",
    )


def doubts_of_stages(stages: PassStages) -> tuple[str, ...]:
    """A warning where a fault has cost the features of the stages."""
    if stages.fault is None:
        return ()
    return (
        f"the features of the stages could not be taken ({stages.fault}), so there are no ranks by "
        "layer; every other number is as it is without this.",
    )


def stage_infos(stages: PassStages) -> tuple[str, ...]:
    """A line for each reason why a stage, or all of them, have no rank."""
    said = []
    for reason in dict.fromkeys(stages.left_out.values()):
        names = [name for name, why in stages.left_out.items() if why == reason]
        whose = (
            "there are no ranks by layer"
            if "" in names
            else (f"no ranks of {', '.join(map(repr, names))}")
        )
        said.append(f"{whose}: {reason}.")
    return tuple(said)


def why_nothing(account: Account) -> SetupError:
    """Why no image of a pass can be scored."""
    if account.lost_reason:
        return account.lost_reason
    if account.unlabeled and account.unlabeled == account.seen:
        return SetupError(
            f"none of the {account.seen} validation images has a class: their labels are -1 or "
            "-100. Validate on labeled images, or hand over their labels in batch_adapter."
        )
    if account.seen == 0:
        return SetupError("the loader holds no image, so there is nothing to analyze.")
    return SetupError(
        "none of the images belongs to the probe, or all are new since the last validation, which "
        "the next one looks at; so there is nothing to analyze."
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
