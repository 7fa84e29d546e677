"""Trains the tiny vision-language model of the quickstart on captions of coloured digits.

    python examples/train_tiny_clip.py

About six minutes on one core. A batch either mixes everything or holds one ink colour or one
background only. Without such batches the model tells images apart by colour alone and never
learns the digits.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from colored_digits import ColoredDigits
from open_clip.model import CustomTextCLIP
from safetensors.torch import save_file
from tiny_clip import ASSET, MEAN, STD, WordTokenizer, build_tiny_clip, load_tiny_clip_model
from torch import Tensor
from torch.optim.swa_utils import update_bn
from tqdm import tqdm

# What a caption may mention. Captions that compete for an image mention the same things, and each
# meaning stands among them once, so that only one of them is true of the image.
SINGLE = (("digit",), ("colour",), ("background",))
COMBINED = (
    ("digit", "colour"),
    ("digit", "background"),
    ("colour", "background"),
    ("digit", "colour", "background"),
)
OPENINGS = ("an image of", "an image of", "a photo of", "a picture of", "a drawing of", "")
UNKNOWN_WORD = "something"


def caption(words: dict[str, str], rng: np.random.Generator) -> str:
    """One sentence that mentions just these words, such as "a photo of a red seven".

    Args:
        words: any of "digit", "colour", "background" with its word.
        rng: chooses the wording.
    """
    noun = words.get("digit") or rng.choice(["digit", "digit", "number"])
    colour = words.get("colour")
    if colour is None:
        thing = f"a {noun}"
    elif rng.random() < 0.8:
        thing = f"a {colour} {noun}"
    else:
        thing = f"a {noun} in {colour} ink"
    if "background" in words:
        thing += f" on a {words['background']} background"
    if rng.random() < 0.5:
        thing = thing.replace("a eight", "an eight")
    opening = str(rng.choice(OPENINGS))
    if rng.random() < 0.1:
        # Words it was never taught must not change what the rest of a sentence means.
        opening += f" {UNKNOWN_WORD}"
    return f"{opening} {thing}".strip()


def draw_batch(data: ColoredDigits, size: int, rng: np.random.Generator) -> np.ndarray:
    """Indices of a batch; half of the batches hold one ink colour, half one background."""
    keep = np.ones(len(data), dtype=bool)
    for ids in (data.colour_ids.numpy(), data.background_ids.numpy()):
        if rng.random() < 0.5:
            keep &= ids == rng.integers(ids.max() + 1)
    return rng.choice(np.flatnonzero(keep), size=size, replace=False)


def contrastive_loss(images: Tensor, texts: Tensor, scale: Tensor, true: Tensor) -> Tensor:
    """CLIP's loss, where several images may share a caption; 0 is perfect.

    Mean over both directions of KL(target || softmax(scale * images texts')), the target being
    uniform over what belongs together.

    Args:
        images: unit embeddings, (B, n).
        texts: unit embeddings of U different captions, (U, n).
        scale: inverse temperature, scalar.
        true: 1 where caption u is true of image b, else 0, (B, U).
    """
    logits = scale * images @ texts.T
    by_image = F.kl_div(logits.log_softmax(1), true / true.sum(1, keepdim=True), reduction="sum")
    by_text = F.kl_div(logits.log_softmax(0), true / true.sum(0, keepdim=True), reduction="sum")
    return (by_image / len(images) + by_text / len(texts)) / 2


def normalize(pixels: Tensor) -> Tensor:
    """uint8 pixels (N, 3, 32, 32) as the image tower wants them."""
    mean, std = (torch.tensor(stats).view(3, 1, 1) for stats in (MEAN, STD))
    return (pixels.float() / 255 - mean) / std


def train(
    steps: int, batch_size: int, learning_rate: float, seed: int, copies: int = 20
) -> CustomTextCLIP:
    """Train from scratch on the "clip" split; the same seed gives the same weights."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    data = ColoredDigits("clip", seed=seed, copies=copies)
    names = {"digit": data.classes, "colour": data.colours, "background": data.backgrounds}
    ids = {"digit": data.labels, "colour": data.colour_ids, "background": data.background_ids}
    model, tokenizer = build_tiny_clip().train(), WordTokenizer()
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=learning_rate, total_steps=steps, pct_start=0.1
    )
    progress = tqdm(range(steps), desc="training tiny CLIP", unit="step")
    for _ in progress:
        batch = draw_batch(data, batch_size, rng)
        images = model.encode_image(normalize(data.images[batch]), normalize=True)
        losses = []
        for kind in (*SINGLE, COMBINED[rng.integers(len(COMBINED))]):
            mentioned = torch.stack([ids[name][batch] for name in kind], dim=1)
            meanings, which = mentioned.unique(dim=0, return_inverse=True)
            texts = [
                caption({name: names[name][i] for name, i in zip(kind, row, strict=True)}, rng)
                for row in meanings.tolist()
            ]
            captions = model.encode_text(tokenizer(texts), normalize=True)
            true = F.one_hot(which, len(meanings)).float()
            losses.append(contrastive_loss(images, captions, model.logit_scale.exp(), true))
        loss = torch.stack(losses).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            model.logit_scale.clamp_(max=float(np.log(100)))
        progress.set_postfix(loss=f"{loss.item():.3f}")
    # The last batches, of one colour or background, bias the running means of batch normalisation.
    update_bn([normalize(part) for part in data.images.split(1024)], model.visual)
    return model.eval()


@torch.no_grad()
def zero_shot_accuracy(
    model: CustomTextCLIP, pixels: Tensor, labels: Tensor, names: Sequence[str], prompt: str
) -> float:
    """Share of images nearest to the text of their own label.

    Args:
        model: its images and texts are compared.
        pixels: uint8, (N, 3, 32, 32).
        labels: indices into `names`, (N,).
        names: what the labels mean, in words.
        prompt: text with one {} for the name.
    """
    texts = WordTokenizer()([prompt.format(name) for name in names])
    texts = model.encode_text(texts, normalize=True)
    images = model.encode_image(normalize(pixels), normalize=True)
    return ((images @ texts.T).argmax(1) == labels).double().mean().item()


def zero_shot_report(model: CustomTextCLIP, data: ColoredDigits) -> dict[str, float]:
    """Zero-shot accuracy for digit, colour and background on one data set."""
    questions = {
        "digit": (data.labels, data.classes, "an image of a {}"),
        "colour": (data.colour_ids, data.colours, "an image of a {} digit"),
        "background": (
            data.background_ids,
            data.backgrounds,
            "an image of a digit on a {} background",
        ),
    }
    return {
        name: zero_shot_accuracy(model, data.images, *question)
        for name, question in questions.items()
    }


def main() -> None:
    """Train, store and test the model."""
    """Train, store the weights in half precision, and say how good they are."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=ASSET)
    args = parser.parse_args()
    torch.set_num_threads(1)  # the same weights on every machine
    model = train(args.steps, args.batch_size, args.learning_rate, args.seed)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: value.half() for name, value in model.state_dict().items()}, args.out)
    print(f"Wrote {args.out} ({args.out.stat().st_size / 1e6:.2f} MB).")
    report = zero_shot_report(
        load_tiny_clip_model(args.out), ColoredDigits("val", seed=1, copies=4)
    )
    for name, accuracy in report.items():
        print(f"zero-shot {name} on unseen digits: {accuracy:.3f}")


if __name__ == "__main__":
    main()
