"""Checks of single options: what each refuses, in a sentence that says what to give."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

from torch.utils.data import DataLoader

from sing_monitor.errors import Option, SetupError
from sing_monitor.findings import ATTRIBUTE_NAME


def given(name: str, value: object) -> Option:
    """An option as the user gave it."""
    return Option(name, repr(value))


def check_space(space: Any) -> None:
    """Refuse what a configuration file was to make an object of, and could not."""
    if isinstance(space, Mapping):
        raise SetupError(
            given("space", dict(space)),
            ": expected a space, or the text '<open_clip model>/<tag or file>'. LightningCLI makes "
            "an object of class_path and init_args if the class can be imported, takes these "
            "arguments and annotates its methods as "
            "sing_monitor.space.semantic_space.SemanticSpace does; Hydra makes one of _target_ in "
            "hydra.utils.instantiate.",
        )


def check_choice(name: str, value: Any, choices: Sequence[str]) -> None:
    """Refuse a value that is none of a few texts."""
    if value not in choices:
        expected = " or ".join(map(repr, choices))
        raise SetupError(given(name, value), f": expected {expected}.")


def check_tracking(tracking: Any) -> None:
    """Refuse what is no address of a store."""
    if tracking is not None and not (isinstance(tracking, (str, PathLike)) and str(tracking)):
        raise SetupError(
            given("tracking", tracking),
            ": expected a folder, such as 'runs/', an MLflow tracking URI, such as "
            "'sqlite:///mlflow.db', or None.",
        )


def check_count(name: str, value: Any, least: int) -> None:
    """Refuse anything but an integer of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise SetupError(given(name, value), f": expected an integer of at least {least}.")


def check_probe(probe: Any, dataloader_idx: int) -> None:
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
            given("dataloader_idx", dataloader_idx),
            " chooses one. Give one of the two.",
        )


def check_template(given: Option, template: Any) -> None:
    """Refuse a prompt that has no single place for a name."""
    if not isinstance(template, str) or template.count("{}") != 1:
        raise SetupError(
            given,
            f": {template!r} should hold '{{}}' exactly once, where the name goes, as in "
            "'an image of a {}'.",
        )


def check_templates(prompt: Any) -> None:
    """Refuse class prompts that are no template and no list of them."""
    several = isinstance(prompt, Sequence) and not isinstance(prompt, str)
    if several and not prompt:
        raise SetupError(given("prompt", prompt), ": give at least one template.")
    for template in prompt if several else [prompt]:
        check_template(given("prompt", prompt), template)


def check_attribute_prompts(prompts: Any) -> None:
    """Refuse anything but templates by attribute name."""
    if not isinstance(prompts, Mapping):
        raise SetupError(
            given("attribute_prompts", prompts),
            ": expected a mapping, such as {'colour': 'an image of a {} digit'}.",
        )
    for name, template in prompts.items():
        if not isinstance(name, str) or not ATTRIBUTE_NAME.fullmatch(name):
            raise SetupError(
                Option("attribute_prompts"),
                f": the attribute {name!r} becomes part of a metric key; use lower-case letters, "
                "digits and underscores.",
            )
        check_template(Option("attribute_prompts", f"{{{name!r}: {template!r}}}"), template)


def check_concepts(concepts: Any) -> None:
    """Refuse a vocabulary that is no list of words and no mapping from words to prompts."""
    if concepts is None:
        return
    if isinstance(concepts, str) or not isinstance(concepts, (Mapping, Sequence)):
        raise SetupError(
            given("concepts", concepts),
            ": expected a list of words, such as ['red', 'striped'], a mapping from words to "
            "prompts, or None for the default vocabulary.",
        )
    wrong = [word for word in concepts if not isinstance(word, str) or not word.strip()]
    if wrong:
        raise SetupError(
            Option("concepts"), f": {wrong[0]!r} is not a word; every concept is a text."
        )


def check_hierarchy(hierarchy: Any) -> None:
    """Refuse anything but ancestors by class name, and the path of a file."""
    if hierarchy is None or isinstance(hierarchy, (str, PathLike)):
        return
    if not isinstance(hierarchy, Mapping):
        raise SetupError(
            given("hierarchy", hierarchy),
            ": expected the superclass of each class, such as {'cat': 'animal'}, the path of its "
            "ancestors, such as {'cat': ['animal', 'mammal']}, or the path of a CSV file.",
        )
    for name, ancestors in hierarchy.items():
        parts = [ancestors] if isinstance(ancestors, str) else ancestors
        is_path = isinstance(parts, Sequence) and all(
            isinstance(part, str) and part for part in parts
        )
        if not (isinstance(name, str) and is_path):
            raise SetupError(
                Option("hierarchy"),
                f": {name!r}: {ancestors!r} is no class name with its superclass or a list of its "
                "ancestors.",
            )


def check_groups(groups: Any) -> None:
    """Refuse anything but the name of a part of a batch."""
    if groups is not None and not (isinstance(groups, str) and groups):
        raise SetupError(
            given("groups", groups),
            ": expected the name under which every batch holds the group of each image, as in ",
            Option("groups", "'patient_id'"),
            ", or None. Groups themselves go into the batch: ",
            Option("batch_adapter", "lambda batch: Batch(images=..., labels=..., group=...)"),
            ".",
        )


def check_name(name: Any) -> None:
    """Refuse a callback name that cannot be part of a metric key and a folder."""
    if name is not None and not (isinstance(name, str) and re.fullmatch(r"[a-z0-9_]+", name)):
        raise SetupError(
            given("name", name),
            ": use lower-case letters, digits and underscores, as in ",
            Option("name", "'aux'"),
            "; it becomes part of every metric key.",
        )
