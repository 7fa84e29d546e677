"""Watch: one validation of a loop of one's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal

from torch import Tensor, nn

from sing_monitor.errors import Option, SetupError
from sing_monitor.inputs.batches import Batch
from sing_monitor.inputs.plain_values import describe_value
from sing_monitor.monitor.options import Options
from sing_monitor.monitor.plain.forward_count import ForwardCount
from sing_monitor.monitor.plain.own_metrics import own_metrics
from sing_monitor.monitor.plain.passes import undisturbed
from sing_monitor.monitor.session import Session
from sing_monitor.monitor.validation import Moment, Source

_ADD = "watch.add(images, labels)"
_ANOTHER = (
    f"{_ADD} came with other images than those of the last forward pass, so the features are not "
    "theirs. Call it right after the forward pass of the same images, and before the next one."
)
_USED = (
    "a watch is of one validation, and its block has ended: nothing of this one is logged. Call "
    "monitor.epoch(...) anew for every validation."
)


@dataclass(frozen=True)
class Validation:
    """What a watch needs to know of the validation.

    Args:
        model: on which hooks are called.
        source: gives the batches, as far as they are known.
        moment: of the validation.
        is_shared: whether other processes take part.
        begin: begins it where the block is entered; False if it cannot be watched after all.
        end: analyzes and logs; takes the user's own metrics and gives the scalars.
        drop: ends it where an exception leaves the block.
    """

    model: nn.Module
    source: Callable[[], Source]
    moment: Moment
    is_shared: bool
    begin: Callable[[], bool]
    end: Callable[[Mapping[str, float]], dict[str, float]]
    drop: Callable[[], None]


@dataclass(eq=False)
class Watch:
    """Validation under watch, as ``monitor.epoch(...)`` gives it; use it in a ``with`` block.

    In the block the model runs over the validation images, and :meth:`add` follows every forward
    pass. At the end of the block everything is analyzed and logged. An exception that leaves the
    block passes on, and nothing of the epoch is logged.

    Args:
        session: the training under watch.
        options: of the user.
        validation: None where the epoch was refused.
        metrics: of the user's own, which are logged beside ours.

    Attributes:
        scalars: the metrics by their logged key, NaN where one is undefined; empty before the end
            of the block, and where the epoch was refused.
    """

    session: Session
    options: Options
    validation: Validation | None
    metrics: dict[str, float]
    scalars: dict[str, float] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._count = ForwardCount()
        self._is_open = self._is_used = False
        self._taken = self._calls = 0  # batches that were taken, and calls of `add`

    def __enter__(self) -> Watch:
        if self._is_used:
            self.validation, self.scalars = None, {}
            self.session.faults.say(SetupError(_USED))
        self._is_used = True
        if self.validation is not None and not self.validation.begin():
            self.validation = None
        if self.validation is not None:
            model, self._is_open = self.validation.model, True
            with undisturbed(model):
                self.session.start(model, self.validation.source, self.validation.moment)
            self._count.open(model)
            self.session.listen()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> Literal[False]:
        if self.validation is not None and self._is_open:
            self._is_open = False
            self._count.close()
            if kind is not None:
                self.validation.drop()
            else:
                self._finish(self.validation)
        return False

    def add(
        self,
        images: Any,
        labels: Any = None,
        *,
        attributes: Mapping[str, tuple[Tensor, Sequence[str]]] | None = None,
        group: Any = None,
        pictures: Tensor | None = None,
    ) -> None:
        """Take the batch that the model has just seen. It never raises.

        The model is in eval mode; gradients may be on or off, autocast too.

        Args:
            images: input of the model, (B, 1 or 3, H, W); or, without ``labels``, a whole batch as
                the loader gave it: a pair, a mapping, or whatever ``batch_adapter`` reads.
            labels: class indices, (B,); -1 for an image without a class.
            attributes: further ground truth by name: value indices (B,), and names of the values.
            group: what each image belongs to (object, patient, video, source file): B values.
            pictures: what the space sees, where that is not ``images``: (B, 1 or 3, H, W).
        """
        validation, passes = self.validation, self._count.take()
        if validation is None:
            return
        if not self._is_open:
            self._refuse(SetupError(f"{_ADD} belongs into the block of `with monitor.epoch(...)`."))
            return
        self._calls += 1
        if not self.session.is_listening:
            return
        further = {"attributes": attributes, "group": group, "pictures": pictures}
        given = {name: value for name, value in further.items() if value is not None}
        with undisturbed(validation.model):
            try:
                batch = _batch(images, labels, given, self.options)
                self._check_mode(validation.model)
            except SetupError as error:
                # A mistake in one round of the loop says nothing of the next.
                self.session.fail(ValueError(error.spelled(self.session.faults.spell)))
                return
            is_other = self._count.is_of_another_pass(batch)
            if self._count.is_late or (is_other and passes == 1):
                self.session.fail(ValueError(_ANOTHER))
                return
            self._take(batch, passes)
        self.session.listen()

    def log(self, metrics: Mapping[str, Any]) -> None:
        """Log metrics of your own beside ours: in the same run, at the same step, by their names.

        Args:
            metrics: numbers by name; of several processes, those of the first are logged.

        Raises:
            SetupError: for a name or a value that no tracker takes, with ``on_error="raise"``;
                else a warning says so.
        """
        try:
            found = own_metrics(metrics)
            if self.validation is not None and not self._is_open:
                raise SetupError(
                    "watch.log belongs into the block of `with monitor.epoch(...)`, at the end of "
                    "which the epoch is logged."
                )
        except SetupError as error:
            self.session.faults.say(error)
        else:
            self.metrics |= found

    def _take(self, batch: Any, passes: int) -> None:
        heard = self.session.capture.has_heard
        if passes > 1:
            self.session.lose_batch(
                batch,
                SetupError(
                    f"the model has run {passes} times for one {_ADD}, so it is not clear which "
                    "features are those of the images. Call it once after every forward pass; "
                    "passes of other images, as of a training, belong out of the block."
                ),
            )
        elif passes == 0 and not heard and self._taken:
            self._refuse(
                SetupError(
                    f"{_ADD} came again, and the model under watch has not run since the last one: "
                    "the second batch is left out. Call it once after every forward pass."
                )
            )
        elif passes == 0 and not heard:
            self.session.fail(
                ValueError(
                    f"{_ADD} came, and the model under watch has not run in this block. Call it "
                    "after every forward pass of that model. If another one validates, such as an "
                    "averaged copy, say which: monitor.epoch(epoch, model=...)."
                )
            )
        else:
            self._taken += 1
            self.session.after_batch(batch)

    def _check_mode(self, model: nn.Module) -> None:
        if model.training:
            raise SetupError(
                "the model is in training mode, where dropout and batch normalization give other "
                "features than those by which it will be judged. Call model.eval() before the "
                "validation, and model.train() after it."
            )

    def _refuse(self, error: SetupError) -> None:
        """Say what costs nothing; an error at the end of the block with ``on_error="raise"``."""
        if self.options.on_error == "raise":
            self.session.fail(error)
        else:
            self.session.faults.say(error)

    def _finish(self, validation: Validation) -> None:
        passes = self._count.take()
        if self._count.is_late:
            self.session.fail(ValueError(_ANOTHER))
        # One process of several may well get no batch.
        if self._calls == 0 and self.session.is_listening and (passes or not validation.is_shared):
            ran = f"the model has run {passes} times" if passes else "the model has not run"
            self.session.fail(
                ValueError(
                    f"in the block of epoch {validation.moment.epoch} {ran}, and {_ADD} was never "
                    "called. Call it after every forward pass, or let monitor.measure(loader, "
                    "epoch=...) run the model."
                )
            )
        with undisturbed(validation.model):
            self.scalars = validation.end(self.metrics)


def _batch(images: Any, labels: Any, given: Mapping[str, Any], options: Options) -> Any:
    """The batch as the session reads it.

    Raises:
        SetupError: if labels are missing, or an adapter is to read what is told apart already.
    """
    if labels is None and (given or isinstance(images, Tensor)):
        raise SetupError(
            f"watch.add got {describe_value(images)} and no labels. Hand over one class index per "
            f"image, {_ADD}, -1 where an image has no class; or the whole batch of the loader, "
            "watch.add(batch)."
        )
    if labels is None:
        return images
    if not given:
        return images, labels
    if options.batch_adapter is not None:
        raise SetupError(
            f"watch.add got {', '.join(given)}, and there is a ",
            Option("batch_adapter", "..."),
            ", which reads whole batches. Give one of the two: watch.add(batch), or no adapter.",
        )
    return Batch(images, labels, **given)
