"""What the app is told on its command line, by ``sing-monitor app`` and by ``streamlit run``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sing_monitor.commands.loading import add_model, add_space


@dataclass(frozen=True)
class ModelSource:
    """Where the model of the runs lies, and what it takes; each as the command line names it.

    Args:
        checkpoint: a file.
        model: ``module:name`` that builds the model, or None.
        timm: timm's name of the architecture, or None.
        data: the images of the probe: a folder, or ``module:function``, or None.
        transform: ``module:name`` of what turns a picture into the model's input, or None.
        space: the semantic space, or None.
    """

    checkpoint: Path
    model: str | None = None
    timm: str | None = None
    data: str | None = None
    transform: str | None = None
    space: str | None = None


def add_model_source(parser: argparse.ArgumentParser) -> None:
    """The options that name a model; none of them is needed."""
    group = parser.add_argument_group("the model, for uploads and for maps of images")
    add = group.add_argument
    add("--checkpoint", type=Path, metavar="FILE", help="of the run's last validation")
    add_model(group)
    add(
        "--data",
        metavar="DATA",
        help="the images that the run was validated on: a folder with a folder of images for each "
        "class (timm models), or module:function that returns a DataLoader or a Dataset",
    )
    add(
        "--transform",
        metavar="NAME",
        help="module:name or file.py:name of what turns a picture (PIL, RGB) into what the model "
        "takes (default: the transform of DATA, else that of a timm model)",
    )
    add_space(group, "to compare the translated image with its own embedding")


def model_source(arguments: argparse.Namespace) -> ModelSource | None:
    """The model that the options name, or None.

    Raises:
        ValueError: if there is no such checkpoint, or the other options stand without one.
    """
    names = ("model", "timm", "data", "transform", "space")
    given = {name: getattr(arguments, name) for name in names}
    if arguments.checkpoint is None:
        alone = [f"--{name}" for name, value in given.items() if value is not None]
        if alone:
            raise ValueError(
                f"{alone[0]} says nothing without the weights: give --checkpoint FILE."
            )
        return None
    path = arguments.checkpoint.expanduser()
    if not path.is_file():
        raise ValueError(f"--checkpoint {path}: there is no such file.")
    return ModelSource(path, **given)


def parse_model_source(arguments: Sequence[str]) -> ModelSource | None:
    """The model of a command line that holds other options, too. Raises as `model_source`."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    add_model_source(parser)
    try:
        known, _ = parser.parse_known_args(arguments)
    except argparse.ArgumentError as error:
        raise ValueError(f"{error}.") from None
    return model_source(known)


def as_arguments(source: ModelSource | None) -> list[str]:
    """The options again, for another command line."""
    found = {} if source is None else vars(source)
    return [
        part
        for name, value in found.items()
        if value is not None
        for part in (f"--{name}", str(value))
    ]
