"""Names of ImageNet's classes by their WordNet ids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable


def imagenet_names(ids: Iterable[str]) -> dict[str, str]:
    """Name each WordNet id that timm knows by its first lemma.

    A name that two classes share, among the given ids and the 1,000 of ImageNet-1k, is followed by
    the next lemma in brackets, or else by the gloss.

    Args:
        ids: WordNet ids, such as "n01440764".

    Returns:
        Id -> name; ids that timm does not know are left out.

    Example:
        >>> imagenet_names(["n01440764", "n03126707"])["n01440764"]
        'tench'
    """
    wanted = list(ids)
    if not wanted:
        return {}
    from timm.data import ImageNetInfo

    info = ImageNetInfo()
    choices: dict[str, list[str]] = {}
    for wordnet_id in dict.fromkeys([*info.label_names(), *wanted]):
        try:
            lemmas = info.label_name_to_description(wordnet_id)
            gloss = info.label_name_to_description(wordnet_id, detailed=True)
        except KeyError:
            continue
        first, *others = (lemma.strip() for lemma in lemmas.split(","))
        gloss = gloss.removeprefix(f"{lemmas}: ").split(";")[0]
        choices[wordnet_id] = [first, *(f"{first} ({extra})" for extra in (*others[:1], gloss))]
    names = {wordnet_id: options[0] for wordnet_id, options in choices.items()}
    for attempt in (1, 2):
        shared = Counter(names.values())
        for wordnet_id, options in choices.items():
            if shared[names[wordnet_id]] > 1:
                names[wordnet_id] = options[min(attempt, len(options) - 1)]
    return {wordnet_id: names[wordnet_id] for wordnet_id in wanted if wordnet_id in names}
