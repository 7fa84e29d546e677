"""What `from sing_monitor import SINGCallback` costs a script that imports torch and lightning."""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys

from tests.benchmarks.machine import describe

# In one interpreter: whole ones differ by more from one run to the next than the import takes.
CODE = """
import time
clocks = time.perf_counter, time.process_time
started = [clock() for clock in clocks]
import torch, lightning
loaded = [clock() for clock in clocks]
from sing_monitor import SINGCallback
done = [clock() for clock in clocks]
for a, b, c in zip(started, loaded, done):
    print(b - a, c - b)
"""


def seconds() -> list[tuple[float, float]]:
    """Of a new interpreter, by clock: torch and lightning, and then SINGCallback."""
    output = subprocess.run(
        [sys.executable, "-c", CODE], check=True, capture_output=True, text=True
    ).stdout
    without, more = zip(*(map(float, line.split()) for line in output.splitlines()), strict=True)
    return list(zip(without, more, strict=True))


def main() -> None:
    """Print the medians of several interpreters."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=7)
    repetitions = parser.parse_args().repetitions
    print(describe())
    seconds()  # once, so that all find their files in the system's cache
    runs = [seconds() for _ in range(repetitions)]
    for clock, times in zip(("wall", "processor"), zip(*runs, strict=True), strict=True):
        without, more = (statistics.median(each) for each in zip(*times, strict=True))
        print(f"{clock}: torch and lightning {without:.2f} s, SINGCallback {more:+.2f} s")


if __name__ == "__main__":
    main()
