"""What `from sing_monitor import SINGCallback` costs a script that imports torch and lightning."""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

from tests.benchmarks.machine import describe

BEFORE = "import torch, lightning"
CODE = "import resource; print(sum(resource.getrusage(resource.RUSAGE_SELF)[:2]))"


def seconds(statement: str) -> tuple[float, float]:
    """Wall and processor seconds of a new interpreter that runs a statement."""
    started = time.perf_counter()
    output = subprocess.run(
        [sys.executable, "-c", f"{statement}\n{CODE}"], check=True, capture_output=True, text=True
    )
    return time.perf_counter() - started, float(output.stdout.split()[-1])


def main() -> None:
    """Print the medians of alternating interpreters, and their difference."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=7)
    repetitions = parser.parse_args().repetitions
    print(describe())
    statements = BEFORE, f"{BEFORE}\nfrom sing_monitor import SINGCallback"
    for statement in statements:  # once, so that both find their files in the system's cache
        seconds(statement)
    runs = [[seconds(statement) for statement in statements] for _ in range(repetitions)]
    for k, clock in enumerate(("wall", "processor")):
        without, with_it = (statistics.median(run[i][k] for run in runs) for i in (0, 1))
        more = statistics.median(run[1][k] - run[0][k] for run in runs)
        print(
            f"{clock}: torch and lightning {without:.2f} s, with SINGCallback {with_it:.2f} s, "
            f"median difference {more:+.2f} s"
        )


if __name__ == "__main__":
    main()
