"""How often the 95 % intervals cover what they are about, on probes from planted worlds.

Hundreds of probes are drawn from one world. An interval is about the metric's expected value at
this size of probe, that is its mean over the probes. Printed by metric: that mean; how often
intervals cover it, and how often the value of the next probe, each with the translators held fixed
(a bootstrap over scored images) and as the analysis gives them; the half width of the latter,
beside 1.96 standard deviations of the metric from probe to probe.
"""

from __future__ import annotations

import argparse
import time
from typing import Literal

from tests.benchmarks.machine import describe
from tests.helpers.coverage import HEADLINE, World, coverage

# Features and embedding, images a class, ridge.
SETTINGS: tuple[tuple[int, int, int, float | Literal["auto"]], ...] = (
    (24, 16, 30, 0.01),
    (24, 16, 100, 0.01),
    (24, 16, 30, "auto"),
    (96, 24, 30, 0.03),
    (96, 24, 100, 0.03),
    (96, 24, 30, "auto"),
)


def main() -> None:
    """Print one table for every setting."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--probes", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    print(describe())
    for feature_dim, embedding_dim, per_class, ridge in SETTINGS:
        started = time.perf_counter()
        world = World(feature_dim=feature_dim, embedding_dim=embedding_dim, seed=arguments.seed)
        found, fixed = coverage(world, per_class=per_class, probes=arguments.probes, ridge=ridge)
        print(
            f"m={feature_dim} n={embedding_dim} C=4, {per_class} images a class, ridge {ridge}, "
            f"{arguments.probes} probes, seed {arguments.seed} "
            f"({time.perf_counter() - started:.0f} s)\n"
            f"  {'':32}    mean  covers mean    covers next    half width, 1.96 sd\n"
            f"  {'':32}          fixed  whole   fixed  whole"
        )
        for key in HEADLINE:
            ours, theirs = found[key], fixed[key]
            print(
                f"  {key:32} {ours.mean:7.3f} {theirs.of_mean:6.2f} {ours.of_mean:6.2f} "
                f"{theirs.of_next:7.2f} {ours.of_next:6.2f} "
                f"{ours.half_width:10.3f} {ours.spread:7.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
