"""Seven models on one data set: what each head ignores, and what a random subspace would show.

    python examples/compare_backbones.py

Every model is trained on the coloured digits with random ink and becomes a run of one MLflow
experiment. At the end stand the table and the figure of all of them, each beside its random
baseline. About three minutes on two free cores.

The semantic space is the tiny CLIP of these examples, which knows digits, nine colours and nothing
else. It was trained on other digits than the models and the probe see, but on images of the same
kind: what it says is true of this toy world alone.
"""

from __future__ import annotations

import argparse
import logging
import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import pandas as pd
import torch
from colored_digits import CLASSES, COLOURS, ColoredDigits
from lightning.pytorch.loggers import MLFlowLogger
from quickstart import with_attributes
from timm_classifier import TimmClassifier
from tiny_clip import load_tiny_clip
from torch.utils.data import DataLoader

from sing_monitor import SINGCallback
from sing_monitor.app.charts.comparison import ComparedModel, comparison
from sing_monitor.tracking import RunReader, list_runs, shown_address

EXPERIMENT = "compare backbones"
# Small members of their families, since nothing is pretrained. The two ResNets differ in the width
# of their last stage alone, and so in little but the size of the null space.
MODELS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "ResNet 128": ("resnet10t", {"channels": (16, 32, 64, 128), "stem_width": 16}),
    "ResNet 512": ("resnet10t", {"channels": (16, 32, 64, 512), "stem_width": 16}),
    "ResNet bottleneck": ("test_resnet", {}),
    "EfficientNet": ("test_efficientnet", {}),
    "NFNet": ("test_nfnet", {}),
    "RegNet": ("test_byobnet", {}),
    # Learns nothing from so few images in so few epochs: a control that came by itself.
    "ViT": ("test_vit", {"img_size": 32, "patch_size": 8}),
}
COLUMNS = {
    "head/null_dim": "null dim.",
    "monitor/accuracy": "accuracy",
    "sing/class_hidden": "hidden",
    "sing/retention_seen": "digit kept",
    "attribute/colour_retention_seen": "colour kept",
    "sing/attribute_score_centered": "AS",
    "sing/image_score_centered": "IS",
    "sing/image_score_random": "IS random",
    "sing/image_score_relative": "IS relative",
    "sing/score_ratio_centered": "ratio",
    "sing/score_ratio_random": "ratio random",
    "sing/attribute_share": "AS/IS",
    "sing/attribute_share_random": "AS/IS random",
    "translator/r2": "R2",
}
# What degrees depend on; the figure says where it differs too much.
SETTINGS = ("translator/ridge", "monitor/samples", "translator/saturation")


def train(name: str, uri: str, epochs: int, copies: int) -> None:
    """Train one model under the monitor, as a run of the experiment."""
    architecture, options = MODELS[name]
    L.seed_everything(0, verbose=False)
    training = DataLoader(ColoredDigits("train", seed=1, copies=copies), 64, shuffle=True)
    validation = DataLoader(ColoredDigits("val", seed=2, copies=copies), 256)
    monitor = SINGCallback(
        load_tiny_clip(),
        concepts={colour: f"an image of a {colour} digit" for colour in COLOURS},
        attribute_prompts={
            "colour": "an image of a {} digit",
            "background": "an image of a digit on a {} background",
        },
        batch_adapter=with_attributes,
    )
    trainer = L.Trainer(
        max_epochs=epochs,
        # Judged at the end: this example is about models, not about their epochs.
        check_val_every_n_epoch=epochs,
        accelerator="cpu",
        logger=MLFlowLogger(EXPERIMENT, run_name=name, tracking_uri=uri),
        callbacks=[monitor],
        enable_checkpointing=False,
        enable_model_summary=False,
        log_every_n_steps=10,
    )
    trainer.fit(TimmClassifier(architecture, len(CLASSES), **options), training, validation)


def trained(uri: str) -> list[ComparedModel]:
    """The newest run of each model, as the store has them."""
    runs = list_runs(uri, EXPERIMENT).drop_duplicates("run_name").set_index("run_name")["run_id"]
    models = []
    for name in [name for name in MODELS if name in runs.index]:
        reader = RunReader(uri, runs[name])
        scalars = reader.scalars([*COLUMNS, *SETTINGS]).iloc[-1]
        epoch, step = int(scalars["epoch"]), int(scalars["global_step"])
        models.append(ComparedModel(name, reader.table("images", epoch, step), scalars.to_dict()))
    return models


def table(models: Sequence[ComparedModel]) -> str:
    """All models in Markdown."""
    frame = pd.DataFrame({model.label: model.scalars for model in models}).T
    lines = [["model", *COLUMNS.values()], ["---", *["---:"] * len(COLUMNS)]]
    for name, row in frame[list(COLUMNS)].astype(float).iterrows():
        counts = [f"{row['head/null_dim']:.0f}"]
        lines.append([str(name), *counts, *(_number(value) for value in row.iloc[1:])])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _number(value: float) -> str:
    """Two digits; nothing for what is undefined, and no sign for what rounds to zero."""
    return f"{value:z.2f}" if math.isfinite(value) else ""


def main(arguments: Sequence[str] | None = None) -> None:
    """Train what is asked for, then draw and print everything that the experiment holds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--copies", type=int, default=4, help="of each digit, in other colours")
    parser.add_argument("--tracking-uri", default="sqlite:///mlflow.db")
    parser.add_argument("--out", type=Path, default=Path("compare_backbones.png"))
    options = parser.parse_args(arguments)
    warnings.filterwarnings("ignore", module="lightning")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    # On so small networks further threads gain little.
    torch.set_num_threads(1)

    for name in options.models:
        print(f"\n=== {name}")
        train(name, options.tracking_uri, options.epochs, options.copies)
    models = trained(options.tracking_uri)
    comparison(models, most_points=100).save(options.out)
    print(
        f"\n{table(models)}\n\n"
        "hidden: share of the images that tell their digit only in what the head cannot see.\n"
        "digit kept, colour kept: how much of what can be read of them is left in what the head\n"
        "sees (1: all, 0: chance). AS and IS in degrees, centered pair; ratio: IS over mean |AS|,\n"
        "which has no good direction. random: a random subspace of the same size in place of the\n"
        "head's null space. R2: of the translation; the lower, the less it all means.\n\n"
        f"The figure: {options.out}\n"
        f"The runs:   sing-monitor app --tracking-uri {shown_address(options.tracking_uri)}"
    )


if __name__ == "__main__":
    main()
