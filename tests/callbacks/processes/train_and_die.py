"""Train on one process that is killed when its third epoch begins.

Run by the tests: ``python -m tests.callbacks.processes.train_and_die <folder>``. What Lightning's
logger was given is still in its queue by then.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from lightning.pytorch.callbacks import ModelCheckpoint

from tests.helpers import tiny
from tests.helpers.disturbed import At, fit


def main() -> None:
    """Never returns."""
    folder = Path(sys.argv[1])
    os.environ["MLFLOW_ASYNC_LOGGING_BUFFERING_SECONDS"] = "3600"
    logger = tiny.mlflow_logger(folder, synchronous=False)
    (folder / "run_id").write_text(str(logger.run_id))
    fit(
        folder,
        tiny.callback(),
        ModelCheckpoint(folder, "last", save_on_train_epoch_end=True),
        At(epoch_2=lambda: os.kill(os.getpid(), signal.SIGKILL)),
        logger=logger,
        enable_checkpointing=True,
    )


if __name__ == "__main__":
    main()
