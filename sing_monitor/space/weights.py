"""Loading of open_clip models: weights from a local file, the hub's cache or a download.

Every error of the hub client becomes one sentence with a way out. Without network it comes at once,
and not after the hub client's retries.
"""

from __future__ import annotations

import difflib
import json
import logging
import os
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from sing_monitor.errors import Option, SetupError

logger = logging.getLogger(__name__)

_PREPROCESSING_KEYS = ("mean", "std", "interpolation", "resize_mode")
_WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".npz")


class WeightsError(SetupError, RuntimeError):
    """Error for weights that cannot be loaded or downloaded."""


@dataclass(frozen=True)
class PretrainedModel:
    """open_clip model with tokenizer and preprocessing.

    Attributes:
        model: the network, with its weights.
        tokenizer: list of texts -> token ids (K, L).
        preprocessing: `size`, `mean`, `std`, `interpolation` and `resize_mode` of its images.
        label: `<model>/<tag>`, or `<model>/<file name>` for a local file.
        is_local: whether the weights come from a file of the caller.
    """

    model: nn.Module
    tokenizer: Callable[[list[str]], Tensor]
    preprocessing: dict[str, Any]
    label: str
    is_local: bool


def load_pretrained(model_name: str, tag: str) -> PretrainedModel:
    """Build an open_clip model with pretrained weights.

    Args:
        model_name: a name in `open_clip.list_models()`.
        tag: one of the model's pretrained tags, or the path of a checkpoint file.

    Raises:
        ValueError: if open_clip has no such model, or the model has no such tag.
        WeightsError: if the weights cannot be loaded: there is no network, or the file is
            missing, broken or of another model.
    """
    import open_clip

    if model_name not in open_clip.list_models():
        near = difflib.get_close_matches(model_name, open_clip.list_models(), n=3)
        hint = f"close names: {', '.join(near)}" if near else "see open_clip.list_models()"
        raise SetupError(*_message(model_name, tag, f"open_clip has no such model ({hint})"))

    config = open_clip.get_pretrained_cfg(model_name, tag)
    path = Path(tag).expanduser()
    if config:
        # open_clip's spelling of the tag, so that one set of weights has one name.
        label = f"{model_name}/{tag.lower().replace('-', '_')}"
        checkpoint = _fetch(model_name, tag, config)
        preprocessing, quick_gelu = _preprocessing(config), bool(config.get("quick_gelu", False))
    elif path.is_file():
        label, checkpoint = f"{model_name}/{path.name}", str(path)
        preprocessing, quick_gelu = _describe_file(model_name, path)
    elif os.sep in tag or path.suffix in _WEIGHT_SUFFIXES:
        raise WeightsError(*_message(model_name, tag, f"there is no file {path}"))
    else:
        tags = open_clip.list_pretrained_tags_by_model(model_name)
        near = difflib.get_close_matches(tag, tags, n=3) or tags[:5]
        hint = f"it has {', '.join(near)}" if near else "it has none"
        raise SetupError(*_message(model_name, tag, f"the model has no such tag ({hint})"))

    try:
        with _root_logger_untouched():
            model = open_clip.create_model(
                model_name,
                pretrained=checkpoint,
                force_quick_gelu=quick_gelu,
                force_preprocess_cfg=preprocessing,
            )
            tokenizer = open_clip.get_tokenizer(model_name)
    except Exception as error:  # file formats, text towers and tokenizers raise their own kinds
        reason = f"{checkpoint} could not be loaded: {_one_line(error)}"
        raise WeightsError(*_message(model_name, tag, reason)) from error
    return PretrainedModel(model, tokenizer, dict(model.visual.preprocess_cfg), label, not config)


def _fetch(model_name: str, tag: str, config: dict[str, Any]) -> str:
    """Get the path of a tag's weights: in the hub's cache without any network, else downloaded."""
    from huggingface_hub import (
        get_hf_file_metadata,
        hf_hub_download,
        hf_hub_url,
        try_to_load_from_cache,
    )
    from huggingface_hub.errors import EntryNotFoundError

    repository, file_name = os.path.split(config["hf_hub"])
    candidates = _candidates(file_name)
    for candidate in candidates:
        cached = try_to_load_from_cache(repository, candidate)
        if isinstance(cached, str):
            return cached
    try:
        for candidate in candidates:
            try:
                # The hub client does not retry this request: without network it fails at once.
                metadata = get_hf_file_metadata(hf_hub_url(repository, candidate))
            except EntryNotFoundError:
                continue
            size = f"{metadata.size / 1e6:,.0f} MB" if metadata.size else "size unknown"
            # A warning, so that it is shown without any set-up of logging.
            logger.warning("Downloading %s for %s/%s: %s", candidate, model_name, tag, size)
            return str(hf_hub_download(repository, candidate))
    except Exception as error:  # of the hub client, its HTTP library, or the disk
        reason = f"the download from {repository} failed: {_one_line(error)}"
        raise WeightsError(*_message(model_name, tag, reason)) from error
    reason = f"{repository} holds none of {', '.join(candidates)}"
    raise WeightsError(*_message(model_name, tag, reason))


def _candidates(file_name: str) -> list[str]:
    """List file names to try in a hub repository, in open_clip's order: safetensors first."""
    from open_clip.constants import HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME

    if not file_name:
        return [HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME]
    stem, suffix = os.path.splitext(file_name)
    return [f"{stem}.safetensors", file_name] if suffix in (".bin", ".pth") else [file_name]


def _describe_file(model_name: str, path: Path) -> tuple[dict[str, Any], bool]:
    """Find the preprocessing of a local checkpoint, and whether it uses QuickGELU.

    The first source with an answer counts: the config that hub repositories keep beside the
    weights; the preprocessing that all tags of the model share (SigLIP models have their own);
    open_clip's defaults.
    """
    import open_clip

    beside = path.parent / "open_clip_config.json"
    if beside.is_file():
        try:
            config = json.loads(beside.read_text(encoding="utf-8"))
            quick_gelu = bool(config["model_cfg"].get("quick_gelu", False))
            return _preprocessing(config["preprocess_cfg"]), quick_gelu
        except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
            reason = f"{beside} could not be read: {_one_line(error)}"
            raise WeightsError(*_message(model_name, str(path), reason)) from error
    tags = open_clip.list_pretrained_tags_by_model(model_name)
    known = [_preprocessing(open_clip.get_pretrained_cfg(model_name, tag)) for tag in tags]
    if known and all(each == known[0] for each in known):
        return known[0], False
    if known:
        logger.warning(
            "The pretrained tags of %s differ in their preprocessing, so %s gets open_clip's "
            "default. If that is wrong, put the model's open_clip_config.json beside the file.",
            model_name,
            path,
        )
    return {}, False


def _preprocessing(config: dict[str, Any]) -> dict[str, Any]:
    return {key: config[key] for key in _PREPROCESSING_KEYS if key in config}


def _message(model_name: str, tag: str, reason: str) -> tuple[str | Option, ...]:
    file = "/path/to/open_clip_model.safetensors"
    return (
        f"No weights for {model_name!r} with {tag!r}: {reason}. Three ways out: (1) a local file, "
        f'OpenClipSpace.pretrained("{model_name}", "{file}") or ',
        Option("space", f'"{model_name}/{file}"'),
        "; (2) another space, any object with name, dim, encode_images and encode_texts; (3) no "
        "space and no download, for the head's geometry, the null shares and the collapse alone: ",
        Option("space", "None"),
        ".",
    )


def _one_line(error: BaseException) -> str:
    text = textwrap.shorten(str(error).rstrip(". \n"), 300, placeholder=" ...")
    return text or type(error).__name__


@contextmanager
def _root_logger_untouched() -> Iterator[None]:
    """Context manager that removes the root log handler which open_clip's `logging.info` adds.

    It would repeat the lines of other handlers.
    """
    root = logging.getLogger()
    handlers = list(root.handlers)
    try:
        yield
    finally:
        for handler in [each for each in root.handlers if each not in handlers]:
            root.removeHandler(handler)
