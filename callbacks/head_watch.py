"""The head of the model under watch: which layer it is, and what enters it."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, contextmanager

from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch import Tensor, nn

from sing_monitor.callbacks.capture import HeadTap, is_compiled, retrace
from sing_monitor.errors import Option, SetupError
from sing_monitor.head import Head, head_shape
from sing_monitor.head_calls import CallWitness
from sing_monitor.head_choice import choose_head
from sing_monitor.head_search import AmbiguousHeadError, check_head, find_head, linear_layers

# So many times as many outputs as classes are odd.
_FAR = 4


class HeadWatch:
    """Finds a model's head, and listens to it.

    Until a first batch has shown which layer answers, all linear layers are watched; from then on
    the head alone.

    Args:
        name: dotted name of the head; None to find it.
    """

    def __init__(self, name: str | None) -> None:
        self.tap = HeadTap()
        self._name = name
        self._head: Head | None = None
        # The model's linear layers, and their shapes, for which the head was settled.
        self._layers: list[tuple[Head, tuple[int, int]]] = []
        self._witness: CallWitness | None = None
        self._is_seen = False
        self._listening = ExitStack()

    @property
    def head(self) -> Head:
        """The classifier head; only once it is known."""
        if self._head is None:
            raise RuntimeError("no batch has shown yet which layer is the head.")
        return self._head

    @property
    def is_settled(self) -> bool:
        """Whether a batch has shown which layer is the head."""
        return self._witness is None

    @property
    def has_seen_calls(self) -> bool:
        """Whether a linear layer ran in the batch that was to show which is the head."""
        return self._witness is not None and bool(self._witness.calls)

    def attach(self, model: nn.Module) -> bool:
        """Look for the head, unless that was done for this model and its layers.

        Which of several layers answers is left open until a batch has run.

        Returns:
            Whether the head is looked for anew.

        Raises:
            ValueError: if there is none.
            TypeError: if it cannot be read.
        """
        layers = [(layer, head_shape(layer.module)) for layer in linear_layers(model)]
        if layers and layers == self._layers:
            return False
        self.release()
        try:
            self._head = find_head(model, self._name)
            self.tap.attach(self._head.module, stays=is_compiled(model))
        except AmbiguousHeadError:
            self._head = None
        self._witness = CallWitness(model, [layer for layer, _ in layers])
        self._layers = layers
        retrace(model)
        return True

    def start_pass(self) -> None:
        """Forget the weight of the last pass."""
        self.tap.start_pass()

    def end_pass(self) -> None:
        """Listen no longer, and take the hooks off the model, if they may."""
        self.close()
        self.tap.end_pass()

    def open(self) -> None:
        """Listen to the next forward pass, until :meth:`close`."""
        self.close()
        if self._witness is None:
            self.tap.open()
        else:
            self._listening.enter_context(self._witness.watching())

    def close(self) -> None:
        """Listen no longer."""
        self._listening.close()
        self.tap.is_open = False

    @contextmanager
    def listening(self) -> Generator[None, None, None]:
        """Open for a block, and no longer than that when it fails."""
        self.open()
        try:
            yield
        finally:
            self.close()

    def settle(self, labels: Tensor) -> None:
        """Choose the layer that was seen to answer; the tap then holds what it was seen to take.

        Args:
            labels: of the batch, (B,).

        Raises:
            ValueError: if none was, or several were.
            TypeError: if it cannot be read.
        """
        witness = self._witness
        if witness is None:
            return
        if witness.error is not None:
            raise witness.error
        choice = choose_head(
            witness.root,
            witness.calls,
            named=None if self._name is None else self._head,
            largest_label=int(labels.max()) if len(labels) else 0,
        )
        check_head(choice.head)
        module = choice.head.module
        if not self.tap.is_on(module):
            self.tap.attach(module, stays=is_compiled(witness.root))
            retrace(witness.root)
        self.tap.adopt([call for call in witness.calls if call.layer.module is module])
        self._head, self._is_seen, self._witness = choice.head, choice.is_seen, None
        for parts in choice.remarks:
            rank_zero_warn(f"sing-monitor: {SetupError(*parts)}")

    def reconsider(self) -> None:
        """Look for the head anew at the next pass."""
        self._layers = []

    def doubts(self, labels: Tensor) -> tuple[str, ...]:
        """What makes it doubtful that the head is one, where nobody saw the model answer with it.

        Args:
            labels: of all images of a pass, (N,).
        """
        seen, classes = int(labels.max()) + 1, self.head.num_classes
        if self._is_seen or self._name is not None or classes < _FAR * seen:
            return ()
        return (
            f"the head {self.head.name!r} has {classes} outputs, and the labels name no more than "
            f"{seen} classes. If another layer gives the classes, name it: {Option('head')}. If "
            "this one does, name it to say so.",
        )

    def release(self) -> None:
        """Take all hooks off the model, and forget its head."""
        self.close()
        self.tap.remove()
        self._head = self._witness = None
        self._layers = []
