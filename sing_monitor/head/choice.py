"""Choice of the head after a forward pass: the layer whose output is the model's answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from sing_monitor.head.answers import CalledLayer, group_by_layer
from sing_monitor.head.calls import LayerCall
from sing_monitor.head.choice_messages import (
    Remark,
    no_answer,
    not_called,
    remark_copies,
    remark_frozen,
    remark_later,
    remark_other_answer,
    remark_twins,
    several_answers,
)
from sing_monitor.head.conventions import usual_heads
from sing_monitor.head.layer import Head, head_features
from sing_monitor.head.linear_layers import linear_layers


@dataclass(frozen=True)
class ChosenHead:
    """Head that was chosen after a forward pass.

    Args:
        head: the layer.
        is_confirmed: whether the forward pass showed that the model answers with its output.
        remarks: sentences that the user should read.
    """

    head: Head
    is_confirmed: bool
    remarks: tuple[Remark, ...] = ()


def choose_head(
    root: nn.Module, calls: Sequence[LayerCall], *, named: Head | None, largest_label: int
) -> ChosenHead:
    """Choose the head by the calls of one forward pass.

    Candidates are the layers with one input vector for each image whose output is the model's
    answer (or its softmax, its logarithm, a positive multiple), or goes to the step as it is.
    Trainable ones come before frozen ones, then those with a row for every label. If several are
    left, the conventions by which models are built decide, provided that they leave one.

    Args:
        root: the model.
        calls: of its linear layers, in their order.
        named: the layer that the user has named, or None.
        largest_label: of the images.

    Raises:
        SetupError: if there is no candidate or several, or the named layer did not run. The
            message's advice works.
    """
    called = group_by_layer(calls)
    answering = [each for each in called if each.is_answer]
    if named is not None:
        return _check_named(root, named, called, answering)
    if not answering:
        raise no_answer(root, called)
    own = {id(layer.module) for layer in linear_layers(root)}
    ours = [each for each in answering if id(each.layer.module) in own] or answering
    trainable = [each for each in ours if each.layer.is_trainable] or ours
    fitting = [each for each in trainable if each.layer.num_classes > largest_label] or trainable
    pool = _last_of_chains(fitting)
    layers = [each.layer for each in pool]
    found = layers if len(layers) == 1 else usual_heads(root, layers)[0]
    if len(found) != 1:
        raise several_answers(layers)
    head = found[0]
    # Others may predict these labels as well, or better: the user has to say which is meant.
    if any(each is not head and each.num_classes <= head.num_classes for each in layers):
        raise several_answers(layers)
    chosen = pool[layers.index(head)]
    if chosen.is_certain:
        return ChosenHead(head, True, tuple(remark_frozen(root, head)))
    _check_usual_head_ran(root, called, answering)
    later = [each.layer for each in trainable[trainable.index(chosen) + 1 :]]
    copies = [each.layer for each in answering if each not in ours]
    remarks = (
        *remark_frozen(root, head),
        *remark_later(head, later),
        *remark_copies(head, copies),
    )
    return ChosenHead(head, chosen.is_visible, remarks)


def _check_named(
    root: nn.Module, named: Head, called: list[CalledLayer], answering: list[CalledLayer]
) -> ChosenHead:
    """Choose the named layer, with remarks where its output is not the model's only answer."""
    own = next((each for each in called if each.layer.module is named.module), None)
    if own is None:
        raise not_called(named, answering or called)
    dense = [call for call in own.calls if call.logits is None]
    if dense:
        # Raises the error that says why a dense layer is no head.
        head_features(named.module, torch.empty(dense[0].shape, device="meta"))
    if own not in answering:
        return ChosenHead(named, False, (remark_other_answer(root, named, called, answering),))
    twins = [
        each.layer
        for each in answering
        if each is not own and each.layer.num_classes == named.num_classes
    ]
    remarks = () if own.is_certain else tuple(remark_twins(named, twins))
    return ChosenHead(named, own.is_visible, remarks)


def _check_usual_head_ran(
    root: nn.Module, called: list[CalledLayer], answering: list[CalledLayer]
) -> None:
    """Raise an error if the head by convention did not run: its weight may be used alone."""
    usual, _ = usual_heads(root, linear_layers(root))
    if len(usual) == 1 and usual[0] not in [each.layer for each in called]:
        raise not_called(usual[0], answering)


def _last_of_chains(called: list[CalledLayer]) -> list[CalledLayer]:
    """Layers whose outputs are not of the size of a later layer's inputs.

    A layer that keeps the number of outputs, such as a calibration, ends no chain.
    """

    def feeds(one: Head, later: Head) -> bool:
        classes = one.num_classes
        return later.feature_dim == classes and later.num_classes != classes

    return [
        each
        for index, each in enumerate(called)
        if not any(feeds(each.layer, later.layer) for later in called[index + 1 :])
    ]
