"""What comparing images by their maps costs, and what faster matchers lose.

First the share of an analysis at C = 10, m = 512 and 48 maps of 7 x 7 positions, products and
assignments apart, and the time for 14 x 14 positions. Then every matcher against the optimum on
the maps of the small network of examples/shifted_images.py, trained on Fashion-MNIST (Debian's
package dataset-fashion-mnist), at 49, 196 and 784 positions.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from shifted_images import SmallNetwork, crop, fashion, trained
from torch import Tensor

from sing_monitor.analyses import analyze
from sing_monitor.analyses.similarity.analysis import analyze_alignment, analyze_similarity
from sing_monitor.analyses.similarity.matching import Matcher
from sing_monitor.analyses.similarity.matrices import matched_pairs, position_vectors
from sing_monitor.feature_maps import FeatureMaps
from sing_monitor.observation import Observation
from tests.benchmarks.bench_analysis import fresh, planted
from tests.benchmarks.machine import alternating, describe

MAPS, CHANNELS = 48, 512
STAGES = {49: -1, 196: -2, 784: -3}
CONTESTANTS: tuple[tuple[Matcher, int], ...] = (
    ("optimal", 1),
    ("identity", 1),
    ("greedy", 1),
    *(("batch_optimal", window) for window in (1, 32, 64, 128, 256)),
    *(("topk_greedy", window) for window in (32, 128, 256)),
)


def seconds_of(run: Callable[[], object]) -> float:
    """Processor seconds, which a busy machine hardly changes."""
    started = time.process_time()
    run()
    return time.process_time() - started


def products(vectors: Tensor) -> None:
    """The inner products of all positions of all pairs, and nothing else."""
    for second in range(1, len(vectors)):
        vectors[:second].reshape(-1, vectors.shape[2]) @ vectors[second].T


def cost(samples: int, repetitions: int) -> None:
    """Print the share of an analysis, and where the time goes."""
    snapshot, texts = planted((samples, CHANNELS, 10, 512, 60))
    snapshot = replace(snapshot, image_ids=torch.randperm(samples))
    values = torch.randn(MAPS, CHANNELS, 7, 7).relu()
    with_maps = replace(snapshot, maps=FeatureMaps(snapshot.ids[:MAPS], values))

    def similarity() -> None:
        observation = Observation(with_maps, texts, ridge=1e-3)
        analyze_similarity(observation)
        analyze_alignment(observation)

    times = alternating(
        {
            "without": lambda: analyze(fresh(snapshot), texts, ridge=1e-3),
            "similarity": similarity,
        },
        repetitions,
    )
    whole, part = times["without"], times["similarity"]
    print(
        f"N={samples}: analysis without maps {whole[0]:.2f} s ({whole[1]:.2f} s of a processor), "
        f"similarity {part[0]:.2f} s ({part[1]:.2f}); ratio {part[0] / whole[0]:.2f} "
        f"({part[1] / whole[1]:.2f})",
        flush=True,
    )


def parts(side: int) -> None:
    """Print processor seconds of products and of all matching."""
    vectors, _ = position_vectors(torch.randn(MAPS, CHANNELS, side, side).relu())
    alone = min(seconds_of(lambda: products(vectors)) for _ in range(3))
    both = min(seconds_of(lambda: list(matched_pairs(vectors, "optimal"))) for _ in range(3))
    print(
        f"{MAPS} maps of {side} x {side}: {both:.2f} s of a processor, products {alone:.2f}, "
        f"assignments {both - alone:.2f}",
        flush=True,
    )


def semantic(vectors: Tensor, matcher: Matcher, window: int) -> Tensor:
    """Semantic inner products of all pairs."""
    found = matched_pairs(vectors, matcher, window)
    return torch.cat([pairs.strengths.sum(dim=1, dtype=torch.float64) for pairs in found])


def matchers(network: SmallNetwork, pictures: Tensor) -> None:
    """Print quality and time of every matcher at every number of positions."""
    for positions, stage in STAGES.items():
        with torch.no_grad():
            maps = network.maps(crop(pictures, 8, 8))[stage]
        vectors, _ = position_vectors(maps)
        pairs = len(vectors) * (len(vectors) - 1) // 2
        best: Tensor | None = None
        print(f"{positions} positions, {maps.shape[1]} channels, {pairs} pairs:")
        for matcher, window in CONTESTANTS:
            started = time.process_time()
            totals = semantic(vectors, matcher, window)
            seconds = time.process_time() - started
            best = totals if best is None else best
            name = matcher if window == 1 and matcher != "batch_optimal" else f"{matcher} {window}"
            quality, worst = (totals / best).mean(), (totals / best).min()
            print(
                f"  {name:18} {quality:.4f} of the optimum, worst {worst:.4f}, "
                f"{1000 * seconds / pairs:8.2f} ms a pair",
                flush=True,
            )


def main() -> None:
    """Print the machine, the cost and the matchers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--pictures", type=int, default=10)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    print(describe())
    for side in (7, 14):
        parts(side)
    for samples in (1_000, 10_000):
        cost(samples, arguments.repetitions)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        network = trained(SmallNetwork(), *fashion(6000, train=True, data=data))
        matchers(network, fashion(arguments.pictures, train=False, data=data)[0])


if __name__ == "__main__":
    main()
