"""Sees every operation by which the host would wait for a device, on a machine without one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sing_monitor.inputs.pixel_scale import _per_channel
from sing_monitor.space.fingerprints import _constants

_READS = ("_local_scalar_dense", "nonzero", "equal", "is_nonzero", "masked_select", "_unique2")
_COPIES = ("_to_copy", "to", "copy_")  # "to" in inference mode


class Waits(TorchDispatchMode):
    """Keeps the names of operations that read a number, ask for a size, or change the device.

    Where everything is on the CPU, ``tensor.cpu()`` and ``tensor.tolist()`` leave no operation to
    be seen; between the CPU and a :func:`pretended_gpu` they do.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        by_mask = name.startswith("index") and any(
            tensor.dtype in (torch.bool, torch.uint8) for tensor in _tensors(args[1:2])
        )
        if name in _READS or by_mask:
            self.seen.append(name)
        result = func(*args, **kwargs)
        # Kernels take a single number of the CPU along; anything larger is copied and waited for.
        devices = {
            tensor.device.type
            for tensor in _tensors((args, kwargs, result))
            if tensor.ndim or name in _COPIES
        }
        to_device = kwargs.get("non_blocking") and kwargs.get("device") != torch.device("cpu")
        if len(devices) > 1 and not to_device:
            self.seen.append(name)
        return result


@contextmanager
def pretended_gpu() -> Iterator[None]:
    """Inside, ``device="cuda"`` gives tensors without numbers, with a GPU or without.

    What would read a number of them, or ask for a size that depends on one, raises.
    """
    with FakeTensorMode(allow_non_fake_inputs=True):
        try:
            yield
        finally:
            for kept_on_the_device in (_constants, _per_channel):
                kept_on_the_device.cache_clear()


def _tensors(value: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]
