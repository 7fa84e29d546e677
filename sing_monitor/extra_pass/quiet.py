"""Running a LightningModule outside its trainer: nothing is logged, and nothing stays behind."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from sing_monitor.lightning_types import is_lightning

_LOGGING = ("log", "log_dict")
# What a module of torch keeps for itself; the tap's hooks are in there.
_INTERNAL = frozenset(vars(nn.Module()))
_IN_PLACE = (torch.Tensor, np.ndarray)
_MISSING = object()


@contextmanager
def quiet(model: nn.Module) -> Generator[None, None, None]:
    """Let a model run as if no trainer had it, and put back what its steps keep in it.

    Outside a trainer's loop ``self.log`` raises in a module that was fitted, and its loggers would
    take what no training has brought. In the block ``log`` and ``log_dict`` do nothing, and
    ``logger`` swallows what it is given, as under ``fast_dev_run``. After it, also after an
    exception, attributes of LightningModules with the lists, dicts and sets in them, states of
    torchmetrics and all buffers are as they were.

    Args:
        model: any module; of one without Lightning or torchmetrics only buffers are looked after.
    """
    modules = list(model.modules())
    lightning = [each for each in modules if is_lightning(each, "LightningModule")]
    with ExitStack() as stack:
        for module in modules:
            stack.enter_context(_kept_buffers(module))
            if _is_of_torchmetrics(module, "Metric"):
                stack.enter_context(_kept_metric(module))
            elif module in lightning or _is_of_torchmetrics(module, "MetricCollection"):
                stack.enter_context(_kept_attributes(module))
        for module in lightning:
            stack.enter_context(_unlogged(module))
        yield


@contextmanager
def _unlogged(module: nn.Module) -> Iterator[None]:
    own = vars(module)
    before = {name: own.get(name, _MISSING) for name in _LOGGING}
    own.update(dict.fromkeys(_LOGGING, _nothing))
    trainer: Any = own.get("_trainer")
    loggers = None if trainer is None else trainer.loggers
    if loggers:
        trainer.loggers = [_SilentLogger() for _ in loggers]
    try:
        yield
    finally:
        if loggers:
            trainer.loggers = loggers
        for name, value in before.items():
            if value is _MISSING:
                del own[name]
            else:
                own[name] = value


class _SilentLogger:
    """Logger that swallows whatever a step gives it, as Lightning's does under fast_dev_run."""

    def __getattr__(self, name: str) -> Any:
        return _SilentLogger()

    def __getitem__(self, index: object) -> Any:
        return _SilentLogger()

    def __call__(self, *_args: Any, **_kwargs: Any) -> Any:
        return _SilentLogger()


def _nothing(*_args: Any, **_kwargs: Any) -> None:
    """Takes the place of ``log``."""


@contextmanager
def _kept_buffers(module: nn.Module) -> Iterator[None]:
    before = dict(module._buffers)
    tensors = {name: each for name, each in before.items() if each is not None}
    copies = {name: each.detach().clone() for name, each in tensors.items()}
    # Made in a validation of Lightning's, a tensor takes no update in place outside of one.
    frozen = {name for name, each in tensors.items() if each.is_inference()}
    module._buffers.update({name: copies[name] for name in frozen})
    try:
        yield
    finally:
        module._buffers.clear()
        module._buffers.update(before)
        for name, each in tensors.items():
            if name not in frozen and not torch.equal(each, copies[name]):
                with torch.no_grad():
                    each.copy_(copies[name])


@contextmanager
def _kept_metric(metric: Any) -> Iterator[None]:
    """States of a torchmetrics metric are attributes; updates go to copies of them."""
    own = vars(metric)
    before = dict(own)
    for name, state in metric.metric_state.items():
        setattr(metric, name, _working_copy(state))
    try:
        yield
    finally:
        own.clear()
        own.update(before)


@contextmanager
def _kept_attributes(module: nn.Module) -> Iterator[None]:
    own = vars(module)
    before = {name: value for name, value in own.items() if name not in _INTERNAL}
    seen: set[int] = set()
    refill = [_refiller(value, seen) for value in before.values()]
    own.update({name: _working_copy(v) for name, v in before.items() if isinstance(v, _IN_PLACE)})
    try:
        yield
    finally:
        for name in [name for name in own if name not in _INTERNAL and name not in before]:
            del own[name]
        own.update(before)
        for each in refill:
            each()


def _working_copy(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    return value.copy()


def _refiller(value: Any, seen: set[int]) -> Callable[[], None]:
    """Puts the content of plain containers back, those inside them included."""
    if not isinstance(value, (dict, list, deque, set)) or id(value) in seen:
        return _nothing
    seen.add(id(value))
    items: Any = dict(value) if isinstance(value, dict) else list(value)
    inside = [_refiller(v, seen) for v in (items.values() if isinstance(value, dict) else items)]

    def refill() -> None:
        value.clear()
        add: Any = value.extend if isinstance(value, (list, deque)) else value.update
        add(items)
        for each in inside:
            each()

    return refill


def _is_of_torchmetrics(module: nn.Module, name: str) -> bool:
    """Without an import: where torchmetrics is not loaded, no module is a metric."""
    return any(
        each.__name__ == name and each.__module__.partition(".")[0] == "torchmetrics"
        for each in type(module).__mro__
    )
