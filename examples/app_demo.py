"""A longer history for the app: four trainings of twenty epochs, so that every page has its say.

Three networks on honest digits, two of them alike but for the seed, and one on digits whose ink
gives the class away. The second call finds the runs and trains nothing:

    python examples/app_demo.py
    streamlit run app/main.py -- --tracking-uri sqlite:///demo/mlflow.db
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import timm
from colored_digits import BACKGROUNDS, CLASSES, COLOURS
from lightning.pytorch.loggers import MLFlowLogger
from quickstart import CONCEPTS, keep_quiet, small_resnet, train
from torch import nn

from sing_monitor.tracking import NotFoundError, StoreError, list_runs

EXPERIMENT = "colored digits"
# The default vocabulary would be lost here: of its words the tiny CLIP knows seven.
VOCABULARY = {
    **CONCEPTS,
    **{digit: f"an image of a {digit}" for digit in CLASSES},
    **{
        f"{colour} on {shade}": f"a {colour} digit on a {shade} background"
        for colour, shade in product(COLOURS, BACKGROUNDS)
    },
    **{
        f"{digit} on {shade}": f"a {digit} on a {shade} background"
        for digit, shade in product(CLASSES, BACKGROUNDS)
    },
}


def small_densenet() -> nn.Module:
    """A timm network of a hundred thousand parameters, with 64 features before its head."""
    return timm.create_model(
        "densenet121", num_classes=10, growth_rate=16, block_config=(2, 2, 2, 2)
    )


@dataclass(frozen=True)
class Training:
    """What is trained: share of the images with a shortcut, seed, and network."""

    shortcut: float = 0.0
    seed: int = 0
    build: Callable[[], nn.Module] = small_resnet


# The app opens on the newest two.
TRAININGS = {
    "honest DenseNet": Training(build=small_densenet),
    "honest seed=1": Training(seed=1),
    "honest seed=0": Training(),
    "shortcut": Training(shortcut=0.95),
}


def finished(uri: str) -> set[str]:
    """Names of the trainings that the store holds to the end."""
    try:
        runs = list_runs(uri, EXPERIMENT)
    except (StoreError, NotFoundError):  # nothing was ever trained here
        return set()
    return set(runs.loc[runs["status"] == "FINISHED", "run_name"])


def main() -> None:
    """Train what the store lacks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", type=Path, default=Path("demo"), help="folder of the database")
    parser.add_argument("--epochs", type=int, default=20)
    args = parser.parse_args()
    keep_quiet()
    store = args.store.resolve()
    store.mkdir(parents=True, exist_ok=True)
    uri = f"sqlite:///{store / 'mlflow.db'}"

    known = finished(uri)
    missing = [name for name in TRAININGS if name not in known]
    for place, name in enumerate(missing, start=1):
        print(f"\n=== {name} ({place} of {len(missing)})")
        logger = MLFlowLogger(
            EXPERIMENT,
            run_name=name,
            tracking_uri=uri,
            artifact_location=(store / "artifacts").as_uri(),
        )
        what = TRAININGS[name]
        train(
            logger,
            what.shortcut,
            args.epochs,
            seed=what.seed,
            build=what.build,
            concepts=VOCABULARY,
        )
    print(f"\nAll {len(TRAININGS)} runs are in {uri}")


if __name__ == "__main__":
    main()
