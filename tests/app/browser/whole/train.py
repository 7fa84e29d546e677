"""A job that is killed when its third epoch begins, and goes on when it is started again.

Run by the tests: ``python -m tests.app.browser.whole.train <folder>``, with the tracking server in
MLFLOW_TRACKING_URI. What Lightning's logger was given is still in its queue when the job is killed.
With several folders the job of each is a process of its own, forked from this one, which has
imported everything; how it ended is written into ``exit_code``.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import lightning as L
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import MLFlowLogger

from tests.callbacks.processes.kill_at_random import in_process
from tests.helpers import tiny
from tests.helpers.disturbed import At


def main() -> None:
    """One job in this process, or several in copies of it."""
    first, *more = (Path(folder) for folder in sys.argv[1:])
    if not more:
        train(first)
        return
    jobs = {folder: in_process(lambda folder=folder: train(folder)) for folder in (first, *more)}
    for folder, process in jobs.items():
        code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        (folder / "exit_code").write_text(str(code))


def train(folder: Path) -> None:
    """The first start never returns."""
    L.seed_everything(7, verbose=False)
    note = folder / "run_id"
    is_resumed = note.exists()
    if not is_resumed:
        os.environ["MLFLOW_ASYNC_LOGGING_BUFFERING_SECONDS"] = "3600"
    logger = MLFlowLogger(
        # Of two jobs that begin one experiment at the same time, Lightning lets one fail.
        experiment_name=folder.name,
        run_name=folder.name,
        run_id=note.read_text() if is_resumed else None,
        synchronous=False,
    )
    note.write_text(str(logger.run_id))
    callbacks = [tiny.callback(), ModelCheckpoint(folder, "last", save_on_train_epoch_end=True)]
    if not is_resumed:
        callbacks.append(At(epoch_2=lambda: os.kill(os.getpid(), signal.SIGKILL)))
    tiny.trainer(folder, *callbacks, logger=logger, max_epochs=3, enable_checkpointing=True).fit(
        tiny.Classifier(),
        tiny.loader(tiny.Blobs(seed=1), shuffle=True),
        tiny.loader(tiny.Blobs()),
        ckpt_path=folder / "last.ckpt" if is_resumed else None,
    )


if __name__ == "__main__":
    main()
