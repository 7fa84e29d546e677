"""What a command line names: a function of the user's own, a semantic space."""

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
    """The option ``--space``; None where it is not given."""
    parser.add_argument("--space", metavar="SPACE", help=f"{help}: {SPACE_HELP}")


def add_model(parser: argparse._ActionsContainer) -> None:
    """The options ``--model`` and ``--timm``, of which at most one may be given."""
    builder = parser.add_mutually_exclusive_group()
    builder.add_argument("--model", metavar="NAME", help="module:name or file.py:name, see above")
    builder.add_argument("--timm", metavar="ARCHITECTURE", help="timm's name of the model")


def is_callable_name(text: str) -> bool:
    """Whether a text has the form ``module:name`` or ``file.py:name``."""
    return _CALLABLE.fullmatch(text) is not None


def load_callable(text: str) -> Callable[..., Any]:
    """Import what ``module:name`` or ``path/to/file.py:name`` names, as Python would here.

    Raises:
        ValueError: the text has another form, or there is no such module, file or name, or the
            import fails, or what is found cannot be called.
    """
    named = _CALLABLE.fullmatch(text)
    if named is None:
        raise ValueError(f'{text!r} is not of the form "module:name" or "path/to/file.py:name".')
    try:
        module = _import(named["module"])
    # Whatever the user's own code raises on import.
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
    """The space that ``--space`` names.

    Raises:
        ValueError, TypeError, RuntimeError: as :func:`load_callable` and
            :func:`sing_monitor.space.semantic_space.resolve_space` do.
    """
    from sing_monitor.space.semantic_space import resolve_space

    return resolve_space(load_callable(text)() if is_callable_name(text) else text)


def model_builder(name: str | None, architecture: str | None) -> Callable[[Checkpoint], nn.Module]:
    """How the model of a checkpoint is built, by what ``--model`` or ``--timm`` names.

    Args:
        name: ``module:function`` or ``module:Class`` of a LightningModule.
        architecture: timm's; None for both: the one that the checkpoint names.

    Returns:
        A function of the checkpoint, which raises ValueError where nothing can be built of it.

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
        # Whatever the user's own code raises.
        except Exception as error:
            raise ValueError(
                f"{name} builds no model for it: {type(error).__name__}: {error}"
            ) from error
        return model

    return build


def _import(module: str) -> Any:
    path = Path(module).expanduser()
    # A command's own search path starts where the command lies, not where it was called.
    folder = str(path.resolve().parent if path.suffix == ".py" else Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    return importlib.import_module(path.stem if path.suffix == ".py" else module)
