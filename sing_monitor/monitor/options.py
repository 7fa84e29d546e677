"""SINGCallback's settings, checked at once; each error names the fix."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Literal, get_args

from torch.utils.data import DataLoader

from sing_monitor.alerts import Alert
from sing_monitor.errors import Option, SetupError
from sing_monitor.findings import ATTRIBUTE_NAME
from sing_monitor.head.geometry import Invariance
from sing_monitor.inputs.plain_values import as_builtin
from sing_monitor.inputs.prompts import Prompts
from sing_monitor.space.cache import default_cache_dir
from sing_monitor.space.semantic_space import SemanticSpace


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the user asked for; :class:`SINGCallback` documents each of them.

    Raises:
        SetupError: for a value that cannot be used.
    """

    space: str | SemanticSpace
    head: str | None
    class_names: Any
    prompts: Prompts
    probe_size: int
    pixel_stats: Any
    batch_adapter: Callable[[Any], Any] | None
    ridge: float | Literal["auto"]
    n_images: int
    invariance: Invariance
    cache_dir: Path | None
    # Only a training asks for what follows.
    every_n_epochs: int = 1
    dataloader_idx: int = 0
    probe: DataLoader[Any] | None = None
    allow_augmented: bool = False
    save_snapshots: bool = False
    name: str | None = None
    alerts: tuple[Alert, ...] = ()
    on_error: Literal["warn", "raise"] = "warn"

    def __post_init__(self) -> None:
        _check_space(self.space)
        for name in ("class_names", "pixel_stats"):
            object.__setattr__(self, name, as_builtin(getattr(self, name)))
        _check_templates(self.prompts.classes)
        _check_attribute_prompts(self.prompts.attributes)
        _check_concepts(self.prompts.concepts)
        _check_count("probe_size", self.probe_size, 2)
        _check_count("every_n_epochs", self.every_n_epochs, 1)
        _check_count("dataloader_idx", self.dataloader_idx, 0)
        _check_count("n_images", self.n_images, 0)
        _check_probe(self.probe, self.dataloader_idx)
        _check_ridge(self.ridge)
        _check_name(self.name)
        if self.invariance not in get_args(Invariance):
            raise SetupError(
                _given("invariance", self.invariance), ": expected 'logits' or 'softmax'."
            )
        if self.on_error not in ("warn", "raise"):
            raise SetupError(_given("on_error", self.on_error), ": expected 'warn' or 'raise'.")


def cache_folder(cache_dir: str | PathLike[str] | None) -> Path | None:
    """The folder that ``cache_dir=`` means; None: memory alone."""
    if cache_dir == "auto":
        return default_cache_dir()
    return None if cache_dir is None else Path(cache_dir)


def _given(name: str, value: object) -> Option:
    """An option as the user gave it."""
    return Option(name, repr(value))


def _check_space(space: Any) -> None:
    """Refuse what a configuration file was to make an object of, and could not."""
    if isinstance(space, Mapping):
        raise SetupError(
            _given("space", dict(space)),
            ": expected a space, or the text '<open_clip model>/<tag or file>'. LightningCLI makes "
            "an object of class_path and init_args if the class can be imported, takes these "
            "arguments and annotates its methods as "
            "sing_monitor.space.semantic_space.SemanticSpace does; Hydra makes one of _target_ in "
            "hydra.utils.instantiate.",
        )


def _check_count(name: str, value: Any, least: int) -> None:
    """Refuse anything but an integer of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise SetupError(_given(name, value), f": expected an integer of at least {least}.")


def _check_probe(probe: Any, dataloader_idx: int) -> None:
    """Refuse anything but a loader, and a choice of validation loader beside it."""
    if probe is None:
        return
    if not isinstance(probe, DataLoader):
        raise SetupError(
            Option("probe", type(probe).__name__),
            ": expected a DataLoader, such as DataLoader(dataset, batch_size=64).",
        )
    if dataloader_idx:
        raise SetupError(
            Option("probe"),
            " takes the place of the validation loaders, of which ",
            _given("dataloader_idx", dataloader_idx),
            " chooses one. Give one of the two.",
        )


def _check_template(given: Option, template: Any) -> None:
    """Refuse a prompt that has no single place for a name."""
    if not isinstance(template, str) or template.count("{}") != 1:
        raise SetupError(
            given,
            f": {template!r} should hold '{{}}' exactly once, where the name goes, as in "
            "'an image of a {}'.",
        )


def _check_templates(prompt: Any) -> None:
    """Refuse class prompts that are no template and no list of them."""
    several = isinstance(prompt, Sequence) and not isinstance(prompt, str)
    if several and not prompt:
        raise SetupError(_given("prompt", prompt), ": give at least one template.")
    for template in prompt if several else [prompt]:
        _check_template(_given("prompt", prompt), template)


def _check_attribute_prompts(prompts: Any) -> None:
    """Refuse anything but templates by attribute name."""
    if not isinstance(prompts, Mapping):
        raise SetupError(
            _given("attribute_prompts", prompts),
            ": expected a mapping, such as {'colour': 'an image of a {} digit'}.",
        )
    for name, template in prompts.items():
        if not isinstance(name, str) or not ATTRIBUTE_NAME.fullmatch(name):
            raise SetupError(
                Option("attribute_prompts"),
                f": the attribute {name!r} becomes part of a metric key; use lower-case letters, "
                "digits and underscores.",
            )
        _check_template(Option("attribute_prompts", f"{{{name!r}: {template!r}}}"), template)


def _check_concepts(concepts: Any) -> None:
    """Refuse a vocabulary that is no list of words and no mapping from words to prompts."""
    if concepts is None:
        return
    if isinstance(concepts, str) or not isinstance(concepts, (Mapping, Sequence)):
        raise SetupError(
            _given("concepts", concepts),
            ": expected a list of words, such as ['red', 'striped'], a mapping from words to "
            "prompts, or None for the default vocabulary.",
        )
    wrong = [word for word in concepts if not isinstance(word, str) or not word.strip()]
    if wrong:
        raise SetupError(
            Option("concepts"), f": {wrong[0]!r} is not a word; every concept is a text."
        )


def _check_ridge(ridge: Any) -> None:
    """Refuse anything but "auto" and a positive number."""
    is_number = isinstance(ridge, (int, float)) and not isinstance(ridge, bool)
    if ridge != "auto" and not (is_number and 0 < ridge < float("inf")):
        raise SetupError(
            _given("ridge", ridge),
            ": expected 'auto' or a positive number, such as 1e-3; it is relative to the mean "
            "variance of the features.",
        )


def _check_name(name: Any) -> None:
    """Refuse a callback name that cannot be part of a metric key and a folder."""
    if name is not None and not (isinstance(name, str) and re.fullmatch(r"[a-z0-9_]+", name)):
        raise SetupError(
            _given("name", name),
            ": use lower-case letters, digits and underscores, as in ",
            Option("name", "'aux'"),
            "; it becomes part of every metric key.",
        )
