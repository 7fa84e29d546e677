"""Train in a loop of one's own that is killed in its third validation, while the server is away.

Run by the tests: ``python -m tests.monitor.plain.train_and_die <folder> <address>``. It waits for
the file ``away`` after the first epoch.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import torch

from tests.helpers import tiny
from tests.helpers.loops import images, quick, validate


def main() -> None:
    """Never returns."""
    folder, uri = Path(sys.argv[1]), sys.argv[2]
    os.chdir(folder)
    model = tiny.Classifier().network.eval()
    watching = quick(model, tracking_uri=uri, experiment="killed")
    for epoch in range(3):
        with watching.epoch(epoch, step=10 * epoch) as watch, torch.no_grad():
            watch.log({"val_loss": validate(model, images(), watch)})
            if epoch == 2:
                os.kill(os.getpid(), signal.SIGKILL)
        (folder / "run_id").write_text(str(watching.run_id))
        while not (folder / "away").exists():
            time.sleep(0.05)


if __name__ == "__main__":
    main()
