"""Checkpoint files of Lightning, timm and plain PyTorch: search, reading and loading."""

from __future__ import annotations

import argparse
import difflib
import pickle
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from sing_monitor.head.torch_internals import COMPILED_NAME

SUFFIXES = (".ckpt", ".pt", ".pth", ".pth.tar", ".bin", ".safetensors")
_STATES = ("state_dict", "model_state_dict", "model")
# Averages of the weights over the training, as timm and torchvision's scripts keep them.
_AVERAGED = ("state_dict_ema", "model_ema")
_FORBIDDEN = re.compile(r"GLOBAL (\S+)")
# "epoch=3-step=120.ckpt" (Lightning), "checkpoint-3.pth.tar" (timm), "epoch_3.pt"
_EPOCH = re.compile(r"(?:epoch|checkpoint)[=_-]?(\d+)")
_STEP = re.compile(r"step[=_-]?(\d+)")


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Weights of one file, with the epoch, step and architecture that it names.

    Args:
        path: the file.
        state: parameters and buffers by name, on the CPU.
        epoch: of the training; None if neither the file nor its name holds it.
        step: the global step, or None.
        architecture: timm's name of the model, or None.
        is_averaged: whether these are the averaged weights (EMA) of a file with both.
    """

    path: Path
    state: Mapping[str, Tensor]
    epoch: int | None = None
    step: int | None = None
    architecture: str | None = None
    is_averaged: bool = False


def find_checkpoints(folder: Path) -> list[Path]:
    """List the checkpoint files in a folder and below it, by name.

    Args:
        folder: the folder, or one file.

    Raises:
        ValueError: if there is no checkpoint.
    """
    found = [folder] if folder.is_file() else sorted(folder.rglob("*"))
    files = [
        path
        for path in found
        if path.is_file() and path.name.endswith(SUFFIXES) and not path.name.startswith(".")
    ]
    if not files:
        raise ValueError(
            f"{folder} holds no checkpoint; its files would end in {', '.join(SUFFIXES)}."
        )
    return files


def read_checkpoint(path: Path, *, use_ema: bool = True) -> Checkpoint:
    """Read a checkpoint without running any code in it (``weights_only=True``).

    Args:
        path: the file.
        use_ema: read averaged weights if the file holds them beside those of the training, as
            ``timm.models.load_checkpoint`` does.

    Raises:
        ValueError: if the file is broken, holds no weights, or holds objects that are neither
            weights nor plain values.
    """
    content = _load(path)
    if not isinstance(content, Mapping):
        raise ValueError(
            f"{path} holds a {type(content).__name__}; expected weights by name. Save "
            "model.state_dict()."
        )
    averaged = [key for key in _AVERAGED if use_ema and content.get(key) is not None]
    state: Any = next((content[key] for key in (*averaged, *_STATES) if key in content), content)
    weights = _tensors(state)
    if not weights:
        raise ValueError(
            f"{path} holds no weights; expected a state dict, or one under {', '.join(_STATES)}. "
            f"It holds {', '.join(map(str, list(content)[:8])) or 'nothing'}."
        )
    return Checkpoint(
        path,
        _without_wrappers(weights),
        _number(content.get("epoch"), _EPOCH, path),
        _number(content.get("global_step"), _STEP, path),
        content["arch"] if isinstance(content.get("arch"), str) else None,
        is_averaged=bool(averaged),
    )


def load_weights(model: nn.Module, checkpoint: Checkpoint) -> None:
    """Load every parameter and buffer of a model from a checkpoint.

    The model may be a part of the saved one, such as ``network`` in a LightningModule: its names
    are then looked up below that part. Other weights of the checkpoint are ignored.

    Args:
        model: its weights are replaced.
        checkpoint: holds the new weights.

    Raises:
        ValueError: if the checkpoint lacks weights of the model or has them in other shapes, or
            if several of its parts would fit.
    """
    wanted, given = model.state_dict(), checkpoint.state
    first = next(iter(wanted), "")
    prefixes = [name.removesuffix(first) for name in given if f".{name}".endswith(f".{first}")]
    fitting = [prefix for prefix in prefixes if all(prefix + name in given for name in wanted)]
    if len(fitting) > 1 and "" not in fitting:
        parts = ", ".join(prefix.rstrip(".") for prefix in fitting)
        raise ValueError(
            f"the checkpoint holds several parts that fit {type(model).__name__}: {parts}. "
            "Build the whole saved model, so that each part gets its own weights."
        )
    if not fitting:
        missing = [name for name in wanted if name not in given]
        raise ValueError(
            f"the checkpoint does not fit {type(model).__name__}: it lacks {_some(missing)}, and "
            f"holds {_some(list(given))}."
        )
    prefix = "" if "" in fitting else fitting[0]
    try:
        model.load_state_dict({name: given[prefix + name] for name in wanted})
    # Kinds of tensors that cannot be copied have errors of their own.
    except Exception as error:
        shapes = " ".join(str(error).split("\n\t", 1)[-1].split())
        raise ValueError(f"the checkpoint does not fit {type(model).__name__}: {shapes}") from None


def timm_model(checkpoint: Checkpoint, architecture: str | None = None) -> nn.Module:
    """Build the timm model of a checkpoint, with the number of classes of its head, and load it.

    Args:
        checkpoint: holds the weights.
        architecture: timm's name of the model; None: the name in the checkpoint.

    Raises:
        ValueError: if the architecture is unknown, or the weights do not fit it. Of the names in
            checkpoints only those that timm registers are known: the others name a hub or a folder,
            and who wrote a file does not choose what this machine asks for.
    """
    import timm

    name = architecture or checkpoint.architecture
    if name is None:
        raise ValueError(
            "the checkpoint does not say which model it belongs to. Name timm's architecture "
            "(--timm), or a function that builds the model (--model)."
        )
    if architecture is None and not timm.is_model(name):
        raise ValueError(
            f"the checkpoint names the architecture {name[:80]!r}, which timm does not register "
            f"({_near(name)}). Name the one that it is (--timm), or a function that builds the "
            "model (--model)."
        )
    try:
        head = getattr(timm.models.get_pretrained_cfg(name), "classifier", None)
        outputs = [
            len(value)
            for key, value in checkpoint.state.items()
            if isinstance(head, str) and f".{key}".endswith(f".{head}.weight")
        ]
        classes: dict[str, Any] = {"num_classes": outputs[0]} if outputs else {}
        model: nn.Module = timm.create_model(name, **classes)
    # Models raise whatever they stumble over, and hubs have errors of their own.
    except Exception as error:
        raise ValueError(f"timm cannot build {name!r} ({_near(name)}): {error}") from None
    load_weights(model, checkpoint)
    return model


def _near(name: str) -> str:
    """Names that timm registers and that are written like this one."""
    import timm

    near = difflib.get_close_matches(name[:80], timm.list_models(), n=3)
    return f"close names: {', '.join(near)}" if near else "see timm.list_models()"


def _tensors(state: Any) -> dict[str, Tensor]:
    """The tensors of a state dict by name; none of anything else."""
    if not isinstance(state, Mapping):
        return {}
    return {
        name: value
        for name, value in state.items()
        if isinstance(name, str) and isinstance(value, Tensor)
    }


def _load(path: Path) -> Any:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        # timm keeps the arguments of its training script, which are plain values.
        with torch.serialization.safe_globals([argparse.Namespace]):
            # Memory-mapped if the format allows it, so that only the tensors in use are read.
            mapped = zipfile.is_zipfile(path)
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        forbidden = _FORBIDDEN.search(str(error))
        if forbidden is None:
            raise ValueError(f"{path} is no readable checkpoint.") from None
        raise ValueError(
            f"{path} holds a {forbidden[1]}, and loading it could run code in the file. If you "
            "trust the file, save its weights alone: torch.save({'state_dict': "
            "torch.load(path, weights_only=False)['state_dict']}, path)."
        ) from None
    # What reads a damaged file raises whatever it stumbles over.
    except Exception as error:
        raise ValueError(f"{path} cannot be read: {' '.join(str(error).split())}.") from None


def _without_wrappers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights by names without the parts that stand for compiled and distributed wrappers."""
    from timm.models import clean_state_dict

    # timm removes such parts from the beginning of a name; torch.compile may wrap an inner module.
    inner = f"{COMPILED_NAME}."
    cleaned: dict[str, Tensor] = clean_state_dict(dict(state))
    return {name.replace(inner, ""): value for name, value in cleaned.items()}


def _number(stored: Any, pattern: re.Pattern[str], path: Path) -> int | None:
    if isinstance(stored, int):
        return stored
    named = pattern.search(path.name)
    return int(named[1]) if named else None


def _some(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
