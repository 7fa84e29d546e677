"""What each analysis costs of one validation, in seconds of processor and as a share of all.

They run on one observation, "sing" first: each pays for what none before it has worked out, such as
the translator. Two shapes, with 48 maps of 7 x 7 positions and 20,000 weights over 20 validations;
medians over the repetitions.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import replace

import torch

from sing_monitor.analyses import ANALYSES, CHOICES
from sing_monitor.feature_maps import FeatureMaps
from sing_monitor.observation import Observation
from sing_monitor.snapshot import Snapshot
from sing_monitor.space.text_embeddings import Texts
from sing_monitor.translate.reduced import reduced
from sing_monitor.weights.trajectory import Trajectory
from tests.benchmarks.bench_analysis import RIDGE, fresh, planted
from tests.benchmarks.machine import describe

SHAPES = {  # samples N, features m, classes C, embedding n, concepts K
    "ten classes": (10_000, 512, 10, 512, 60),
    "imagenet": (10_000, 2_048, 1_000, 768, 173),
}
MAPS, SIDE, WEIGHTS, VALIDATIONS, LAYERS = 48, 7, 20_000, 20, 20


def walks() -> Trajectory:
    """Weights of twenty layers, each on a way of its own."""
    layer = torch.arange(WEIGHTS) * LAYERS // WEIGHTS
    values = torch.randn(WEIGHTS, VALIDATIONS).cumsum(dim=1)
    names = tuple(f"layer {index}" for index in range(LAYERS))
    return Trajectory(torch.arange(VALIDATIONS), values, names, layer, layer == LAYERS - 1)


def seconds_of_each(snapshot: Snapshot, texts: Texts, trajectory: Trajectory) -> dict[str, float]:
    """Processor seconds by the name under which users choose an analysis."""
    observation = Observation(reduced(fresh(snapshot)), texts, RIDGE, None, 0, 64, {}, trajectory)
    found = dict.fromkeys(CHOICES, 0.0)
    for choice in CHOICES:
        started = time.process_time()
        for analysis in ANALYSES:
            if analysis.choice == choice and "stages" not in analysis.needs:
                observation.once(analysis.run)
        found[choice] = time.process_time() - started
    return found


def main() -> None:
    """Print a line for each analysis, and the sum."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=5)
    repetitions = parser.parse_args().repetitions
    torch.manual_seed(0)
    print(describe())
    for name, shape in SHAPES.items():
        snapshot, texts = planted(shape)
        ids = torch.randperm(len(snapshot))
        maps = torch.randn(MAPS, shape[1], SIDE, SIDE).relu()
        snapshot = replace(snapshot, image_ids=ids, maps=FeatureMaps(ids[:MAPS], maps))
        trajectory = walks()
        seconds_of_each(snapshot, texts, trajectory)  # The first loads libraries.
        runs = [seconds_of_each(snapshot, texts, trajectory) for _ in range(repetitions)]
        each = {choice: statistics.median(run[choice] for run in runs) for choice in CHOICES}
        whole = sum(each.values())
        print(f"{name}: N={shape[0]} m={shape[1]} C={shape[2]}, all {whole:.2f} s of processor")
        for choice, seconds in each.items():
            print(f"  {choice}: {seconds:.3f} s, {seconds / whole:.3f}", flush=True)


if __name__ == "__main__":
    main()
