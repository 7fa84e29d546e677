"""Time of the class hierarchy beside the other analyses that need no space, on one thread.

Heads of 10, 100 and 1,000 classes whose templates stand in groups of ten, and one of 1,000 whose
templates are noise; ImageNet's classes, so that WordNet is the reference.
"""

from __future__ import annotations

import torch

from sing_monitor.analyses import analyze
from sing_monitor.analyses.hierarchy.analysis import analyze_hierarchy
from sing_monitor.analyses.hierarchy.wordnet import wordnet
from sing_monitor.observation import Observation
from sing_monitor.snapshot import Snapshot
from tests.benchmarks.machine import alternating, describe

# Classes, features, images, and whether templates stand in groups.
CASES = ((10, 128, 1436, True), (100, 512, 2048, True), (1000, 768, 5000, True))
NOISE = ((1000, 768, 5000, False),)
REPETITIONS = 3


def snapshot(classes: int, features: int, images: int, is_grouped: bool) -> Snapshot:
    """Features around the templates of a head."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    groups = draw(max(2, classes // 10), features)[torch.arange(classes) % max(2, classes // 10)]
    weight = 0.8 * draw(classes, features) + (groups if is_grouped else 0)
    labels = torch.arange(images) % classes
    return Snapshot(
        weight=weight,
        bias=None,
        features=weight[labels] + 5 * draw(images, features),
        labels=labels,
        embeddings=None,
        class_names=tuple(wordnet().spellings[0])[:classes],
    )


def main() -> None:
    """Print a line for each head."""
    torch.set_num_threads(1)
    print(describe())
    print("classes  templates  hierarchy  all analyses (s of processor time)  share")
    for case in (*CASES, *NOISE):
        given = snapshot(*case)
        # Once, for the libraries and WordNet to be loaded.
        analyze_hierarchy(Observation(given))
        found = alternating(
            {
                "hierarchy": lambda given=given: analyze_hierarchy(Observation(given)),
                "all": lambda given=given: analyze(given, None),
            },
            REPETITIONS,
        )
        own, everything = (found[name][1] for name in ("hierarchy", "all"))
        kind = "grouped" if case[3] else "noise"
        print(f"{case[0]:7}  {kind:9}  {own:9.3f}  {everything:12.3f}  {own / everything:6.2f}")


if __name__ == "__main__":
    main()
