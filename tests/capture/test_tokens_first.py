"""Networks whose layers take tokens as (T, B, c), where rows are no images."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tests.capture.stages.taking import take_stages
from tests.helpers.maps import build, images, take

TOKENS = 16  # of 32 x 32 pixels


class Block(nn.Module):
    """Attention over tokens, of the order that torch takes by default."""

    def __init__(self, batch_first: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(12)
        self.attention = nn.MultiheadAttention(12, 2, batch_first=batch_first)

    def forward(self, tokens: Tensor) -> Tensor:
        y = self.norm(tokens)
        return tokens + self.attention(y, y, y, need_weights=False)[0]


class Network(nn.Module):
    """A transformer whose head reads a norm of the mean."""

    def __init__(self, batch_first: bool = False) -> None:
        super().__init__()
        self.is_second = batch_first
        self.patch = nn.Conv2d(3, 12, 8, 8)
        self.blocks = nn.ModuleList([Block(batch_first), Block(batch_first)])
        self.norm = nn.LayerNorm(12)
        self.head = nn.Linear(12, 4)

    def forward(self, pictures: Tensor) -> Tensor:
        tokens = self.patch(pictures).flatten(2)
        tokens = tokens.transpose(1, 2) if self.is_second else tokens.permute(2, 0, 1)
        for block in self.blocks:
            tokens = block(tokens)
        return self.head(self.norm(tokens.mean(1 if self.is_second else 0)))


@pytest.mark.parametrize("batch_size", [TOKENS, TOKENS // 2])
def test_rows_that_are_tokens_are_taken_for_no_images(batch_size: int) -> None:
    """Whether a batch holds as many images as an image has tokens, or another number."""
    pictures = images(2 * TOKENS)
    model = build(Network)
    taken = take_stages(model, pictures, batch_size=batch_size)
    assert list(taken.features.values) == ["patch", "norm"]
    assert set(taken.left_out) == {"blocks.0", "blocks.1"}
    mapped = take(model, pictures, batch_size=batch_size)
    assert mapped.passes == [None]
    assert "tokens first" in mapped.reasons[0]


def test_as_many_images_as_tokens_are_no_obstacle_where_images_come_first() -> None:
    pictures = images(2 * TOKENS)
    model = build(lambda: Network(batch_first=True))
    taken = take_stages(model, pictures, batch_size=TOKENS)
    with torch.no_grad():
        tokens = model.blocks[0](model.patch(pictures).flatten(2).transpose(1, 2))
    torch.testing.assert_close(taken.features.values["blocks.0"], taken.of(tokens.mean(1)))
    assert take(model, pictures, batch_size=TOKENS).maps.grid == (4, 4)
