"""After the fact: what a trained model ignores, without training it again.

    python examples/posthoc.py

A network is trained in plain PyTorch, as if long ago, on digits whose ink gives the class away.
Then `analyze` runs it once over a loader and says what its head ignores; further concepts come
from the same snapshot, and one image is explained. About a minute.

For checkpoints on the disk the command does the same and logs to MLflow: sing-monitor analyze -h.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import torch
from colored_digits import BACKGROUNDS, COLOURS
from digit_network import digits, trained_network
from tiny_clip import load_tiny_clip

from sing_monitor import analyze
from sing_monitor.analyses.concepts import analyze_concepts
from sing_monitor.explain.image import explain_image
from sing_monitor.space.text_embeddings import concept_set

INKS = {colour: f"an image of a {colour} digit" for colour in COLOURS}
SHADES = {shade: f"a digit on a {shade} background" for shade in BACKGROUNDS}


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, analyze, add concepts, explain one image."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--copies", type=int, default=4, help="of each digit, in other colours")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    model = trained_network(0.95, epochs=options.epochs, copies=options.copies)
    space, loader = load_tiny_clip(), digits("val", copies=options.copies)

    found = analyze(model, loader, space, concepts=INKS)
    print("What the head cannot see:")
    for key in (
        "sing/class_hidden",
        "sing/retention_seen",
        "monitor/accuracy",
        "probe/class_hidden",
        "head/null_dim",
        "sing/attribute_score_centered",
        "sing/image_score_centered",
        "sing/image_score_random",
    ):
        print(f"  {key:<32} {found.scalars[key]:8.3f}")
    classes = found.tables["classes"].set_index("class_name")
    read = classes[["n", "accuracy", "zero_shot", "zero_shot_seen", "hidden"]]
    print(f"\nBy class:\n{read.round(2)}")

    # Other words later on: only texts are embedded, the images are in the snapshot.
    shades = concept_set(space, SHADES)
    assert shades is not None  # noqa: S101 - SHADES is not empty
    ridge = found.scalars["translator/ridge"]
    more = analyze_concepts(found.snapshot, shades, ridge=ridge).tables["concepts"]
    columns = ["concept", "angle_before", "angle_after_centered", "attribute_score_centered"]
    print(f"\nBackgrounds, degrees:\n{more[columns].round(2).to_string(index=False)}")

    image = next(iter(loader))[0][0]
    explained = explain_image(
        model, image, space, snapshot=found.snapshot, concepts=INKS | SHADES, ridge=ridge
    )
    print(f"\nOne image: {explained}")


if __name__ == "__main__":
    main()
