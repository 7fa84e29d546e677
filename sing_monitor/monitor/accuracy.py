"""The accuracy that a module logs itself, beside that of the watched head."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

# Of two accuracies of the same predictions, averages over batches may differ by this much.
_NOTABLE = 0.05
_ACCURACY = {"acc", "accuracy", "acc1", "top1"}
# Accuracies of other images, or of other predictions.
_OTHERWISE = {
    *("train", "training", "fit", "test", "aux", "ema", "teacher", "class", "cls", "per"),
    *("macro", "balanced", "top5", "top3", "top10", "acc3", "acc5", "acc10"),
    *("3", "5", "10", "best", "sing", "monitor"),
}
_LOADER = re.compile(r"/dataloader_idx_(\d+)$")


def logged_accuracies(
    metrics: Mapping[str, Tensor | float], dataloader_idx: int, *, several_loaders: bool
) -> dict[str, float]:
    """The accuracies of a validation, by the names under which a module has logged them.

    Args:
        metrics: the trainer's ``callback_metrics``, or numbers by name.
        dataloader_idx: the validation loader that is watched.
        several_loaders: whether there are others.

    Returns:
        Shares in [0, 1]; percentages are divided by 100.

    Example::

        >>> from torch import tensor
        >>> logged = {"val_acc": tensor(0.5), "train_acc": tensor(0.9), "val/acc@5": tensor(1.0)}
        >>> logged_accuracies(logged, 0, several_loaders=False)
        {'val_acc': 0.5}
    """
    found = {}
    for key, value in metrics.items():
        loader = _LOADER.search(key)
        if several_loaders and (loader is None or int(loader[1]) != dataloader_idx):
            continue
        words = set(re.findall(r"[a-z]+[0-9]*|[0-9]+", _LOADER.sub("", key).lower()))
        if not words & _ACCURACY or words & _OTHERWISE:
            continue
        share = float(value)
        if 0 <= share <= 100:
            found[key] = share / 100 if share > 1 else share
    return found


def difference(ours: float, logged: Mapping[str, float]) -> str | None:
    """What to tell a user whose module logs another accuracy than the watched head has.

    Args:
        ours: share of the images whose largest logit is that of their label.
        logged: accuracies of the same images, as the module logs them.

    Returns:
        A sentence; None if one of them is ours, or if there are none.
    """
    if not logged or any(abs(ours - each) <= _NOTABLE for each in logged.values()):
        return None
    shown = ", ".join(f"{key} = {value:.3f}" for key, value in logged.items())
    return (
        f"the watched head predicts the labels of {ours:.3f} of the validation images, and the "
        f"module logs {shown} for them. Unless that is another kind of accuracy, the module "
        "answers by other means than this head (another layer, thresholds, an ordinal head), or "
        "the labels are not those that the monitor reads: then its numbers are not about what "
        "you train."
    )
