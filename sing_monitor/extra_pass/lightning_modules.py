"""Lightning under its two names: ``lightning.pytorch`` and ``pytorch_lightning``.

Both packages hold the same classes twice, so ``isinstance`` with one knows nothing of the other's.
Here a class counts by its name and the package that it comes from; neither package is imported.
The trainer's states are no classes of ours to ask for: they are texts, and equal in both.
"""

from __future__ import annotations

from typing import Any

from lightning.pytorch.utilities.model_helpers import is_overridden

from sing_monitor.errors import SetupError

_PACKAGES = ("lightning", "lightning_fabric", "pytorch_lightning")


def is_lightning(instance: object, name: str) -> bool:
    """Whether an object is of a class of Lightning's, or of one that derives from it.

    Args:
        instance: any object.
        name: of the class, such as ``"LightningModule"`` or ``"MLFlowLogger"``.
    """
    return _class_of(instance, name) is not None


def overrides(instance: object, method: str) -> bool:
    """Whether a LightningModule has a method of its own in place of Lightning's."""
    parent = _class_of(instance, "LightningModule")
    return parent is not None and is_overridden(method, instance, parent)


def is_setup_fault(error: object) -> bool:
    """Whether an exception says that the set-up is wrong, and so will come back."""
    return isinstance(error, SetupError) or is_lightning(error, "MisconfigurationException")


def _class_of(instance: object, name: str) -> type[Any] | None:
    for each in type(instance).__mro__:
        if each.__name__ == name and each.__module__.partition(".")[0] in _PACKAGES:
            return each
    return None
