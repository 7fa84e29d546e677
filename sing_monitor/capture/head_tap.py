"""The hook: what is taken from a running validation loop, and how it leaves no trace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from sing_monitor.errors import Option, SetupError
from sing_monitor.head.calls import LayerCall
from sing_monitor.head.layer import check_logits, head_features, head_parameters
from sing_monitor.head.torch_internals import is_compiled
from sing_monitor.head.weak_hook import WeakHook


class HeadTap:
    """Reads what enters a classifier head while it is open, and the head's weight once a pass.

    Weight and features are taken in one forward *pre*-hook: there they belong together even when
    an averaging callback swaps weights around the validation, and there sharded weights are
    gathered. A second hook sees the first logits of a pass, by which :meth:`check` makes sure that
    the head computes W f + b. The hooks never raise, never return anything and never wait for the
    device, so the forward pass is untouched.

    They are on the head for one batch at a time, and behind all others, so that a pruned weight is
    read after it was pruned. On a compiled model they stay: its code would not notice new ones.
    """

    def __init__(self) -> None:
        self.is_open = False
        self.weight: Tensor | None = None
        self.bias: Tensor | None = None
        self.calls_per_batch = 0
        self._calls: list[Tensor] = []
        self.error: Exception | None = None
        # What entered the head first in a pass, and what it answered.
        self._first: tuple[Tensor, Tensor] | None = None
        self._module: nn.Module | None = None
        self._stays = False
        self._handles: list[RemovableHandle] = []

    @property
    def module(self) -> nn.Module:
        """The head; only after :meth:`attach`."""
        if self._module is None:
            raise RuntimeError("the tap is on no head.")
        return self._module

    @property
    def is_called(self) -> bool:
        """Whether the head was called since :meth:`open`."""
        return bool(self._calls)

    def is_on(self, module: nn.Module) -> bool:
        """Whether a module is the head."""
        return module is self._module

    def attach(self, module: nn.Module, *, stays: bool) -> None:
        """Choose the head.

        Args:
            module: the head.
            stays: whether the hooks are on it from now on, and not only while the tap is open.
        """
        if module is self._module:
            return
        self._unhook()
        self.weight = self.bias = self._first = None
        self._module, self._stays = module, stays
        if stays:
            self._hook()

    def start_pass(self) -> None:
        """Forget the weight of the last pass."""
        self.weight = self.bias = self.error = self._first = None
        self._calls.clear()

    def open(self) -> None:
        """Listen to the next forward passes, until :meth:`shut`."""
        self._calls.clear()
        self.is_open = True
        if not self._handles:
            self._hook()

    def shut(self) -> None:
        """Listen no longer, and take the hooks off the head, if they may."""
        self.is_open = False
        if not self._stays:
            self._unhook()

    def close(self) -> Tensor:
        """Stop listening and hand over the features, (B, m).

        Of several calls with B rows each, their mean: the head is linear, so it stands for the mean
        of their logits, as test-time augmentation takes it.

        Raises:
            ValueError: if the head was not called since :meth:`open`, or with different numbers of
                rows, or if its input is no (B, m) matrix.
        """
        self.shut()
        calls, self._calls = self._calls, []
        if self.error is not None:
            raise self.error
        if not calls:
            raise ValueError(
                "the head was not called in the validation step. A head that is only used through "
                "its weight, as in F.linear(x, head.weight), cannot be watched: call head(x). If a "
                "function of yours is compiled and ran before, call torch.compiler.reset() first."
            )
        rows = [len(call) for call in calls]
        if len(set(rows)) > 1:
            raise SetupError(
                f"the head was called {len(rows)} times in one validation step, with "
                f"{', '.join(map(str, rows))} rows, so it is not clear which features belong to "
                "the images. Call it once for each batch, or give a loader on which forward does: ",
                Option("probe", "DataLoader(...)"),
                ".",
            )
        features = [head_features(self.module, call) for call in calls]
        self.calls_per_batch = len(features)
        return features[0] if len(features) == 1 else _mean(features)

    def adopt(self, calls: Sequence[LayerCall]) -> None:
        """Take over the calls of a batch that ran before this layer was known to be the head."""
        self._calls = [call.inputs for call in calls if call.inputs is not None]
        if calls[0].inputs is not None and calls[0].logits is not None:
            self._first = calls[0].inputs, calls[0].logits
        if self.weight is None and is_at_hand(self.module):
            self._read_weight()

    def check(self) -> None:
        """Make sure that the head computed W f + b in this pass. Waits for its device.

        Raises:
            ValueError: if it computed anything else.
        """
        if self._first is not None and self.weight is not None:
            inputs, logits = self._first
            features = head_features(self.module, inputs)
            check_logits(self.module, self.weight, self.bias, features, logits)
        self._first = None

    def remove(self) -> None:
        """Take the hooks off the head, and forget it."""
        self.is_open = False
        self._unhook()
        self._module = None

    def _hook(self) -> None:
        self._handles = [
            self.module.register_forward_pre_hook(WeakHook(self, "_read"), with_kwargs=True),
            self.module.register_forward_hook(WeakHook(self, "_read_logits"), with_kwargs=True),
        ]

    def _unhook(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _read(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        if not self.is_open:
            return
        inputs = args[0] if args else next(iter(kwargs.values()))
        if self.weight is None:
            self._read_weight()
        self._calls.append(inputs.detach().clone())

    def _read_weight(self) -> None:
        weight, bias = head_parameters(self.module)
        self.weight = weight.detach().clone()
        self.bias = None if bias is None else bias.detach().clone()

    def _read_logits(
        self, _args: tuple[Any, ...], _kwargs: Mapping[str, Any], logits: Tensor
    ) -> None:
        # Once a pass is enough to know what kind of head it is.
        if self.is_open and self._first is None:
            self._first = self._calls[0], logits.detach().clone()


def is_at_hand(module: nn.Module) -> bool:
    """Whether a head's weight can be read outside a forward pass: it is not sharded."""
    weights = [each for each in module.parameters() if each.ndim >= 2]
    return all(type(each.data) is Tensor and each.numel() > 0 for each in weights)


def retrace(model: nn.Module) -> None:
    """Have ``torch.compile`` trace a model anew, where it is compiled.

    Compiled code does not look whether hooks were added after it was traced (pytorch#117758), and
    is shared by all models of one architecture: without this, the hooks of a second fit, or of a
    second model, would silently never be called.
    """
    if is_compiled(model):
        torch.compiler.reset()


def _mean(features: Sequence[Tensor]) -> Tensor:
    """The mean of matrices of one shape, in single precision at least."""
    precision = torch.promote_types(features[0].dtype, torch.float32)
    return torch.stack(tuple(features)).to(precision).mean(dim=0)
