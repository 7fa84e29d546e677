"""The hierarchy that the network's own is compared with: the user's, WordNet's, or none."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal

from sing_monitor.analyses.hierarchy.ancestors import CommonAncestors, common_ancestors
from sing_monitor.analyses.hierarchy.depth import by_chance, similarity_depth
from sing_monitor.analyses.hierarchy.forests import strongest_tree
from sing_monitor.analyses.hierarchy.matrices import Floats
from sing_monitor.analyses.hierarchy.wordnet import wordnet

Hierarchy = Mapping[str, Sequence[str]]


@dataclass(frozen=True, eq=False)
class Reference:
    """What the classes have in common by a hierarchy that is given.

    Args:
        source: ``"given"`` by the user, or ``"wordnet"``.
        common: lowest common ancestor of every two classes.
    """

    source: Literal["given", "wordnet"]
    common: CommonAncestors

    @cached_property
    def depth(self) -> Floats:
        """Depth of the lowest common ancestor of every pair, (C, C)."""
        return self.common.depth.astype(float)

    @cached_property
    def chance(self) -> float:
        """Similarity Depth on average when the classes are permuted at random."""
        return by_chance(self.depth)

    @cached_property
    def best(self) -> float:
        """Similarity Depth of the hierarchy's own tree.

        It joins the classes with the shortest ways to each other, and of equally near ones those
        with the deeper ancestor, so that the order of the classes does not matter.
        """
        return similarity_depth(
            strongest_tree(self.common.path_similarity, self.depth), self.common.depth
        )

    def ancestor(self, first: int, second: int) -> str:
        """Name of the lowest common ancestor of two classes."""
        return self.common.names[self.common.node[first, second]]


def find_reference(class_names: Sequence[str], hierarchy: Hierarchy | None) -> Reference | None:
    """The user's hierarchy; else WordNet's, where all classes are ImageNet-1k's; else None.

    Args:
        class_names: C names.
        hierarchy: ancestors of every class, the most general first, by name; None: not given.

    Raises:
        ValueError: if the hierarchy misses a class, or a class or ancestor is its own ancestor.
    """
    given = None
    if hierarchy is not None:
        missing = [name for name in class_names if name not in hierarchy]
        if missing:
            raise ValueError(
                f"the hierarchy says nothing of {', '.join(map(repr, missing[:3]))}; give the "
                "ancestors of every class, none for a class that stands alone."
            )
        given = tuple((name, tuple(hierarchy[name])) for name in class_names)
    return _found(tuple(class_names), given)


def describe_reference(class_names: Sequence[str], hierarchy: Hierarchy | None) -> str:
    """The reference in two words: depths of two that differ do not compare.

    Returns:
        ``"wordnet"``, ``"none"``, or ``"given"`` with 12 hexadecimal digits of what was given.
    """
    if hierarchy is not None:
        listed = json.dumps([[name, *hierarchy[name]] for name in sorted(hierarchy)])
        return f"given {hashlib.blake2b(listed.encode(), digest_size=6).hexdigest()}"
    return "none" if wordnet().synsets(class_names) is None else "wordnet"


def parents_of(paths: Hierarchy) -> dict[str, tuple[str, ...]]:
    """Parents of every class and ancestor, by name.

    Args:
        paths: ancestors of every class, the most general first. An ancestor may stand in several
            paths, and be a class itself.
    """
    parents: dict[str, dict[str, None]] = {}
    for name, path in paths.items():
        for above, node in zip(("", *path), (*path, name), strict=True):
            parents.setdefault(node, {}).update({above: None} if above else {})
    return {node: tuple(above) for node, above in parents.items()}


# One for each training in this process; of 1,000 classes each takes 25 MB.
@lru_cache(maxsize=4)
def _found(
    class_names: tuple[str, ...], given: tuple[tuple[str, tuple[str, ...]], ...] | None
) -> Reference | None:
    if given is not None:
        return Reference("given", common_ancestors(class_names, parents_of(dict(given))))
    known = wordnet()
    synsets = known.synsets(class_names)
    if synsets is None:
        return None
    return Reference("wordnet", common_ancestors(synsets, known.parents, known.names))
