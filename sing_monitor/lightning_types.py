"""Lightning's classes, recognized by name; Lightning itself is never imported.

Lightning has two packages with the same classes, ``lightning.pytorch`` and ``pytorch_lightning``,
and ``isinstance`` with a class of one does not recognize the other's. A class counts by its name
and the package that it comes from.
"""

from __future__ import annotations

from typing import Any

from sing_monitor.errors import SetupError

_PACKAGES = ("lightning", "lightning_fabric", "pytorch_lightning")


def is_lightning(instance: object, name: str) -> bool:
    """Whether an object is of a class of Lightning's, or of one that derives from it.

    Args:
        instance: any object.
        name: of the class, such as ``"LightningModule"`` or ``"MLFlowLogger"``.
    """
    return _class_of(instance, name) is not None


def overrides(module: object, method: str) -> bool:
    """Whether a LightningModule has a method of its own in place of Lightning's."""
    parent = _class_of(module, "LightningModule")
    if parent is None:
        return False
    from lightning_utilities.core.overrides import is_overridden

    return is_overridden(method, module, parent)


def before_transfer(module: Any, batch: Any) -> Any:
    """A batch after the hooks that a LightningModule runs before it moves to the device."""
    # No public name runs them with the module's own data hooks.
    return module._on_before_batch_transfer(batch, dataloader_idx=0)


def is_setup_fault(error: object) -> bool:
    """Whether an exception says that the set-up is wrong, and so will come back."""
    return isinstance(error, SetupError) or is_lightning(error, "MisconfigurationException")


def _class_of(instance: object, name: str) -> type[Any] | None:
    for each in type(instance).__mro__:
        if each.__name__ == name and each.__module__.partition(".")[0] in _PACKAGES:
            return each
    return None
