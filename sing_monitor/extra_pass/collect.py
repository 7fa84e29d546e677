"""One extra pass: a model runs over a loader, and the probe is collected. No trainer is needed."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from itertools import count, islice
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from sing_monitor.errors import SetupError
from sing_monitor.extra_pass.quiet import quiet
from sing_monitor.head.forward import eval_mode
from sing_monitor.inputs.batches import Batch, find_images, unpack_batch
from sing_monitor.lightning_types import before_transfer, is_lightning, overrides
from sing_monitor.messages import may_speak, warn
from sing_monitor.no_trace import no_trace

# A pass that takes longer than this many seconds gets a progress bar.
_PATIENCE = 5.0
_BY_POSITION = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class ProbeCapture(Protocol):
    """Capture that reads a batch before the model sees it, and takes its features afterwards."""

    def read(self, batch: Any) -> None:
        """Read a batch that the model is about to see."""
        ...

    def listening(self) -> AbstractContextManager[None]:
        """Listen to the head in a block, where the model sees the batch."""
        ...

    def add(self, batch: Any) -> None:
        """Take the rows of the batch."""
        ...


def collect_probe(
    capture: ProbeCapture,
    model: nn.Module,
    loader: DataLoader[Any],
    *,
    forward: Callable[[Any], object],
    prepare: Callable[[Any], Any] | None = None,
    batches: int | None = None,
    is_shared: bool = False,
) -> None:
    """Run a model over a loader, in eval mode and without gradients, and collect the probe.

    Afterwards the modes of all modules and every random number generator are as they were, also
    when the pass fails. Between ``capture.start(model, loader, ...)`` and ``capture.finish()``.

    Args:
        capture: on the model, started on the loader.
        model: the model.
        loader: of batches that :func:`unpack_batch` or the capture's ``batch_adapter`` reads.
        forward: takes a prepared batch through the model, and so calls the head once.
        prepare: puts a batch where the model is; by default :func:`transfer`.
        batches: how many to run; None: all.
        is_shared: other processes take part in every forward pass, as where weights are sharded;
            a fault then comes up at the end, because they would wait for this one forever.

    Raises:
        SetupError: if a batch cannot be read.
        ValueError: if the head's calls do not fit the batch.
    """
    from tqdm.auto import tqdm

    if prepare is None:
        prepare = partial(transfer, model)
    bar = tqdm(
        desc="SING: probe",
        unit="batch",
        leave=False,
        delay=_PATIENCE,
        disable=not may_speak(),
    )
    failure: Exception | None = None
    with no_trace(), eval_mode(model), bar:
        for raw_batch in islice(loader, batches):
            batch = prepare(raw_batch)
            try:
                if failure is None:
                    capture.read(batch)
            except Exception as error:
                if not is_shared:
                    raise
                failure = error
            with capture.listening():
                forward(batch)
            try:
                if failure is None:
                    capture.add(batch)
            except Exception as error:
                if not is_shared:
                    raise
                failure = error
            bar.update()
    if failure is not None:
        raise failure


def transfer(model: Any, batch: Any) -> Any:
    """A batch on the model's device; through the hooks of a LightningModule, as a trainer does it.

    Raises:
        SetupError: if a hook needs a trainer, and the module has none.
    """
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    if not is_lightning(model, "LightningModule"):
        return _moved(batch, device)
    try:
        batch = before_transfer(model, batch)
        return model._apply_batch_transfer_handler(batch, device, 0)
    except RuntimeError as error:
        if model._trainer is not None:
            raise
        raise SetupError(
            f"A batch hook of {type(model).__name__} fails outside a trainer: {error} Without "
            "its hooks the model would see other images than in the training. Let the hook do "
            "without self.trainer where there is none (self._trainer is None)."
        ) from error


def _moved(batch: Any, device: torch.device) -> Any:
    """A batch of tensors, or of other objects with a method ``to``, in any container."""
    from lightning_utilities.core.apply_func import apply_to_collection

    return apply_to_collection(batch, _Movable, lambda each: each.to(device))


@runtime_checkable
class _Movable(Protocol):
    def to(self, device: torch.device) -> Any: ...


@contextmanager
def forward_images(
    model: nn.Module, adapter: Callable[[Any], Any] | None
) -> Generator[Callable[[Any], object], None, None]:
    """How to take a batch through a model outside a trainer; afterwards the model is as before.

    Args:
        model: maps images to logits; a LightningModule without ``forward`` takes its validation
            step, which logs nothing there.
        adapter: the user's ``batch_adapter``.

    Raises:
        SetupError: if a LightningModule has neither.
    """
    with quiet(model):
        if not is_lightning(model, "LightningModule") or overrides(model, "forward"):
            yield feeding(model, adapter)
            return
        if not overrides(model, "validation_step"):
            raise SetupError(
                f"{type(model).__name__} has neither forward nor validation_step, so it cannot be "
                "run on images. Add one, such as "
                "`def forward(self, images): return self.model(images)`."
            )
        indices = count()
        yield lambda batch: _validation_step(model, batch, next(indices))


def _validation_step(model: Any, batch: Any, batch_idx: int) -> object:
    """A validation step with as many arguments as it takes; Lightning counts them likewise."""
    step = model.validation_step
    parameters = inspect.signature(step).parameters.values()
    if any(each.kind is inspect.Parameter.VAR_POSITIONAL for each in parameters):
        return step(batch, batch_idx)
    takes = [each for each in parameters if each.kind in _BY_POSITION]
    # A third one with a default of its own may be anything.
    extra = takes[2:3] and takes[2].default is inspect.Parameter.empty
    return step(*(batch, batch_idx, 0)[: min(len(takes), 2) + bool(extra)])


def feeding(
    model: Callable[[Any], object], adapter: Callable[[Any], Any] | None
) -> Callable[[Any], object]:
    """How to hand a batch's images to a model.

    An adapter that prepares images for the semantic space alone, and says nothing of ``pictures``,
    serves a validation loop well. Where the model cannot take those images, it gets the images of
    the batch as the loader gave it, and a warning says so.

    Args:
        model: maps images to logits.
        adapter: the user's ``batch_adapter``.

    Returns:
        A function that maps a raw batch to the model's output.
    """
    takes_raw = False

    def forward(raw_batch: Any) -> object:
        nonlocal takes_raw
        batch = unpack_batch(raw_batch, adapter)
        own = None if batch.pictures is not None else _own_images(raw_batch, batch)
        if takes_raw and own is not None:
            return model(own)
        try:
            return model(batch.images)
        except Exception as error:
            if own is None or isinstance(error, torch.OutOfMemoryError):
                raise
            try:
                output = model(own)
            except Exception:
                raise error from None
            takes_raw = True
            warn(
                "The model cannot take what batch_adapter returns as images "
                f"({type(error).__name__}: {error}), but takes those of the loader's own batch. So "
                "it sees the latter, and the semantic space the former. To say so yourself, return "
                "Batch(images=<what the model sees>, labels=..., pictures=<what the space sees>)."
            )
            return output

    return forward


def _own_images(raw_batch: Any, adapted: Batch) -> Tensor | None:
    """The images of a batch before the adapter, where they are of another shape."""
    try:
        found = find_images(raw_batch)
    except SetupError:
        return None
    is_other = isinstance(found, Tensor) and found.shape != adapted.images.shape
    return found if is_other and len(found) == len(adapted.labels) else None
