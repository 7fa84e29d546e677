"""Which of the layers that ran is the head: the one whose output is the model's answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor, nn

from sing_monitor.errors import Option, SetupError
from sing_monitor.head.calls import LayerCall
from sing_monitor.head.layer import Head, head_features
from sing_monitor.head.search import find_head, linear_layers, listed, preferred

# Roundings by which an answer may differ from what it is made of: a few, where they are coarse.
_ROUNDINGS = 64
_COARSE, _COARSE_ROUNDINGS = 1e-4, 4


Remark: TypeAlias = tuple[str | Option, ...]


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
    remarks: tuple[Remark, ...] = ()


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
        views = torch.stack([each.double() for each in logits])
        mean, size = views.mean(dim=0).to(logits[0].dtype), views.abs().mean(dim=0)
        return any(is_made_of(each, mean, size) for each in self.calls[-1].answers)


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
    own = {id(layer.module) for layer in linear_layers(root)}
    ours = [each for each in answering if id(each.layer.module) in own] or answering
    trainable = [each for each in ours if each.layer.is_trainable] or ours
    fitting = [each for each in trainable if each.layer.num_classes > largest_label] or trainable
    pool = _last_of_chains(fitting)
    layers = [each.layer for each in pool]
    found = layers if len(layers) == 1 else preferred(root, layers)[0]
    if len(found) != 1:
        raise _several(layers)
    head = found[0]
    # Others may tell these labels as well, or better: that is a question, not a guess.
    if any(each is not head and each.num_classes <= head.num_classes for each in layers):
        raise _several(layers)
    chosen = pool[layers.index(head)]
    if chosen.is_certain:
        return Choice(head, True, tuple(_frozen(root, head)))
    _refuse_uncalled(root, ran, answering)
    later = [each.layer for each in trainable[trainable.index(chosen) + 1 :]]
    copies = [each.layer for each in answering if each not in ours]
    remarks = (*_frozen(root, head), *_later(head, later), *_copies(head, copies))
    return Choice(head, chosen.is_visible, remarks)


def is_made_of(answer: Tensor, logits: Tensor, size: Tensor | None = None) -> bool:
    """Whether an answer is logits, their softmax, its logarithm, or a positive multiple of them.

    All of these leave the null space of the head what it is. Images whose logits are not finite
    tell nothing.

    Args:
        answer: (N, K).
        logits: (N, C).
        size: of the numbers that the logits were summed up from, (N, C); by default their own.
    """
    if answer.shape != logits.shape:
        return False
    a, z = answer.cpu().double(), logits.cpu().double()
    finite = z.isfinite().all(dim=1)
    a, z = a[finite], z[finite]
    if bool((a == z).all()):
        return True
    fine = _roundings(answer.dtype)
    coarse = max(fine, _roundings(logits.dtype))
    size = z.abs() if size is None else size.cpu().double()[finite]
    log_share = z.log_softmax(dim=1)
    share = log_share.exp()
    scale = float((a * z).sum() / z.square().sum().clamp_min(torch.finfo(z.dtype).tiny))
    made = [
        (log_share, coarse * (size + log_share.abs())),
        (share, fine * share * (1 + log_share.abs())),
    ]
    if scale > 0:
        made.append((scale * z, coarse * scale * size))
    return any(bool(((a - each).abs() <= allowed).all()) for each, allowed in made)


def _roundings(dtype: torch.dtype) -> float:
    eps = torch.finfo(dtype).eps
    return eps * (_COARSE_ROUNDINGS if eps > _COARSE else _ROUNDINGS)


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


def _frozen(root: nn.Module, head: Head) -> Iterator[Remark]:
    if not head.is_trainable and any(p.requires_grad for p in root.parameters()):
        yield (
            f"The head {head.name!r} is frozen, while other parts of the model train. That is "
            "right for a fixed classifier, and wrong if it belongs to a second network. "
            "Another layer is watched when it is named: ",
            Option("head"),
            ".",
        )


def _later(head: Head, later: list[Head]) -> Iterator[Remark]:
    if later:
        yield (
            f"Linear layers run after the head {head.name!r}:{listed(later)}\nIf one of them "
            "gives the classes, name it: ",
            Option("head", f'"{later[-1].name}"'),
            f". If {head.name!r} alone does, say so: ",
            Option("head", f'"{head.name}"'),
            ".",
        )


def _copies(head: Head, copies: list[Head]) -> Iterator[Remark]:
    if copies:
        yield (
            f"A copy of the network runs as well (averaged weights?). The head {head.name!r} is "
            "watched; for the copy's, name it: ",
            Option("head", f'"{copies[-1].name}"'),
            ".",
        )


def _named(root: nn.Module, named: Head, ran: list[_Ran], answering: list[_Ran]) -> Choice:
    mine = next((each for each in ran if each.layer.module is named.module), None)
    if mine is None:
        raise _not_called(named, answering or ran)
    dense = [call for call in mine.calls if call.logits is None]
    if dense:  # raises, and says why
        head_features(named.module, torch.empty(dense[0].shape, device="meta"))
    if mine in answering:
        twins = [each.layer for each in answering if each is not mine]
        twins = [each for each in twins if each.num_classes == named.num_classes]
        return Choice(
            named, mine.is_visible, () if mine.is_certain else tuple(_twins(named, twins))
        )
    start = f"The numbers will be about the layer {named.name!r}, which was named, and not about "
    if not answering:
        reason = _no_answer(root, ran).parts[0]
        return Choice(named, False, ((f"{start}the model's answer. {reason}",),))
    best = answering[-1].layer.name
    advice = ("the model's answer, which comes from another: ", Option("head", f'"{best}"'), ".")
    return Choice(named, False, ((start, *advice),))


def _twins(named: Head, twins: list[Head]) -> Iterator[Remark]:
    if twins:
        yield (
            f"Beside the head {named.name!r}, which was named, layers of its size run:"
            f"{listed(twins)}\nIf the model answers with several of them together (their mean, a "
            "mixture), the numbers are not about its answer: the null space of one is not that "
            "of all.",
        )


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
    # Those with the fewest outputs fit the labels best; of equal ones the last to be called.
    latest = layers[::-1]
    likeliest = sorted(latest, key=lambda layer: layer.num_classes)
    return SetupError(
        "Several layers could be the classifier head: the model was seen to answer with each."
        f"{listed(likeliest)}\nName the one whose classes the labels are: ",
        Option("head", f'"{likeliest[0].name}"'),
        ". Another can be watched as well, by a monitor of its own. If the model answers with "
        "several together (their mean, a mixture), the null space of one is not that of the model, "
        "and none can be watched for it.",
    )


def _no_answer(root: nn.Module, ran: list[_Ran]) -> SetupError:
    """Why none of the layers is the head."""
    reason = "No linear layer of the model answers. "
    if not ran:
        return SetupError(
            f"{reason}None was called when the model ran. A layer that is only used through its "
            "weight, as in F.linear(x, head.weight), cannot be watched: call head(x). Nor can "
            "anything be seen in a step that returns before it runs the model."
        )
    try:
        usual = find_head(root).module
    except (ValueError, TypeError):
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
        "of one weight. Adapters, normalised, masked or added logits and F.linear(x, weight) do "
        "that. A model can be watched where it returns what one linear layer puts out: "
        "`return self.head(features)`."
    )
    if not alike:
        return SetupError(made)
    return SetupError(
        made,
        f" If they are made of the output of {alike[0].layer.name!r} alone, numbers about "
        "that layer may still be of use; then name it: ",
        Option("head", f'"{alike[0].layer.name}"'),
        ".",
    )
