"""WordNet above the classes of ImageNet-1k: synsets, hypernyms and the names of the classes.

The package's ``imagenet_hypernyms.json.gz`` holds 1,860 noun synsets of WordNet 3.0 (Princeton
University; license in ``WORDNET_LICENSE.txt``) and, for each of the 1,000 classes, its lemmas and
the names that timm, torchvision and open_clip give it.
"""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True, eq=False)
class WordNet:
    """Synsets at and above the classes of ImageNet-1k.

    Args:
        parents: hypernyms of every synset, by id such as "n01440764".
        names: first lemma of every synset, by id.
        spellings: ways to name the 1,000 classes, id by name, one mapping a way: first with the
            case of letters ("Cardigan" is a dog, "cardigan" a jacket), then in lower case.
    """

    parents: Mapping[str, tuple[str, ...]]
    names: Mapping[str, str]
    spellings: tuple[Mapping[str, str], ...]

    def synsets(self, class_names: Sequence[str]) -> tuple[str, ...] | None:
        """Ids of classes that are ImageNet-1k's, by id or name; None unless all of them are.

        All of them must be named in one way, so that "crane" is the bird or the machine as whoever
        named the classes meant it. A name that two classes share in that way is known in none.

        Example::

            >>> wordnet().synsets(["tench", "great_white shark"])
            ('n01440764', 'n01484850')
            >>> wordnet().synsets(["tench", "unicorn"])
        """
        spaced = [_spaced(name) for name in class_names]
        for names in (spaced, [name.casefold() for name in spaced]):
            for known in self.spellings:
                if all(name in known for name in names):
                    return tuple(known[name] for name in names)
        return None


@cache
def wordnet() -> WordNet:
    """What the package ships, read once."""
    shipped = files(__package__) / "imagenet_hypernyms.json.gz"
    stored = json.loads(gzip.decompress(shipped.read_bytes()))
    nodes, ids = stored["nodes"], stored["ids"]
    named = [list(zip(names, ids, strict=True)) for names in stored["spellings"].values()]
    lemmas = [
        (lemma, each) for each, words in zip(ids, stored["lemmas"], strict=True) for lemma in words
    ]
    ways = [list(zip(ids, ids, strict=True)), *named, lemmas]
    folded = [[(name.casefold(), each) for name, each in way] for way in ways]
    return WordNet(
        {each: tuple(node["parents"]) for each, node in nodes.items()},
        {each: node["name"] for each, node in nodes.items()},
        tuple(map(_unambiguous, (*ways, *folded))),
    )


def _unambiguous(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Id by name, without the names of several ids."""
    known = {(_spaced(name), each) for name, each in pairs}
    counts = Counter(name for name, _ in known)
    return {name: each for name, each in known if counts[name] == 1}


def _spaced(name: str) -> str:
    return " ".join(name.replace("_", " ").split())
