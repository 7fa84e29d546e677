"""Metrics of the user's own that are logged beside ours."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Mapping
from typing import Any

from sing_monitor.errors import SetupError
from sing_monitor.inputs.plain_values import describe_value

_NAME = re.compile(r"[\w./: -]{1,250}", re.ASCII)


def own_metrics(given: Any) -> dict[str, float]:
    """Values by name, as every tracker takes them.

    Args:
        given: numbers by name; tensors and arrays of one element count as numbers.

    Raises:
        SetupError: for a name or a value that MLflow would refuse.

    Example::

        >>> from torch import tensor
        >>> own_metrics({"val_loss": 1, "val/acc": tensor(0.5)})
        {'val_loss': 1.0, 'val/acc': 0.5}
    """
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise SetupError(
            f"the metrics are {describe_value(given)}; expected numbers by name, such as "
            "{'val_loss': 0.3}."
        )
    return {_checked_name(name): _number(name, value) for name, value in given.items()}


def taken_names(
    metrics: Mapping[str, float], ours: Collection[str], epoch: int
) -> SetupError | None:
    """Error for metrics that are called as ours are, which are left out; None without such.

    Args:
        metrics: of the user.
        ours: names of the monitor's.
        epoch: that is logged as ``epoch``; who hands over the same is right.
    """
    taken = sorted(metrics.keys() & {"epoch", *ours})
    if metrics.get("epoch") == epoch:
        taken.remove("epoch")
    if not taken:
        return None
    names = ", ".join(map(repr, taken))
    return SetupError(
        f"the metrics {names} are left out, for these are names of the monitor's own. Give yours "
        "other names, such as 'val/accuracy'."
    )


def _checked_name(name: Any) -> str:
    is_path = isinstance(name, str) and posixpath.normpath(name) == name
    if not is_path or not _NAME.fullmatch(name) or name.startswith((".", "/")):
        raise SetupError(
            f"{name!r} cannot be the name of a metric: use letters, digits, '_', '-', '.', ':', "
            "spaces and single slashes between them, at most 250 in all."
        )
    return str(name)


def _number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError):
        raise SetupError(
            f"the metric {name!r} is {describe_value(value)}; expected one number, such as "
            "loss.item()."
        ) from None
