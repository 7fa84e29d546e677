"""Which metrics count in the user's or WordNet's tree of classes, and how such a tree is called."""

from __future__ import annotations

# They say how deep in that tree, or how like it, the head's own hierarchy is.
IN_TREE = frozenset(
    f"hierarchy/{name}"
    for name in (
        "similarity_depth",
        "similarity_depth_raw",
        "similarity_depth_clustered",
        "similarity_depth_clustered_raw",
        "similarity_depth_relative",
        "confusion_depth",
        "agreement",
    )
)
_WORDS = {"given": "the given tree", "wordnet": "WordNet", "none": ""}


def tree_name(tag: str) -> str:
    """The tree that a run's classes were placed in, from its tag; empty where it has none.

    Example::

        >>> tree_name("given 1f3a9c"), tree_name("wordnet"), tree_name("none")
        ('the given tree 1f3a9c', 'WordNet', '')
    """
    source, _, digest = tag.partition(" ")
    return f"{_WORDS.get(source, source)} {digest}".strip()
