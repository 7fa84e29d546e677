"""Three monitors in one program, two of which nobody closes.

Run by the tests: ``python -m tests.monitor.plain.leave_unclosed <folder>``. It ends twice, as two
copies of one process: in ``<folder>/return`` as it should, in ``<folder>/raise`` by an exception
that nobody catches.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from pathlib import Path

import torch

from sing_monitor.tracking import create_run, list_runs
from tests.helpers import tiny
from tests.helpers.loops import images, quick


def main() -> None:
    """Train in two copies of this process, one after the other."""
    # What a first training imports, both find; a copy has no threads of torch but its own.
    torch.set_num_threads(1)
    quick(tiny.Classifier().network, analyses=["head"]).measure(images(), epoch=0)
    create_run(sys.argv[1] + "/first", run_name="first")
    gc.freeze()
    for end in ("return", "raise"):
        if os.fork() == 0:
            train(Path(sys.argv[1], end))
            if end == "raise":
                raise ZeroDivisionError
            return
        os.wait()


def train(folder: Path) -> None:
    """Write which run is which, and what they are while the program goes on."""
    os.chdir(folder.parent)
    place, model = folder.name, tiny.Classifier().network
    joined = create_run(place, run_name="joined").run_id
    monitors = {
        "own": quick(model, tracking_uri=place, analyses=["head"]),
        "joined": quick(model, tracking_uri=place, analyses=["head"], run_id=joined),
        "closed": quick(model, tracking_uri=place, analyses=["head"]),
    }
    for watching in monitors.values():
        watching.measure(images(), epoch=0)
    monitors["closed"].close("KILLED")
    runs = {name: watching.run_id for name, watching in monitors.items()}
    folder.with_suffix(".runs").write_text(json.dumps(runs))
    if os.fork() == 0:
        sys.exit()  # a copy ends no run
    os.wait()
    folder.with_suffix(".before").write_text(json.dumps(status_of(folder)))
    os.chdir("/")  # the runs lie at a relative path


def status_of(folder: Path) -> dict[str, str]:
    """Status of each run by its id."""
    return {run["run_id"]: run["status"] for run in list_runs(str(folder)).to_dict("records")}


if __name__ == "__main__":
    main()
