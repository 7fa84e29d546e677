"""Which of the layers that ran is the head: the one whose output is the model's answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sing_monitor.errors import Option, SetupError
from sing_monitor.head import Head, head_features
from sing_monitor.head_calls import LayerCall
from sing_monitor.head_search import AmbiguousHeadError, find_head, linear_layers, listed, preferred

# Roundings by which an answer may differ from the logits that it was made of.
_ROUNDINGS = 64


@dataclass(frozen=True)
class Choice:
    """The head, and how sure that is.

    Args:
        head: the layer.
        is_seen: whether the model was seen to answer with its output.
        remarks: sentences that the user should read.
    """

    head: Head
    is_seen: bool
    remarks: tuple[tuple[str | Option, ...], ...] = ()


@dataclass(frozen=True)
class _Ran:
    """A layer with all its calls, in the order of the first."""

    layer: Head
    calls: tuple[LayerCall, ...]

    @property
    def is_visible(self) -> bool:
        return all(call.answers for call in self.calls)

    @property
    def is_certain(self) -> bool:
        return all(call.is_certain for call in self.calls)

    @property
    def is_answer(self) -> bool:
        """Whether what came out is what the model answers, or goes to the step as it is."""
        return self._is_answer_by_call or (len(self.calls) > 1 and self._is_answer_in_mean)

    @property
    def _is_answer_by_call(self) -> bool:
        return all(
            call.logits is not None
            and (
                any(is_made_of(each, call.logits) for each in call.answers)
                if call.answers
                else not call.is_inner
            )
            for call in self.calls
        )

    @property
    def _is_answer_in_mean(self) -> bool:
        """The mean over views, as test-time augmentation inside a model takes it."""
        logits = [call.logits for call in self.calls if call.logits is not None]
        if len(logits) < len(self.calls) or len({tuple(each.shape) for each in logits}) > 1:
            return False
        mean = torch.stack([each.double() for each in logits]).mean(dim=0)
        return any(is_made_of(each, mean.to(logits[0].dtype)) for each in self.calls[-1].answers)


def choose_head(
    root: nn.Module, calls: Sequence[LayerCall], *, named: Head | None, largest_label: int
) -> Choice:
    """Choose the head by what was seen in one forward pass.

    Of the layers that took one vector for each image, those come into question whose output is the
    model's answer (or its softmax, its logarithm, a positive multiple), or goes to the step as it
    is. Trainable ones come before frozen ones, then those with a row for every label; what is left
    is decided by how models are built, if that leaves one.

    Args:
        root: the model.
        calls: of its linear layers, in their order.
        named: the layer that the user has named, or None.
        largest_label: of the images.

    Raises:
        SetupError: if no layer or several come into question, or the named one did not run. What
            the message advises works.
    """
    ran = _by_layer(calls)
    answering = [each for each in ran if each.is_answer]
    if named is not None:
        return _named(root, named, ran, answering)
    if not answering:
        raise _no_answer(root, ran)
    trainable = [each for each in answering if each.layer.is_trainable] or answering
    fitting = [each for each in trainable if each.layer.num_classes > largest_label] or trainable
    pool = _last_of_chains(fitting)
    layers = [each.layer for each in pool]
    found = layers if len(layers) == 1 else preferred(root, layers)[0]
    if len(found) != 1:
        raise _several(layers)
    head = found[0]
    later = layers[layers.index(head) + 1 :]
    if any(_is_rival(other, head, other in later, largest_label) for other in layers):
        raise _several(layers)
    chosen = pool[layers.index(head)]
    if not chosen.is_certain:
        _refuse_uncalled(root, ran, answering)
    return Choice(head, chosen.is_visible, tuple(_remarks(root, head, later)))


def is_made_of(answer: Tensor, logits: Tensor) -> bool:
    """Whether an answer is logits, their softmax, its logarithm, or a positive multiple of them.

    All of these leave the null space of the head what it is.

    Args:
        answer: (N, K).
        logits: (N, C).
    """
    if answer.shape != logits.shape:
        return False
    eps = max(torch.finfo(each.dtype).eps for each in (answer, logits))
    a, z = answer.cpu().double(), logits.cpu().double()
    if bool(((a == z) | (a.isnan() & z.isnan())).all()):
        return True
    allowed = _ROUNDINGS * eps * max(1.0, float(z.abs().max()))
    if any(_differ_by(a, made) <= allowed for made in (z.log_softmax(1), z.softmax(1))):
        return True
    scale = float((a * z).sum() / z.square().sum().clamp_min(torch.finfo(z.dtype).tiny))
    return scale > 0 and _differ_by(a, scale * z) <= _ROUNDINGS * eps * float(a.abs().max())


def _differ_by(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max())


def _by_layer(calls: Sequence[LayerCall]) -> list[_Ran]:
    grouped: dict[Head, list[LayerCall]] = {}
    for call in calls:
        grouped.setdefault(call.layer, []).append(call)
    return [_Ran(layer, tuple(group)) for layer, group in grouped.items()]


def _last_of_chains(ran: list[_Ran]) -> list[_Ran]:
    """Without the layers whose outputs have the size of a later layer's inputs.

    A layer that keeps the number of outputs, such as a calibration, ends no chain.
    """

    def feeds(one: Head, later: Head) -> bool:
        classes = one.num_classes
        return later.feature_dim == classes and later.num_classes != classes

    return [
        each
        for index, each in enumerate(ran)
        if not any(feeds(each.layer, later.layer) for later in ran[index + 1 :])
    ]


def _refuse_uncalled(root: nn.Module, ran: list[_Ran], answering: list[_Ran]) -> None:
    """Refuse where the layer that looks like the head did not run: its weight may be used alone."""
    usual, _ = preferred(root, linear_layers(root))
    if len(usual) == 1 and usual[0] not in [each.layer for each in ran]:
        raise _not_called(usual[0], answering)


def _is_rival(other: Head, head: Head, is_later: bool, largest_label: int) -> bool:
    """Whether another layer could as well be meant: a twin, or a smaller one further on."""
    if other is head:
        return False
    is_smaller = largest_label < other.num_classes < head.num_classes
    return other.num_classes == head.num_classes or (is_later and is_smaller)


def _remarks(root: nn.Module, head: Head, later: list[Head]) -> list[tuple[str | Option, ...]]:
    remarks: list[tuple[str | Option, ...]] = []
    if later:
        remarks.append(
            (
                f"Linear layers run after the head {head.name!r}:{listed(later)}\nIf one of them "
                "gives the classes, name it: ",
                Option("head", f'"{later[-1].name}"'),
                f". If {head.name!r} does, say so: ",
                Option("head", f'"{head.name}"'),
                ".",
            )
        )
    if not head.is_trainable and any(p.requires_grad for p in root.parameters()):
        remarks.append(
            (
                f"The head {head.name!r} is frozen, while other parts of the model train. That is "
                "right for a fixed classifier, and wrong if it belongs to a second network. "
                "Another layer is watched when it is named: ",
                Option("head"),
                ".",
            )
        )
    return remarks


def _named(root: nn.Module, named: Head, ran: list[_Ran], answering: list[_Ran]) -> Choice:
    mine = next((each for each in ran if each.layer.module is named.module), None)
    if mine is None:
        raise _not_called(named, answering or ran)
    dense = [call for call in mine.calls if call.logits is None]
    if dense:  # raises, and says why
        head_features(named.module, torch.empty(dense[0].shape, device="meta"))
    if mine in answering:
        return Choice(named, mine.is_visible)
    start = f"The numbers will be about the layer {named.name!r}, which was named, and not about "
    if not answering:
        return Choice(named, False, ((f"{start}the model's answer: {_no_answer(root, ran)}",),))
    best = answering[-1].layer.name
    advice = ("the model's answer, which comes from another: ", Option("head", f'"{best}"'), ".")
    return Choice(named, False, ((start, *advice),))


def _not_called(named: Head, others: list[_Ran]) -> SetupError:
    reason = (
        f"The head {named.name!r} was not called when the model ran. A layer that is only used "
        "through its weight, as in F.linear(x, head.weight), cannot be watched: call head(x)."
    )
    layers = sorted((each.layer for each in others[::-1]), key=lambda head: not head.is_trainable)
    if not layers:
        return SetupError(reason)
    advice = Option("head", f'"{layers[0].name}"')
    return SetupError(
        f"{reason} These layers were called:{listed(layers)}\nName one: ", advice, "."
    )


def _several(layers: list[Head]) -> SetupError:
    return SetupError(
        "Several layers could be the classifier head: the model was seen to answer with each."
        f"{listed(layers[::-1])}\nName the one whose classes the labels are: ",
        Option("head", f'"{layers[-1].name}"'),
        ". To watch another as well, add a second monitor, with a name of its own: ",
        Option("name", '"second"'),
        ".",
    )


def _no_answer(root: nn.Module, ran: list[_Ran]) -> SetupError:
    """Why none of the layers is the head."""
    reason = "No linear layer of the model answers. "
    if not ran:
        return SetupError(
            f"{reason}None was called when the model ran. A layer that is only used through its "
            "weight, as in F.linear(x, head.weight), cannot be watched: call head(x)."
        )
    try:  # raises, and says why, where the head that is built to be one is dense
        usual = find_head(root).module
    except (AmbiguousHeadError, SetupError, ValueError, TypeError):
        usual = None
    for each in ran:
        if each.layer.module is usual and each.calls[0].logits is None:
            try:
                head_features(each.layer.module, torch.empty(each.calls[0].shape, device="meta"))
            except SetupError as error:
                return error
    answer = next((a for each in ran[::-1] for a in each.calls[-1].answers), None)
    if answer is None:
        return SetupError(
            f"{reason}All that were called lie inside blocks that return maps or tokens."
        )
    alike = [each for each in ran if each.layer.num_classes == answer.shape[1]]
    if len(alike) > 1:
        together = "several of these layers together"
        logits = [each.calls[-1].logits for each in alike]
        known = [each.double() for each in logits if each is not None]
        if len(known) == len(alike) and is_made_of(
            answer, torch.stack(known).mean(dim=0).to(answer.dtype)
        ):
            together = "the mean of these layers"
        return SetupError(
            f"The model answers with {together}, and the null space of one is not that of the "
            f"model:{listed([each.layer for each in alike])}\nBuild the model with one head, for "
            "instance without distillation or token labeling."
        )
    made = (
        f"The model answers with {answer.shape[1]} numbers for each image that are not the output "
        "of one of its linear layers (nor the softmax of that), so their null space is not that "
        "of one weight. Adapters, normalised or added logits and F.linear(x, weight) do that."
    )
    if not alike:
        return SetupError(made)
    return SetupError(
        f"{made} If they are made of the output of {alike[0].layer.name!r} alone, numbers about "
        "that layer may still be of use; then name it: ",
        Option("head", f'"{alike[0].layer.name}"'),
        ".",
    )
