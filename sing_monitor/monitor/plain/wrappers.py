"""What others wrap around a model and a loader: DDP, Lightning Fabric."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from sing_monitor.errors import SetupError
from sing_monitor.head.torch_internals import is_compiled_wrapper, registered_child, unwrapped
from sing_monitor.lightning_types import is_lightning

_SPREAD = (DataParallel, DistributedDataParallel)


def check_model(model: Any) -> None:
    """Refuse what is no model.

    Raises:
        SetupError: if it is anything but a module.
    """
    if not isinstance(model, nn.Module):
        raise SetupError(
            f"Monitor watches a model, got {type(model).__name__}. Hand over the model that "
            'trains, and options by their names: Monitor(model, tracking_uri="sqlite:///mlflow.db"'
            ", space=...)."
        )


def running_module(model: nn.Module) -> nn.Module:
    """The module inside Fabric's and DDP's wrappers, on which hooks are called.

    A wrapper of ``torch.compile`` stays: it tells that code of the module is compiled.

    Example::

        >>> network = nn.Linear(4, 2)
        >>> running_module(DataParallel(network)) is network
        True
    """
    while True:
        if is_fabric_module(model):
            inside = _forward_module(model)
            original = registered_child(model, "_original_module")
            model = inside if is_compiled_wrapper(inside) or original is None else original
        elif isinstance(model, _SPREAD):
            model = model.module
        else:
            return model


def forward_alone(model: nn.Module) -> Callable[[Any], object]:
    """How to run a model in this process, without DDP's exchange of buffers at every pass.

    Processes may then run different numbers of batches, and nothing of the training changes.

    Args:
        model: as the loop calls it; Fabric's wrapper also brings its precision.
    """
    inside = _forward_module(model) if is_fabric_module(model) else model
    if not isinstance(inside, _SPREAD):
        return model
    if inside is model:
        return inside.module
    network = inside.module
    # Fabric has no public name for it.
    precision: Any = vars(model)["_strategy"].precision

    def forward(images: Any) -> object:
        given = precision.convert_input(images)
        with precision.forward_context():
            return precision.convert_output(network(given))

    return forward


def own_loader(loader: Any) -> Any:
    """The loader that Fabric was given, with the sampler that it chose."""
    return vars(loader)["_dataloader"] if is_lightning(loader, "_FabricDataLoader") else loader


def is_fabric_module(model: object) -> bool:
    """Whether ``Fabric.setup`` has returned this module."""
    return is_lightning(model, "_FabricModule")


def way_of(model: nn.Module, loader: Any) -> str:
    """Name of the adapter, for the tag of the run: ``fabric`` or ``plain``."""
    is_fabric = is_fabric_module(unwrapped(model)) or is_lightning(loader, "_FabricDataLoader")
    return "fabric" if is_fabric else "plain"


def _forward_module(model: nn.Module) -> nn.Module:
    inside = registered_child(model, "_forward_module")
    return model if inside is None else inside
