"""Pictures of translated features by UnCLIP (SING, supplement, section 3.2 and eq. 19).

For the eye alone: no score is taken from a picture. Needs ``pip install "sing-monitor[unclip]"``,
and features translated to the space of the pipeline's own image encoder, CLIP ViT-L/14 of OpenAI:
``SINGCallback(space="ViT-L-14/openai")``.
"""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING, get_type_hints

import torch
from torch import Tensor

if TYPE_CHECKING:
    from diffusers import UnCLIPImageVariationPipeline

KARLO = "kakaobrain/karlo-v1-alpha-image-variations"


def load_unclip(
    source: str | PathLike[str] = KARLO,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
) -> UnCLIPImageVariationPipeline:
    """Load Karlo's image variation pipeline; several gigabytes, downloaded once.

    Args:
        source: name on the Hugging Face hub, or a local folder.
        device: on which it runs; a CPU takes minutes for a picture.
        dtype: by default float16 on CUDA, else float32.

    Raises:
        ImportError: if the extra ``unclip`` is not installed.
        OSError: if the weights cannot be loaded or downloaded.
    """
    try:
        from diffusers import UnCLIPImageVariationPipeline
    except (ImportError, RuntimeError) as error:
        raise ImportError(
            'pictures need diffusers and transformers: pip install "sing-monitor[unclip]" '
            f"({error})"
        ) from error
    device = torch.device(device)
    # Part by part, because the published index names a module that diffusers has moved.
    parts = get_type_hints(UnCLIPImageVariationPipeline.__init__)
    pipeline = UnCLIPImageVariationPipeline(
        **{name: kind.from_pretrained(source, subfolder=name) for name, kind in parts.items()}
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device, dtype or (torch.float16 if device.type == "cuda" else torch.float32))


def rescale(equivalent: Tensor, original: Tensor) -> Tensor:
    """Rescale an equivalent to the norm of the original, ``T f~ |T f| / |T f~|`` (SING, eq. 19).

    Angles stay, and pictures do not differ by a drift of the norm.

    Args:
        equivalent: ``T f~``, (..., n).
        original: ``T f``, (..., n).
    """
    length, wanted = (
        torch.linalg.vector_norm(each, dim=-1, keepdim=True) for each in (equivalent, original)
    )
    return equivalent * (wanted / length)


def render(
    pipeline: UnCLIPImageVariationPipeline,
    embeddings: Tensor,
    *,
    seed: int = 0,
    decoder_steps: int = 25,
    super_resolution_steps: int = 7,
    guidance: float = 8.0,
) -> Tensor:
    """Draw pictures of image embeddings, all from the same noise.

    Pictures of one seed differ by their embeddings alone: the generator starts anew for each, on
    the CPU, so that the device does not matter. The random number generators of the process stay
    as they are.

    Args:
        pipeline: from :func:`load_unclip`.
        embeddings: in the space of the pipeline's image encoder, not normalized, (B, n).
        seed: of the noise.
        decoder_steps: of the diffusion at low resolution.
        super_resolution_steps: of the diffusion at full resolution.
        guidance: of the decoder, above 1; larger follows the embedding more closely.

    Returns:
        (B, 3, H, W) in [0, 1], on the CPU.

    Raises:
        ValueError: if the embeddings are of another space or not finite.
    """
    from tqdm.auto import tqdm

    _check(pipeline, embeddings)
    pictures = []
    with torch.random.fork_rng():
        for embedding in tqdm(embeddings, "SING: pictures", leave=False, delay=2, unit="picture"):
            found = pipeline(
                image_embeddings=embedding[None].to(pipeline.device, pipeline.decoder.dtype),
                generator=torch.Generator().manual_seed(seed),
                decoder_num_inference_steps=decoder_steps,
                super_res_num_inference_steps=super_resolution_steps,
                decoder_guidance_scale=guidance,
                output_type="np",
            )
            pictures.append(torch.from_numpy(found.images[0]).permute(2, 0, 1))
    return torch.stack(pictures)


def render_pairs(
    pipeline: UnCLIPImageVariationPipeline, original: Tensor, equivalent: Tensor, *, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Draw pictures of images and of their rescaled equivalents (eq. 19).

    Args:
        pipeline: from :func:`load_unclip`.
        original: ``T f``, (B, n), as ``Explanation.embedding``.
        equivalent: ``T f~``, (B, n), as ``Shift.embedding``.
        seed: of the noise, the same for all.

    Returns:
        Pictures before and after, each (B, 3, H, W) in [0, 1].
    """
    both = torch.cat([original, rescale(equivalent, original)])
    before, after = render(pipeline, both, seed=seed).chunk(2)
    return before, after


def _check(pipeline: UnCLIPImageVariationPipeline, embeddings: Tensor) -> None:
    dim = pipeline.image_encoder.config.projection_dim
    if embeddings.ndim != 2 or embeddings.shape[1] != dim or len(embeddings) == 0:
        raise ValueError(
            f"embeddings must be (B, {dim}), as the pipeline's image encoder gives them; got "
            f"{tuple(embeddings.shape)}. Karlo reads CLIP ViT-L/14: monitor in the space "
            '"ViT-L-14/openai".'
        )
    if not embeddings.isfinite().all():
        raise ValueError("embeddings hold NaN or infinite numbers; there is nothing to draw.")
