"""Prompts: the texts that the user wants images compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sing_monitor.inputs.plain_values import as_builtin

ANY_IMAGE = "an image of {}"


@dataclass(frozen=True)
class Prompts:
    """Prompts of the classes, concepts and attributes that scores refer to.

    Args:
        classes: one template or several, each with ``{}`` for the class name.
        concepts: vocabulary: words, or prompts by name; None for the default vocabulary.
        attributes: name of an annotated attribute -> template for its values.
    """

    classes: str | Sequence[str]
    concepts: Mapping[str, str | Sequence[str]] | Sequence[str] | None
    attributes: Mapping[str, str]

    def __post_init__(self) -> None:
        for name in ("classes", "concepts", "attributes"):
            object.__setattr__(self, name, as_builtin(getattr(self, name)))

    def class_prompt(self, name: str) -> str:
        """First prompt of a class, as an example."""
        template = self.classes if isinstance(self.classes, str) else self.classes[0]
        return template.replace("{}", name)
