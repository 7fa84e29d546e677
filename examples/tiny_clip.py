"""A vision-language model of half a million parameters that knows coloured digits.

It is an ordinary open_clip model, only small: a narrow timm ResNet sees the image, a two-layer
transformer reads the caption word by word, and both end in a 64-dimensional space. The weights in
`assets/tiny_clip.safetensors` were made by `train_tiny_clip.py`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import timm
import torch
from open_clip.model import CustomTextCLIP
from safetensors.torch import load_file
from torch import Tensor, nn

if TYPE_CHECKING:
    from sing_monitor.space.semantic_space import OpenClipSpace

ASSET = Path(__file__).parent / "assets" / "tiny_clip.safetensors"
IMAGE_SIZE = 32
MEAN = (0.5, 0.5, 0.5)
STD = (0.5, 0.5, 0.5)
EMBED_DIM = 64
CONTEXT_LENGTH = 16

# The order is part of the stored weights: append new words, never reorder.
WORDS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    *("red", "green", "blue", "yellow", "purple", "cyan"),
    *("black", "white", "gray"),
    *("a", "an", "the", "of", "on", "in", "with", "and"),
    *("image", "photo", "picture", "drawing", "digit", "number", "background", "ink"),
)


class WordTokenizer:
    """Splits a text into lower-case words and numbers them.

    0 pads, 1 stands for any word outside `WORDS`, and the end of the text has the largest number,
    because open_clip's text tower reads its answer where the number is largest.

    Example:
        >>> WordTokenizer()(["an image of a zebra"])[0, :7].tolist()
        [22, 29, 24, 21, 1, 37, 0]
    """

    pad_id = 0
    unknown_id = 1
    end_id = len(WORDS) + 2

    def __init__(self, context_length: int = CONTEXT_LENGTH) -> None:
        self.context_length = context_length
        self._ids = {word: i for i, word in enumerate(WORDS, start=2)}

    @property
    def vocab_size(self) -> int:
        """Number of distinct tokens."""
        return self.end_id + 1

    def __call__(self, texts: str | list[str], context_length: int | None = None) -> Tensor:
        """Token numbers, int64, (B, context_length); a text that is too long loses its end."""
        texts = [texts] if isinstance(texts, str) else texts
        length = context_length or self.context_length
        tokens = torch.full((len(texts), length), self.pad_id, dtype=torch.long)
        for row, text in zip(tokens, texts, strict=True):
            words = re.findall(r"\w+", text.lower())[: length - 1]
            ids = [self._ids.get(word, self.unknown_id) for word in words] + [self.end_id]
            row[: len(ids)] = torch.tensor(ids)
        return tokens


@timm.models.register_model
def tiny_clip_resnet(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """The image tower: timm's resnet10t, a quarter as wide, with a 4x4 map of 32x32 pixels.

    open_clip builds timm towers by name alone, so the narrow variant needs a name of its own.
    """
    return timm.create_model(
        "resnet10t",
        pretrained=pretrained,
        channels=(16, 32, 64, 128),
        stem_width=8,
        output_stride=8,
        zero_init_last=False,
        **kwargs,
    )


def build_tiny_clip() -> CustomTextCLIP:
    """An untrained model; about half a million parameters."""
    vision = {
        "timm_model_name": "tiny_clip_resnet",
        "timm_pool": "avg",
        "timm_proj": "linear",
        "image_size": IMAGE_SIZE,
    }
    text = {
        "context_length": CONTEXT_LENGTH,
        "vocab_size": WordTokenizer().vocab_size,
        "width": 64,
        "heads": 4,
        "layers": 2,
    }
    model = CustomTextCLIP(EMBED_DIM, vision_cfg=vision, text_cfg=text)
    # open_clip starts with nearly equal word vectors: all captions then look alike, and the image
    # tower finds colours but sees no reason to tell digits apart.
    nn.init.normal_(model.text.token_embedding.weight, std=0.5)
    return model


def load_tiny_clip_model(path: str | Path = ASSET) -> CustomTextCLIP:
    """The trained model in float32 and evaluation mode.

    Args:
        path: safetensors file written by `train_tiny_clip.py`.

    Raises:
        FileNotFoundError: there is no such file.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"No weights at {path}. Make them with: python examples/train_tiny_clip.py --out {path}"
        )
    model = build_tiny_clip()
    model.load_state_dict({name: value.float() for name, value in load_file(path).items()})
    return model.eval()


def load_tiny_clip(path: str | Path = ASSET) -> OpenClipSpace:
    """The trained model as the semantic space of a monitor.

    Example:
        >>> space = load_tiny_clip()  # doctest: +SKIP
        >>> space.encode_texts(["an image of a seven"]).shape  # doctest: +SKIP
        torch.Size([1, 64])
    """
    from sing_monitor.space.semantic_space import OpenClipSpace

    return OpenClipSpace(
        load_tiny_clip_model(path),
        WordTokenizer(),
        image_size=IMAGE_SIZE,
        mean=MEAN,
        std=STD,
        name="tiny-clip-digits",
    )
