"""Remarks and errors about the choice of the head, with advice that works when it is followed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import torch
from torch import nn

from sing_monitor.errors import Option, SetupError
from sing_monitor.head.answers import CalledLayer, is_derived_from
from sing_monitor.head.layer import Head, head_features
from sing_monitor.head.linear_layers import list_layers
from sing_monitor.head.ordinal import NO_ROWS, is_one_score
from sing_monitor.head.search import find_head

Remark: TypeAlias = tuple[str | Option, ...]


def remark_frozen(root: nn.Module, head: Head) -> Iterator[Remark]:
    """Remark on a head that is frozen while other parts of the model train."""
    if not head.is_trainable and any(p.requires_grad for p in root.parameters()):
        yield (
            f"The head {head.name!r} is frozen, while other parts of the model train. That is "
            "right for a fixed classifier, and wrong if it belongs to a second network. To watch "
            "another layer, name it: ",
            Option("head"),
            ".",
        )


def remark_later(head: Head, later: Sequence[Head]) -> Iterator[Remark]:
    """Remark on linear layers that run after the head."""
    if later:
        yield (
            f"Linear layers run after the head {head.name!r}:{list_layers(later)}\nIf one of them "
            "gives the classes, name it: ",
            Option("head", f'"{later[-1].name}"'),
            f". If {head.name!r} alone does, say so: ",
            Option("head", f'"{head.name}"'),
            ".",
        )


def remark_copies(head: Head, copies: Sequence[Head]) -> Iterator[Remark]:
    """Remark on a copy of the network that runs as well."""
    if copies:
        yield (
            f"A copy of the network runs as well (averaged weights?). The monitor watches the head "
            f"{head.name!r}. To watch the head of the copy, name it: ",
            Option("head", f'"{copies[-1].name}"'),
            ".",
        )


def remark_twins(named: Head, twins: Sequence[Head]) -> Iterator[Remark]:
    """Remark on layers of the same size that run beside the named head."""
    if twins:
        yield (
            f"Beside the head {named.name!r}, which was named, layers of its size run:"
            f"{list_layers(twins)}\nIf the model answers with several of them together (their "
            "mean, a mixture), the numbers are not about its answer: the null space of one is not "
            "that of all.",
        )


def remark_other_answer(
    root: nn.Module,
    named: Head,
    called: Sequence[CalledLayer],
    answering: Sequence[CalledLayer],
) -> Remark:
    """Remark on a named layer whose output is not the model's answer."""
    start = f"The numbers will be about the layer {named.name!r}, which was named, and not about "
    if not answering:
        return (f"{start}the model's answer. {no_answer(root, called).parts[0]}",)
    best = Option("head", f'"{answering[-1].layer.name}"')
    return start, "the model's answer, which comes from another: ", best, "."


def not_called(named: Head, others: Sequence[CalledLayer]) -> SetupError:
    """Error for a head that the forward pass did not call."""
    reason = (
        f"The head {named.name!r} was not called when the model ran. A layer that is only used "
        "through its weight, as in F.linear(x, head.weight), cannot be watched: call head(x)."
    )
    layers = sorted((each.layer for each in others[::-1]), key=lambda head: not head.is_trainable)
    if not layers:
        return SetupError(reason)
    advice = Option("head", f'"{layers[0].name}"')
    return SetupError(
        f"{reason} These layers were called:{list_layers(layers)}\nName one: ", advice, "."
    )


def several_answers(layers: Sequence[Head]) -> SetupError:
    """Error for a model that answers with the output of several layers."""
    # Those with the fewest outputs fit the labels best; of equal ones the last to be called.
    latest = layers[::-1]
    likeliest = sorted(latest, key=lambda layer: layer.num_classes)
    return SetupError(
        "Several layers could be the classifier head: the model was seen to answer with each."
        f"{list_layers(likeliest)}\nName the one whose classes the labels are: ",
        Option("head", f'"{likeliest[0].name}"'),
        ". Another can be watched as well, by a monitor of its own. If the model answers with "
        "several together (their mean, a mixture), the null space of one is not that of the model, "
        "and no layer can be watched for it.",
    )


def no_answer(root: nn.Module, called: Sequence[CalledLayer]) -> SetupError:
    """Error for a model whose answer is the output of no linear layer, with the likely reason."""
    reason = "No linear layer of the model answers. "
    if not called:
        return SetupError(
            f"{reason}None was called when the model ran. A layer that is only used through its "
            "weight, as in F.linear(x, head.weight), cannot be watched: call head(x). A step that "
            "returns before it runs the model shows no layer either."
        )
    dense = _dense_head(root, called)
    if dense is not None:
        return dense
    answer = next((a for each in called[::-1] for a in each.calls[-1].answers), None)
    if answer is None:
        return SetupError(
            f"{reason}All that were called lie inside blocks that return maps or tokens."
        )
    if is_one_score(answer):
        return SetupError(
            f"The model answers with {answer.shape[1]} numbers for each image that are one score, "
            f"each shifted by a constant. {NO_ROWS}, and cannot be watched: give the model a "
            "linear layer with one output for each class."
        )
    alike = [each for each in called if each.layer.num_classes == answer.shape[1]]
    if len(alike) > 1:
        return _answer_of_several(answer, alike)
    derived = (
        f"The model answers with {answer.shape[1]} numbers for each image that are not the output "
        "of one of its linear layers (nor the softmax of that), so their null space is not that "
        "of one weight. Adapters, normalized, masked or added logits and F.linear(x, weight) do "
        "that. A model can be watched if it returns the output of one linear layer: "
        "`return self.head(features)`."
    )
    if not alike:
        return SetupError(derived)
    return SetupError(
        derived,
        f" If they are computed from the output of {alike[0].layer.name!r} alone, numbers about "
        "that layer may still be of use; then name it: ",
        Option("head", f'"{alike[0].layer.name}"'),
        ".",
    )


def _dense_head(root: nn.Module, called: Sequence[CalledLayer]) -> SetupError | None:
    """Error for a model whose usual head reads a map or tokens; None for any other model."""
    try:
        usual = find_head(root).module
    except (ValueError, TypeError):
        return None
    for each in called:
        if each.layer.module is usual and each.calls[0].logits is None:
            try:
                head_features(usual, torch.empty(each.calls[0].shape, device="meta"))
            except SetupError as error:
                return error
    return None


def _answer_of_several(answer: torch.Tensor, alike: Sequence[CalledLayer]) -> SetupError:
    """Error for an answer, (N, K), that several layers of its size seem to make up together."""
    together = "several of these layers together"
    logits = [each.calls[-1].logits for each in alike]
    known = [each.double() for each in logits if each is not None]
    if len(known) == len(alike) and is_derived_from(
        answer, torch.stack(known).mean(dim=0).to(answer.dtype)
    ):
        together = "the mean of these layers"
    return SetupError(
        f"The model answers with {together}, and the null space of one is not that of the "
        f"model:{list_layers([each.layer for each in alike])}\nBuild the model with one head, for "
        "instance without distillation or token labeling."
    )
