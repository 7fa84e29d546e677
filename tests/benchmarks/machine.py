"""What every benchmark says of the machine, and how it repeats."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch


def describe() -> str:
    """Processor, cores, threads and load: without them no figure means anything."""
    info = Path("/proc/cpuinfo")
    names = [
        line.partition(":")[2].strip()
        for line in (info.read_text().splitlines() if info.exists() else [])
        if line.startswith("model name")
    ]
    return (
        f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores, "
        f"{torch.get_num_threads()} torch threads, torch {torch.__version__}, "
        f"load average {os.getloadavg()[0]:.1f}"
    )


def alternating(
    contestants: Mapping[str, Callable[[], object]], repetitions: int
) -> dict[str, tuple[float, float]]:
    """Median (wall seconds, processor seconds) of each, taken in turns.

    Taking turns lets a busy machine slow all of them alike; processor seconds hardly depend on it.
    """
    wall: dict[str, list[float]] = {name: [] for name in contestants}
    processor: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(repetitions):
        for name, run in contestants.items():
            # Threads of one contestant's libraries spin for a while, waiting for more work.
            time.sleep(0.5)
            started = time.perf_counter(), time.process_time()
            run()
            wall[name].append(time.perf_counter() - started[0])
            processor[name].append(time.process_time() - started[1])
    return {
        name: (statistics.median(wall[name]), statistics.median(processor[name]))
        for name in contestants
    }
