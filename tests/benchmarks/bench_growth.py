"""How time and memory of an analysis grow with images N, features m and classes C.

Every size runs in a process of its own. Memory is the highest resident size during the analysis,
less that before it, when snapshot, texts and libraries are there already.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

from tests.benchmarks.machine import describe

# Samples N, features m, classes C, embedding n, concepts K. One of the first three varies.
BASE = (10_000, 512, 100, 512, 60)
VARIED = {
    "N": (0, (2_000, 5_000, 10_000, 20_000, 50_000)),
    "m": (1, (256, 1_024, 2_048, 4_096)),
    "C": (2, (10, 1_000, 21_000)),
}
# Fewer images than features: flattened feature maps, up to those of VGG.
FEW = [(128, m, 100, 512, 60) for m in (512, 2_048, 8_192, 25_088)]
IMAGENET = (10_000, 2_048, 1_000, 768, 173)


def resident(kind: str) -> float:
    """Resident size in MB: VmRSS now, VmHWM at its highest since :func:`forget_the_highest`."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(kind):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"/proc/self/status has no {kind}; this benchmark needs Linux.")


def forget_the_highest() -> None:
    """Start VmHWM anew."""
    Path("/proc/self/clear_refs").write_text("5")


def measure(shape: tuple[int, int, int, int, int], repetitions: int) -> dict[str, float]:
    """Wall, processor seconds and MB of one shape, in this process."""
    from sing_monitor.analyses import analyze
    from sing_monitor.translate.cost import Shape, estimate, measure_speed
    from tests.benchmarks.bench_analysis import RIDGE, fresh, planted

    # What every first analysis of a process loads is not this one's.
    analyze(*planted((50, 16, 3, 8, 4)), ridge=RIDGE)
    snapshot, texts = planted(shape)
    wall, processor, before = [], [], resident("VmRSS")
    forget_the_highest()
    for _ in range(repetitions):
        started = time.perf_counter(), time.process_time()
        analyze(fresh(snapshot), texts, ridge=RIDGE)
        wall.append(time.perf_counter() - started[0])
        processor.append(time.process_time() - started[1])
    speed = measure_speed()
    return {
        "estimate": estimate(Shape(*shape, ridge=RIDGE), speed).seconds,
        "wall": statistics.median(wall),
        "processor": statistics.median(processor),
        "memory": resident("VmHWM") - before,
    }


def main() -> None:
    """Print a line a size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--shape", type=json.loads, help="measure one shape and print JSON")
    arguments = parser.parse_args()
    if arguments.shape:
        print(json.dumps(measure(tuple(arguments.shape), arguments.repetitions)))
        return
    print(describe())
    sizes = [
        (name, tuple(value if k == place else size for k, size in enumerate(BASE)))
        for name, (place, values) in VARIED.items()
        for value in values
    ]
    few: dict[int, float] = {}
    for name, shape in [*sizes, *(("few", each) for each in FEW), ("ImageNet", IMAGENET)]:
        command = [sys.executable, __file__, "--shape", json.dumps(shape)]
        output = subprocess.run(
            [*command, "--repetitions", str(arguments.repetitions)],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        found = json.loads(output.stdout.splitlines()[-1])
        samples, feature_dim, classes, dim, concepts = shape
        data = 4 * samples * (feature_dim + dim) / 2**20
        print(
            f"{name:<9} N={samples} m={feature_dim} C={classes} n={dim} K={concepts}: "
            f"{found['wall']:.2f} s, processor {found['processor']:.2f} s, "
            f"{1e6 * found['wall'] / samples:.0f} us an image; "
            f"estimated {found['estimate']:.2f} s, ratio {found['estimate'] / found['wall']:.2f}; "
            f"memory {found['memory']:.0f} MB over data of {data:.0f} MB",
            flush=True,
        )
        if name == "few":
            few[feature_dim] = found["wall"]
            ratio = found["wall"] / few[FEW[0][1]]
            print(f"          {ratio:.1f} times as long as with {FEW[0][1]} features")


if __name__ == "__main__":
    main()
