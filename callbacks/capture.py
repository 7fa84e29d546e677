"""The hook: what is taken from a running validation loop, and how it leaves no trace."""

from __future__ import annotations

import weakref
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor, nn

from sing_monitor.head import check_logits, head_features, head_parameters


class HeadTap:
    """Reads what enters a classifier head while it is open, and the head's weight once a pass.

    Weight and features are taken in one forward *pre*-hook: there they belong together even when
    an averaging callback swaps weights around the validation, and there sharded weights are
    gathered. A second hook sees the first logits of a pass, by which :meth:`check` makes sure that
    the head computes W f + b. The hooks never raise, never return anything and never wait for the
    device, so the forward pass is untouched.

    Args:
        module: the head.
    """

    def __init__(self, module: nn.Module) -> None:
        self.is_open = False
        self.weight: Tensor | None = None
        self.bias: Tensor | None = None
        self.calls_per_batch = 0
        self._calls: list[Tensor] = []
        self.error: Exception | None = None
        # What entered the head first in a pass, and what it answered.
        self._first: tuple[Tensor, Tensor] | None = None
        self.module = module
        self._handles = (
            module.register_forward_pre_hook(_Hook(self, "_read"), with_kwargs=True),
            module.register_forward_hook(_Hook(self, "_read_logits"), with_kwargs=True),
        )

    def start_pass(self) -> None:
        """Forget the weight of the last pass."""
        self.weight = self.bias = self.error = self._first = None
        self._calls.clear()

    def open(self) -> None:
        """Listen to the next forward passes."""
        self._calls.clear()
        self.is_open = True

    @contextmanager
    def listening(self) -> Generator[None, None, None]:
        """Open for a block, and no longer than that when it fails."""
        self.open()
        try:
            yield
        finally:
            self.is_open = False

    def close(self) -> Tensor:
        """Stop listening and hand over the features, (B, m).

        Of several calls with B rows each, their mean: the head is linear, so it stands for the mean
        of their logits, as test-time augmentation takes it.

        Raises:
            ValueError: if the head was not called since :meth:`open`, or with different numbers of
                rows, or if its input is no (B, m) matrix.
        """
        self.is_open = False
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
            raise ValueError(
                f"the head was called {len(rows)} times in one validation step, with "
                f"{', '.join(map(str, rows))} rows, so it is not clear which features belong to "
                "the images. Call it once for each batch, or give a loader on which forward does: "
                "SINGCallback(probe=...)."
            )
        features = [head_features(self.module, call) for call in calls]
        self.calls_per_batch = len(features)
        return features[0] if len(features) == 1 else _mean(features)

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
        """Take the hooks off the head."""
        self.is_open = False
        for handle in self._handles:
            handle.remove()

    def _read(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        inputs = args[0] if args else kwargs["input"]
        if self.weight is None:
            weight, bias = head_parameters(self.module)
            self.weight = weight.detach().clone()
            self.bias = None if bias is None else bias.detach().clone()
        self._calls.append(inputs.detach().clone())

    def _read_logits(
        self, _args: tuple[Any, ...], _kwargs: Mapping[str, Any], logits: Tensor
    ) -> None:
        # Once a pass is enough to know what kind of head it is.
        if self._first is None:
            self._first = self._calls[0], logits.detach().clone()


def retrace(model: nn.Module) -> None:
    """Have ``torch.compile`` trace a model anew, where it is compiled.

    Compiled code does not look whether hooks were added after it was traced (pytorch#117758), and
    is shared by all models of one architecture: without this, the hooks of a second fit, or of a
    second model, would silently never be called.
    """
    is_compiled = getattr(model, "_compiler_ctx", None) is not None or any(
        "_orig_mod" in module._modules or module._compiled_call_impl is not None
        for module in model.modules()
    )
    if is_compiled:
        torch.compiler.reset()


def _mean(features: Sequence[Tensor]) -> Tensor:
    """The mean of matrices of one shape, in single precision at least."""
    precision = torch.promote_types(features[0].dtype, torch.float32)
    return torch.stack(tuple(features)).to(precision).mean(dim=0)


class _Hook:
    """What the head holds: a weak link to the tap, cut in every copy and pickle of the model."""

    def __init__(self, tap: HeadTap | None = None, method: str = "") -> None:
        self._tap = weakref.ref(tap) if tap is not None else None
        self._method = method

    def __call__(self, _module: nn.Module, *seen: Any) -> None:
        tap = self._tap() if self._tap is not None else None
        if tap is None or not tap.is_open:
            return
        try:
            getattr(tap, self._method)(*seen)
        except Exception as error:
            # Raised in close(): a monitor's fault must not surface inside the forward pass.
            tap.error = error

    def __deepcopy__(self, _memo: object) -> _Hook:
        return _Hook()

    def __reduce__(self) -> tuple[type[_Hook], tuple[()]]:
        return _Hook, ()


@contextmanager
def no_trace() -> Generator[None, None, None]:
    """Run our code without gradients, and with every random number generator as it was before.

    Also when an exception leaves the block, which ``isolate_rng`` alone does not restore after.
    """
    failure: BaseException | None = None
    with isolate_rng(), torch.inference_mode(False), torch.no_grad():
        try:
            yield
        except BaseException as error:
            failure = error
    if failure is not None:
        raise failure
