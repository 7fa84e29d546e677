"""Up to the pipeline's boundary: a tiny pipeline of the same classes, with random weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from sing_monitor.explain.unclip import load_unclip, render, render_pairs, rescale
from sing_monitor.scores.angles import angle
from tests.helpers import normal

diffusers = pytest.importorskip("diffusers", reason="needs the extra unclip")
transformers = pytest.importorskip("transformers", reason="needs the extra unclip")

WIDTH = 16  # of texts and embeddings
STEPS = {"decoder_steps": 2, "super_resolution_steps": 2}


def tokenizer(folder: Path) -> Any:
    """CLIP's tokenizer with hardly any words: the pipeline asks for empty texts only."""
    words = ["<|startoftext|>", "<|endoftext|>", "a", "a</w>"]
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return transformers.CLIPTokenizer.from_pretrained(folder, model_max_length=8)


def super_resolution() -> Any:
    return diffusers.UNet2DModel(
        sample_size=16,
        in_channels=6,
        out_channels=3,
        down_block_types=("ResnetDownsampleBlock2D",),
        up_block_types=("ResnetUpsampleBlock2D",),
        block_out_channels=(8,),
        layers_per_block=1,
        norm_num_groups=4,
        mid_block_type=None,
    )


def tiny_pipeline(folder: Path) -> Any:
    encoder: dict[str, Any] = {
        "hidden_size": WIDTH,
        "intermediate_size": WIDTH,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "projection_dim": WIDTH,
    }
    text = transformers.CLIPTextConfig(**encoder, vocab_size=8, max_position_embeddings=8)
    image = transformers.CLIPVisionConfig(**encoder, image_size=16, patch_size=8)
    decoder = diffusers.UNet2DConditionModel(
        sample_size=8,
        in_channels=3,
        out_channels=6,  # a mean and a variance
        down_block_types=("SimpleCrossAttnDownBlock2D",),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        up_block_types=("SimpleCrossAttnUpBlock2D",),
        block_out_channels=(8,),
        layers_per_block=1,
        norm_num_groups=4,
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
        resnet_time_scale_shift="scale_shift",
        class_embed_type="identity",
    )
    from diffusers.pipelines.deprecated.unclip import UnCLIPTextProjModel

    return diffusers.UnCLIPImageVariationPipeline(
        decoder=decoder,
        text_encoder=transformers.CLIPTextModelWithProjection(text),
        tokenizer=tokenizer(folder),
        text_proj=UnCLIPTextProjModel(
            clip_embeddings_dim=WIDTH, time_embed_dim=32, cross_attention_dim=WIDTH
        ),
        feature_extractor=transformers.CLIPImageProcessor(size=16, crop_size=16),
        image_encoder=transformers.CLIPVisionModelWithProjection(image),
        super_res_first=super_resolution(),
        super_res_last=super_resolution(),
        decoder_scheduler=diffusers.UnCLIPScheduler(
            variance_type="learned_range", prediction_type="epsilon", num_train_timesteps=100
        ),
        super_res_scheduler=diffusers.UnCLIPScheduler(
            variance_type="fixed_small_log", prediction_type="epsilon", num_train_timesteps=100
        ),
    )


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Saved and loaded again, as the published weights are."""
    folder = tmp_path_factory.mktemp("unclip")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        tiny_pipeline(folder).save_pretrained(folder / "saved")
    return load_unclip(folder / "saved")


def test_the_norm_is_that_of_the_original_and_the_angle_stays() -> None:
    original, equivalent = normal(5, 8, seed=0), 7 * normal(5, 8, seed=1)
    scaled = rescale(equivalent, original)
    torch.testing.assert_close(scaled.norm(dim=1), original.norm(dim=1))
    torch.testing.assert_close(
        angle(scaled, equivalent), torch.zeros(5).double(), atol=1e-6, rtol=0
    )


def test_pictures_depend_on_embedding_and_seed_alone(pipeline: Any) -> None:
    embeddings = normal(2, WIDTH, seed=2)
    state = torch.get_rng_state()
    pictures = render(pipeline, embeddings, **STEPS)
    assert torch.equal(torch.get_rng_state(), state)
    assert pictures.shape == (2, 3, 16, 16)
    assert 0 <= float(pictures.min()) < float(pictures.max()) <= 1
    assert not torch.equal(pictures[0], pictures[1])
    # Alone or beside others, now or later: the same noise.
    assert torch.equal(render(pipeline, embeddings[1:], **STEPS)[0], pictures[1])
    assert not torch.equal(render(pipeline, embeddings, seed=1, **STEPS), pictures)


def test_equivalents_are_drawn_at_the_norm_of_their_originals(pipeline: Any) -> None:
    original, equivalent = normal(1, WIDTH, seed=3), normal(1, WIDTH, seed=4)
    before, after = render_pairs(pipeline, original, equivalent)
    assert torch.equal(before, render(pipeline, original))
    assert torch.equal(after, render(pipeline, rescale(equivalent, original)))
    same, as_before = render_pairs(pipeline, original, 9 * original)
    torch.testing.assert_close(same, as_before)


@pytest.mark.parametrize("shape", [(2, 512), (WIDTH,), (0, WIDTH)])
def test_embeddings_of_another_space_are_refused(pipeline: Any, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="ViT-L-14/openai"):
        render(pipeline, torch.zeros(shape))


def test_undefined_embeddings_are_refused(pipeline: Any) -> None:
    with pytest.raises(ValueError, match="NaN"):
        render(pipeline, torch.full((1, WIDTH), torch.nan))
