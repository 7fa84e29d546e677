"""The head of the model under watch: which layer it is, and what enters it."""

from __future__ import annotations

from contextlib import ExitStack

from torch import Tensor, nn

from sing_monitor.capture.head_tap import HeadTap, retrace
from sing_monitor.errors import Option, SetupError
from sing_monitor.head.calls import CallWitness
from sing_monitor.head.choice import ChosenHead, choose_head
from sing_monitor.head.layer import Head, head_shape
from sing_monitor.head.linear_layers import linear_layers
from sing_monitor.head.search import AmbiguousHeadError, check_head, find_head
from sing_monitor.head.torch_internals import is_compiled
from sing_monitor.messages import warn

# So many times as many outputs as classes are odd.
_FAR = 2


class HeadWatch:
    """Finds a model's head, listens to it, and makes sure in every pass that it still answers.

    In the first batch of a pass all linear layers are watched, afterwards the head alone. A
    compiled model is watched so only until its head is known.

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
        self._is_settled = self._is_seen = False
        # Whether the calls that the witness holds were judged already, or are those of a pass
        # in which it was not asked.
        self._is_judged = True
        self._largest_label = 0
        self._said: set[str] = set()
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
        return self._is_settled

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
        watched = linear_layers(model, copies=True)
        self._witness = CallWitness(model, watched)
        self._layers = layers
        retrace(model)
        return True

    def start_pass(self) -> None:
        """Forget the weight of the last pass."""
        self.tap.start_pass()
        if self._witness is not None:
            self._witness.calls.clear()
        self._is_judged = False

    def open(self) -> None:
        """Listen to the next forward pass, until :meth:`close`."""
        self.close()
        if self._is_settled:
            self.tap.open()
        if self._witness is not None and self._is_witness_wanted(self._witness):
            self._listening.enter_context(self._witness.watching())

    def _is_witness_wanted(self, witness: CallWitness) -> bool:
        if not self._is_settled:
            return True
        return not self._is_judged and not witness.calls and not is_compiled(witness.root)

    def close(self) -> None:
        """Listen no longer."""
        self._listening.close()
        self.tap.shut()

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
            raise RuntimeError("the watch is attached to no model.")
        if witness.error is not None:
            raise witness.error
        self._note(labels)
        choice = self._choose(witness)
        check_head(choice.head)
        module = choice.head.module
        if not self.tap.is_on(module):
            self.tap.attach(module, stays=is_compiled(witness.root))
            retrace(witness.root)
        self.tap.adopt([call for call in witness.calls if call.layer.module is module])
        self._head, self._is_seen = choice.head, choice.is_confirmed
        self._is_settled = self._is_judged = True
        self._say(choice)

    def judge(self, labels: Tensor) -> None:
        """Make sure that the model still answered with the head in this pass. Waits for its device.

        An update that began at zero, a second head that is averaged in, the head of another task:
        all of them answer otherwise than at first.

        Args:
            labels: of all images of the pass, (N,).

        Raises:
            ValueError: if another layer answered, or none alone; the head is then looked for anew.
        """
        self._note(labels)
        witness, is_judged, self._is_judged = self._witness, self._is_judged, True
        if is_judged or witness is None or not witness.calls:
            return
        try:
            choice = self._choose(witness)
        except SetupError as error:
            self.reconsider()
            raise ValueError(str(error)) from error
        if choice.head.module is not self.head.module:
            self.reconsider()
            raise ValueError(
                f"the model answers with the layer {choice.head.name!r} now, and no longer with "
                f"{self.head.name!r}; from the next validation on, that one is watched."
            )
        self._say(choice)

    def _choose(self, witness: CallWitness) -> ChosenHead:
        named = None if self._name is None else self._head
        return choose_head(
            witness.root, witness.calls, named=named, largest_label=self._largest_label
        )

    def _note(self, labels: Tensor) -> None:
        if len(labels):
            self._largest_label = max(self._largest_label, int(labels.max()))

    def _say(self, choice: ChosenHead) -> None:
        for remark in choice.remarks:
            sentence = str(SetupError(*remark))
            if sentence not in self._said:
                self._said.add(sentence)
                warn(f"{sentence}")

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
        self._is_settled, self._is_judged, self._largest_label = False, True, 0
        self._layers = []
