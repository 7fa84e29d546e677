"""Steering: how far the meaning of an image can be moved without moving one logit.

    python examples/steering.py

Two networks are trained, one on digits with random ink and one whose ink gives the class away.
Both then have features pushed inside the null space of their heads, toward another digit and
toward another ink, until the Image Score is 40 degrees. The logits stay as they are. The honest
head has no use for the ink, so its features come nearer to another ink than the shortcut's do.
About a minute.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import pandas as pd
import torch
from colored_digits import CLASSES, COLOURS
from digit_network import digits, trained_network
from tiny_clip import load_tiny_clip

from sing_monitor import analyze
from sing_monitor.offline.analyze import AnalyzedModel
from sing_monitor.space.text_embeddings import text_set
from sing_monitor.translate.steering import steer, steer_image

NETWORKS = {"honest": 0.0, "shortcut": 0.95}


def steered(found: AnalyzedModel, texts: torch.Tensor, names: Sequence[str]) -> pd.DataFrame:
    """Mean AS of all images toward each text at an Image Score of 40 degrees."""
    snapshot = found.snapshot
    rows = []
    for name, text in zip(names, texts, strict=True):
        moved = steer(snapshot.features, found.translator, snapshot.geometry, text)
        score = moved.attribute_score
        rows.append((name, float(score.nanmean()), float((~score.isnan()).double().mean())))
    return pd.DataFrame(rows, columns=["toward", "AS", "reachable"])


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, steer everything, then one image."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--copies", type=int, default=4, help="of each digit, in other colours")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    space, loader = load_tiny_clip(), digits("val", copies=options.copies)
    inks = text_set(space, COLOURS, "an image of a {} digit")

    for name, shortcut in NETWORKS.items():
        network = trained_network(shortcut, epochs=options.epochs, copies=options.copies)
        found = analyze(network, loader, space, concepts=[])
        snapshot, geometry = found.snapshot, found.snapshot.geometry
        print(
            f"\n=== {name}: accuracy {snapshot.accuracy:.0%}, {geometry.null_dim} null dimensions"
        )
        pairs = found.tables["steering"][["source", "target", "attribute_score_abs", "limit"]]
        print(f"\n|AS| toward the nearest other digit at IS = 40 degrees:\n{pairs.round(1)}")
        toward = steered(found, inks.embeddings, inks.names)
        print(f"\nAS toward an ink at IS = 40 degrees:\n{toward.round(2).to_string(index=False)}")

        feature = snapshot.features[0].double()
        text = inks.embeddings[0]
        try:
            moved = steer_image(feature, found.translator, geometry, text, wanted=20)
        except ValueError as reason:
            print(f"\nOne image cannot be steered: {reason}")
            continue
        change = (moved.features - feature) @ snapshot.weight.double().T
        print(
            f"\nOne image of a {CLASSES[snapshot.labels[0]]}, toward {inks.names[0]} at IS = "
            f"{float(moved.image_score):.0f}: AS {float(moved.attribute_score):+.1f} degrees, "
            f"largest change of a logit {float(change.abs().max()):.0e}"
        )


if __name__ == "__main__":
    main()
