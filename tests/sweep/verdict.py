"""What the monitor makes of one model, held against the truth."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice, product
from typing import Any

import torch
from lightning import LightningModule
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from sing_monitor import SINGCallback, analyze
from tests.helpers.tiny import HashSpace
from tests.sweep.truth import Truth, answer_of, matrix_of, same

_HEAD_LINE = re.compile(r"^\s*head\s+(?P<name>\S+|\(the module itself\))  \S", re.MULTILINE)
_ADVICE = re.compile(r'head="(?P<name>[^".][^"]*)"')


class Verdict(StrEnum):
    """How the monitor fared; the last five are faults."""

    RIGHT = "right"
    REFUSED = "refused: no one layer gives the answer"
    ADVISED = "refused with a working advice"
    WRONGLY_REFUSED = "wrongly refused"
    MISLEADING = "refused with an advice that does not work"
    WRONG = "wrong"
    CRASHED = "crashed"

    @property
    def is_fault(self) -> bool:
        """Whether the sweep fails on it."""
        return self not in (Verdict.RIGHT, Verdict.REFUSED, Verdict.ADVISED)


@dataclass(frozen=True)
class Outcome:
    """One way of asking about one model.

    Args:
        verdict: how it went.
        head: the layer that is watched, or the one that was advised.
        words: what was said where it was refused.
    """

    verdict: Verdict
    head: str = ""
    words: str = ""


@dataclass(frozen=True)
class _Watched:
    """The layer that is watched; and its W f + b on the batch, where the way shows it."""

    head: str
    logits: Tensor | None = None


class _Answering(LightningModule):
    """A LightningModule whose forward returns the logits."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        return answer_of(self.net(images))


class _Hiding(LightningModule):
    """A LightningModule with a validation step alone: nobody sees its answer."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        torch.nn.functional.cross_entropy(answer_of(self.net(batch[0])), batch[1])


def _analyze(model: nn.Module, images: Tensor, classes: int, head: str | None) -> _Watched:
    found = analyze(
        model,
        _loader(images, classes),
        HashSpace(),
        head=head,
        class_names=words(classes),
        concepts=[],
        pixel_stats=(0, 1),
        n_images=0,
        ridge=0.1,
        cache_dir=None,
    )
    snapshot = found.snapshot
    # Rows are sorted by image; every image has its own label.
    features = snapshot.features[snapshot.labels.argsort()].double()
    logits = features @ snapshot.weight.double().T
    if snapshot.bias is not None:
        logits = logits + snapshot.bias.double()
    return _Watched(found.tags["head"], logits)


def _check(model: nn.Module, images: Tensor, classes: int, head: str | None) -> _Watched:
    callback = SINGCallback(
        HashSpace(),
        head=head,
        class_names=words(classes),
        concepts=[],
        pixel_stats=(0, 1),
        n_images=0,
        cache_dir=None,
    )
    report = str(callback.check(model, _loader(images, classes)))
    match = _HEAD_LINE.search(report)
    if match is None:
        raise AssertionError(f"the report names no head:\n{report}")
    return _Watched("" if match["name"].startswith("(") else match["name"])


def words(classes: int) -> list[str]:
    """Distinct words of three letters; what they mean does not matter here."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    return list(islice(map("".join, product(letters, repeat=3)), classes))


def _loader(images: Tensor, classes: int) -> DataLoader[Any]:
    labels = torch.arange(len(images)) % classes
    # Two batches: the first settles what the head is, the second is read by it.
    return DataLoader(TensorDataset(images, labels), batch_size=(len(images) + 1) // 2)


# How the monitor is asked: analyze on the model itself, check on a LightningModule around it.
_Ask = Callable[[nn.Module, Tensor, int, str | None], _Watched]
WAYS: dict[str, tuple[Callable[[nn.Module], nn.Module], _Ask, str]] = {
    "analyze": (lambda model: model, _analyze, ""),
    "forward": (_Answering, _check, "net"),
    "step": (_Hiding, _check, "net"),
}


def judge(way: str, model: nn.Module, images: Tensor, truth: Truth) -> Outcome:
    """Ask the monitor in one of the three ways, and follow the advices that it gives."""
    wrap, ask, prefix = WAYS[way]
    outer, classes = wrap(model), truth.answer.shape[1]
    # One image of a class at most: by its label a row is known again.
    images = images[:classes]
    true = [".".join(filter(None, [prefix, name])) for name in truth.heads]

    def attempt(head: str | None) -> Outcome:
        try:
            watched = ask(outer, images, classes, head)
        except (ValueError, TypeError, MisconfigurationException) as error:
            return Outcome(Verdict.WRONGLY_REFUSED if true else Verdict.REFUSED, "", str(error))
        except Exception as error:
            return Outcome(Verdict.CRASHED, "", f"{type(error).__name__}: {error}")
        return Outcome(
            Verdict.RIGHT if _is_right(watched, true, truth) else Verdict.WRONG, watched.head
        )

    first = attempt(None)
    if first.verdict not in (Verdict.REFUSED, Verdict.WRONGLY_REFUSED):
        return first
    advices = list(dict.fromkeys(match["name"] for match in _ADVICE.finditer(first.words)))
    for advice in advices:
        followed = attempt(advice)
        if followed.verdict is not Verdict.RIGHT:
            return Outcome(
                Verdict.MISLEADING,
                advice,
                f"{first.words} -> {followed.verdict}: {followed.words}",
            )
    if advices:
        return Outcome(Verdict.ADVISED, advices[0], first.words)
    if not true:
        return first
    named = attempt(true[0])
    by_name = "right" if named.verdict is Verdict.RIGHT else f"{named.verdict}: {named.words}"
    return Outcome(first.verdict, "", f"{first.words} -> named {true[0]}: {by_name}")


def _is_right(watched: _Watched, true: list[str], truth: Truth) -> bool:
    logits = watched.logits
    fits = logits is None or same(logits, truth.answer[: len(logits)])
    if not true and logits is not None and not truth.is_zero:
        return fits  # put together of several layers, as a merged adapter is
    return fits and watched.head in true


def shape_of(model: nn.Module, name: str) -> str:
    """ "C x m" of a layer, or "" where there is none of that name."""
    try:
        weight = matrix_of(model.get_submodule(name))
    except AttributeError:
        return ""
    return "" if weight is None else f"{weight.shape[0]} x {weight.shape[1]}"
