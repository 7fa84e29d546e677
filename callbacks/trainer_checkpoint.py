"""State of the monitor beside the checkpoints of a Hugging Face Trainer."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import Trainer
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, get_last_checkpoint

from sing_monitor.messages import warn
from sing_monitor.monitor.state import MonitorState


def save_state(trainer: Trainer, state: MonitorState, name: str | None) -> None:
    """Write the state into the checkpoint that was just saved; never raises.

    It holds weights, so it has a file of its own: ``trainer_state.json`` is text.

    Args:
        trainer: has saved a checkpoint.
        state: of the monitor.
        name: of the monitor.
    """
    folder = _checkpoint(trainer)
    # A search for hyperparameters has folders of its own, and resumes nothing.
    if not (trainer.args.should_save and folder.is_dir()):
        return
    try:
        torch.save(vars(state), folder / file_name(name))
    except (OSError, RuntimeError) as error:
        warn(
            f"{folder / file_name(name)} could not be written: {error} A training that resumes "
            "from this checkpoint begins the monitor's ridge, drift and alerts anew."
        )


def load_state(trainer: Trainer, resumed_from: str | bool | None, name: str | None) -> MonitorState:
    """The state to go on from: that of the checkpoint, or a new one at the first step.

    Args:
        trainer: about to train.
        resumed_from: as ``Trainer.train`` got it.
        name: of the monitor.
    """
    if trainer.state.global_step == 0:
        return MonitorState()
    if isinstance(resumed_from, str):
        folder = Path(resumed_from)
    else:
        last = get_last_checkpoint(trainer.args.output_dir or ".") if resumed_from else None
        folder = _checkpoint(trainer) if last is None else Path(last)
    path = folder / file_name(name)
    state = MonitorState()
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
        for field in vars(state):
            setattr(state, field, found.get(field))
    # torch reports a damaged file in many ways.
    except Exception as error:
        reason = "there is none" if isinstance(error, FileNotFoundError) else str(error)
        warn(
            f"the training goes on from step {trainer.state.global_step}, and the monitor's state "
            f"cannot be read from {path}: {reason}. The monitor begins its ridge, drift and "
            "alerts anew."
        )
    return state


def file_name(name: str | None) -> str:
    """Name of the file, one for each monitor of a training.

    Example::

        >>> file_name(None), file_name("aux")
        ('sing_monitor.pt', 'sing_monitor.aux.pt')
    """
    return "sing_monitor.pt" if name is None else f"sing_monitor.{name}.pt"


def _checkpoint(trainer: Trainer) -> Path:
    step = trainer.state.global_step
    return Path(trainer.args.output_dir or ".") / f"{PREFIX_CHECKPOINT_DIR}-{step}"
