"""What each analysis costs: everything, against everything without it, in turns.

What several of them work out together, such as the translator, falls to none: what is left when all
shares are added up is that, and what the first sentence of a run needs. Two shapes, with 48 maps of
7 x 7 positions and 20,000 weights over 20 validations.
"""

from __future__ import annotations

import argparse
from collections.abc import Collection
from dataclasses import replace
from functools import partial

import torch

from sing_monitor.analyses import CHOICES, analyze
from sing_monitor.feature_maps import FeatureMaps
from sing_monitor.snapshot import Snapshot
from sing_monitor.space.text_embeddings import Texts
from sing_monitor.weights.trajectory import Trajectory
from tests.benchmarks.bench_analysis import RIDGE, fresh, planted
from tests.benchmarks.machine import alternating, describe

SHAPES = {  # samples N, features m, classes C, embedding n, concepts K
    "ten classes": (10_000, 512, 10, 512, 60),
    "imagenet": (10_000, 2_048, 1_000, 768, 173),
}
MAPS, SIDE, WEIGHTS, VALIDATIONS = 48, 7, 20_000, 20
# Others build on it: it is left out with them.
BASE = "sing"


def measured(
    snapshot: Snapshot, texts: Texts, trajectory: Trajectory, chosen: Collection[str]
) -> None:
    """Run some analyses, as a training does that has asked for them."""
    reads = BASE in chosen
    given = fresh(snapshot) if reads else fresh(replace(snapshot, embeddings=None))
    analyze(given, texts if reads else None, ridge=RIDGE, trajectory=trajectory, chosen=chosen)


def main() -> None:
    """Print the share of each analysis, a line each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=3)
    repetitions = parser.parse_args().repetitions
    print(describe())
    generator = torch.Generator().manual_seed(0)
    layer = torch.arange(WEIGHTS) * 20 // WEIGHTS
    walks = torch.randn(WEIGHTS, VALIDATIONS, generator=generator).cumsum(dim=1)
    names = tuple(f"layer {index}" for index in range(20))
    trajectory = Trajectory(torch.arange(VALIDATIONS), walks, names, layer, layer == 19)
    for name, shape in SHAPES.items():
        snapshot, texts = planted(shape)
        ids = torch.randperm(len(snapshot), generator=generator)
        maps = torch.randn(MAPS, shape[1], SIDE, SIDE, generator=generator).relu()
        snapshot = replace(snapshot, image_ids=ids, maps=FeatureMaps(ids[:MAPS], maps))
        run = partial(measured, snapshot, texts, trajectory)
        without = {
            left: partial(run, [each for each in CHOICES if each != left])
            for left in CHOICES
            if left != BASE
        }
        needs_no_space = [
            choice
            for choice, needs in CHOICES.items()
            if choice != BASE and "embeddings" not in needs
        ]
        run(list(CHOICES))  # The first loads libraries.
        times = alternating(
            {
                "all": partial(run, list(CHOICES)),
                **without,
                BASE: partial(run, [BASE]),
                "no space": partial(run, needs_no_space),
            },
            repetitions,
        )
        _, whole = times["all"]
        print(f"{name}: N={shape[0]} m={shape[1]} C={shape[2]}, all {whole:.2f} s of processor")
        print(f"  {BASE} alone: {times[BASE][1] / whole:.3f}")
        for left in without:
            print(f"  {left}: {1 - times[left][1] / whole:.3f}", flush=True)
        print(f"  all but {BASE} and what builds on it: {times['no space'][1] / whole:.3f}")


if __name__ == "__main__":
    main()
