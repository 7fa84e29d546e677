"""Objects that a command line names: functions of the user, models, semantic spaces."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

    from sing_monitor.offline.checkpoints import Checkpoint
    from sing_monitor.space.semantic_space import SemanticSpace

_CALLABLE = re.compile(r"(?P<module>[A-Za-z_][\w.]*|.+\.py):(?P<name>[A-Za-z_]\w*)")
SPACE_HELP = (
    '"<open_clip model>/<tag or file>", or "module:function" (or "file.py:function") that returns '
    "a space"
)


def add_space(parser: argparse._ActionsContainer, help: str) -> None:
    """Add the option ``--space``, which is None by default."""
    parser.add_argument("--space", metavar="SPACE", help=f"{help}: {SPACE_HELP}")


def add_model(parser: argparse._ActionsContainer) -> None:
    """Add the options ``--model`` and ``--timm``, which exclude each other."""
    builder = parser.add_mutually_exclusive_group()
    builder.add_argument("--model", metavar="NAME", help="module:name or file.py:name, see above")
    builder.add_argument("--timm", metavar="ARCHITECTURE", help="timm's name of the model")


def is_callable_name(text: str) -> bool:
    """Whether a text has the form ``module:name`` or ``file.py:name``."""
    return _CALLABLE.fullmatch(text) is not None


def load_callable(text: str) -> Callable[..., Any]:
    """Import the function or class named by ``module:name`` or ``path/to/file.py:name``.

    Modules are also found in the current folder.

    Raises:
        ValueError: if the text has another form, there is no such module, file or name, the import
            fails, or the object cannot be called.
    """
    named = _CALLABLE.fullmatch(text)
    if named is None:
        raise ValueError(f'{text!r} is not of the form "module:name" or "path/to/file.py:name".')
    try:
        module = _import(named["module"])
    # The user's code may raise anything on import.
    except Exception as error:
        raise ValueError(
            f"{text!r}: {named['module']} cannot be imported: {type(error).__name__}: {error}"
        ) from error
    found = getattr(module, named["name"], None)
    if not callable(found):
        public = [
            name for name, value in vars(module).items() if callable(value) and name[0] != "_"
        ]
        raise ValueError(
            f"{text!r}: {named['module']} has no function {named['name']!r}; it has "
            f"{', '.join(sorted(public)) or 'none'}."
        )
    return found


def load_space(text: str) -> SemanticSpace:
    """Load the space that ``--space`` names.

    Raises:
        ValueError, TypeError, RuntimeError: as :func:`load_callable` and
            :func:`sing_monitor.space.semantic_space.resolve_space`.
    """
    from sing_monitor.space.semantic_space import resolve_space

    return resolve_space(load_callable(text)() if is_callable_name(text) else text)


def model_builder(name: str | None, architecture: str | None) -> Callable[[Checkpoint], nn.Module]:
    """Choose the function that builds the model of a checkpoint, by ``--model`` or ``--timm``.

    Args:
        name: ``module:function`` or ``module:Class`` of a LightningModule.
        architecture: timm's name of the model. If both are None, the checkpoint's own name counts.

    Returns:
        Function from checkpoint to model, which raises ValueError if no model can be built.

    Raises:
        ValueError: as :func:`load_callable`.
    """
    from sing_monitor.offline.checkpoints import load_weights, timm_model

    if name is None:
        return lambda checkpoint: timm_model(checkpoint, architecture)
    factory = load_callable(name)
    from_checkpoint = getattr(factory, "load_from_checkpoint", None)

    def build(checkpoint: Checkpoint) -> nn.Module:
        try:
            if from_checkpoint is not None:
                model = from_checkpoint(checkpoint.path, map_location="cpu", weights_only=True)
            else:
                model = factory()
                load_weights(model, checkpoint)
        # The user's code may raise anything.
        except Exception as error:
            raise ValueError(
                f"{name} builds no model for the checkpoint: {type(error).__name__}: {error}"
            ) from error
        return model

    return build


def _import(module: str) -> Any:
    path = Path(module).expanduser()
    # The search path of an installed command lacks the current folder.
    folder = str(path.resolve().parent if path.suffix == ".py" else Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    return importlib.import_module(path.stem if path.suffix == ".py" else module)
