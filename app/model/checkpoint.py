"""The model of the command line, loaded once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

import streamlit as st
from PIL import Image
from torch import nn

from sing_monitor.commands.app_options import ModelSource
from sing_monitor.commands.images import Images
from sing_monitor.commands.loading import load_callable, load_space, model_builder
from sing_monitor.inputs.datasets import pretrained_configs, read_attribute, wrapped_datasets
from sing_monitor.offline.checkpoints import read_checkpoint
from sing_monitor.space.semantic_space import SemanticSpace


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model with what it needs to look at pictures.

    Args:
        model: in eval mode, on the CPU.
        loader: of the images that its runs were validated on, or None.
        transform: turns a picture into what the model takes; None where nobody tells.
        is_timm: whether the transform is that of timm's config, which a training need not follow.
        space: the semantic space, or None.
        lock: held while the model runs: its hooks are shared by all who look at the app.
    """

    model: nn.Module
    loader: Any
    transform: Callable[[Image.Image], Any] | None
    is_timm: bool
    space: SemanticSpace | None
    lock: Lock = field(default_factory=Lock)


@st.cache_resource(max_entries=2, show_spinner="Loading the model …")
def load(source: ModelSource) -> LoadedModel:
    """The model of a command line.

    Raises:
        ValueError: if a checkpoint, a function or a data set cannot be used; a sentence says why.
    """
    with as_value_errors():
        checkpoint = read_checkpoint(source.checkpoint)
        model = model_builder(source.model, source.timm)(checkpoint).eval()
        images = None if source.data is None else Images(source.data, batch_size=1, workers=0)
        loader = None if images is None else images.loader(model)
        space = None if source.space is None else load_space(source.space)
        if source.transform is not None:
            return LoadedModel(model, loader, load_callable(source.transform), False, space)
        # A folder of images has timm's transform, too.
        is_folder = source.data is not None and Path(source.data).expanduser().is_dir()
        own = None if is_folder else _transform(getattr(loader, "dataset", None))
        return LoadedModel(model, loader, own or _timm_transform(model), own is None, space)


@contextmanager
def as_value_errors() -> Iterator[None]:
    """One kind of error for what cannot be used, whoever says so: ValueError."""
    try:
        yield
    except (ValueError, OSError) as error:
        raise error if isinstance(error, ValueError) else ValueError(str(error)) from error
    # Whatever the user's own code raises.
    except Exception as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def head_name(model: nn.Module, config: Mapping[str, Any]) -> str | None:
    """The run's head in a model that may be the whole of what was trained or a part of it.

    Returns:
        A dotted name; None: the run does not tell, or the model has no such module.
    """
    modules, name = dict(model.named_modules()), str(config.get("head", ""))
    while name and name not in modules:
        name = name.partition(".")[2]
    return name or None


def _transform(dataset: object) -> Callable[[Image.Image], Any] | None:
    """Of a data set, wrapped or not."""
    if dataset is None:
        return None
    own = read_attribute(dataset, "transform")
    if callable(own):
        return own
    return next(filter(None, map(_transform, wrapped_datasets(dataset))), None)


def _timm_transform(model: nn.Module) -> Callable[[Image.Image], Any] | None:
    from timm.data import create_transform, resolve_data_config

    config = next(pretrained_configs(model), None)
    if config is None:
        return None
    wanted = resolve_data_config(pretrained_cfg=config)
    found: Callable[[Image.Image], Any] = create_transform(**wanted, is_training=False)
    return found
