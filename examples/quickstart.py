"""Two minutes with sing-monitor: an honest digit classifier, and one that took a shortcut.

Both are trained on coloured handwritten digits, the first with random ink, the second with ink
that gives the class away for 95 % of the images. Both are probed on the same images, with random
ink, that neither has seen. Run it, then compare what their heads ignore:

    python examples/quickstart.py
"""

from __future__ import annotations

import argparse
import logging
import warnings
from collections.abc import Callable, Mapping

import lightning as L
import pandas as pd
import timm
import torch
from colored_digits import BACKGROUNDS, COLOURS, ColoredDigits
from lightning.pytorch.loggers import MLFlowLogger
from tiny_clip import load_tiny_clip
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from sing_monitor import SINGCallback
from sing_monitor.inputs.batches import Batch
from sing_monitor.tracking import RunReader

TRACKING_URI = "sqlite:///mlflow.db"
RUNS = {"honest": 0.0, "shortcut": 0.95}
CONCEPTS = {
    **{colour: f"an image of a {colour} digit" for colour in COLOURS},
    **{shade: f"a digit on a {shade} background" for shade in BACKGROUNDS},
}
COLUMNS = {
    "sing/class_hidden": "hidden",
    "sing/retention_seen": "digit kept",
    "attribute/colour_retention_seen": "colour kept",
    "monitor/accuracy": "accuracy",
}


def small_resnet() -> nn.Module:
    """A timm network of half a million parameters, with 128 features before its head."""
    return timm.create_model("resnet10t", num_classes=10, channels=(16, 32, 64, 128), stem_width=16)


class DigitClassifier(L.LightningModule):
    """Any network on digits; nothing in it knows of the monitor."""

    def __init__(self, network: nn.Module, learning_rate: float = 2e-3) -> None:
        super().__init__()
        self.save_hyperparameters(ignore="network")
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        loss = cross_entropy(self(batch["image"]), batch["label"])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        logits = self(batch["image"])
        self.log("val_loss", cross_entropy(logits, batch["label"]), prog_bar=True)
        accuracy = (logits.argmax(dim=1) == batch["label"]).float().mean()
        self.log("val_accuracy", accuracy, prog_bar=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), self.hparams["learning_rate"])


def with_attributes(batch: dict[str, Tensor]) -> Batch:
    """Hand the true ink and background over, so that the monitor can ask what became of them.

    Each digit is shown several times: pictures of one digit are a group, and no translator is
    judged on a digit that it was fitted on.
    """
    return Batch(
        batch["image"],
        batch["label"],
        {"colour": (batch["colour"], COLOURS), "background": (batch["background"], BACKGROUNDS)},
        group=batch["digit"],
    )


def train(
    logger: MLFlowLogger,
    shortcut: float,
    epochs: int,
    *,
    seed: int = 0,
    build: Callable[[], nn.Module] = small_resnet,
    concepts: Mapping[str, str] = CONCEPTS,
    copies: int = 4,
) -> str:
    """Train one classifier under the monitor and return its MLflow run id."""
    L.seed_everything(seed, verbose=False)
    training = DataLoader(ColoredDigits("train", shortcut, seed=1, copies=copies), 64, shuffle=True)
    validation = DataLoader(ColoredDigits("val", seed=2, copies=copies), 256)
    logger.log_hyperparams({"shortcut": shortcut, "seed": seed})
    monitor = SINGCallback(
        load_tiny_clip(),
        concepts=concepts,
        attribute_prompts={
            "colour": "an image of a {} digit",
            "background": "an image of a digit on a {} background",
        },
        batch_adapter=with_attributes,
    )
    trainer = L.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=logger,
        callbacks=[monitor],
        enable_checkpointing=False,
        enable_model_summary=False,
    )
    trainer.fit(DigitClassifier(build()), training, validation)
    return str(logger.run_id)


def table(run_ids: dict[str, str]) -> str:
    """Both models, epoch by epoch, as MLflow has them."""
    histories = {
        name: RunReader(TRACKING_URI, run_id).scalars(list(COLUMNS)).set_index("epoch")
        for name, run_id in run_ids.items()
    }
    both = (
        pd.concat(histories, names=["model"]).reindex(columns=list(COLUMNS)).rename(columns=COLUMNS)
    )
    return both.to_string(float_format="{:.2f}".format, na_rep="-")


def keep_quiet() -> None:
    """Leave the terminal to the monitor, and the machine to whoever else works on it."""
    # Advice for larger trainings; here it would only hide what the monitor says.
    warnings.filterwarnings("ignore", module="lightning")
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    # On so small a network further threads gain little, and lose much on a machine that is busy.
    torch.set_num_threads(1)


def main() -> None:
    """Train both models and say how to look at them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=5)
    epochs = parser.parse_args().epochs
    keep_quiet()

    run_ids = {}
    for name, shortcut in RUNS.items():
        print(f"\n=== {name}: ink gives the class away for {shortcut:.0%} of the training images")
        logger = MLFlowLogger("sing quickstart", run_name=name, tracking_uri=TRACKING_URI)
        run_ids[name] = train(logger, shortcut, epochs)
    print(f"\n{table(run_ids)}\n")
    print(
        "hidden: share of the images that tell their digit only in what the head cannot see.\n"
        "digit kept, colour kept: how much of what can be read of them is left in what the head\n"
        "sees (1: all, 0: nothing beyond chance).\n"
        "The honest head keeps the digit and ignores the colour. The shortcut head keeps the\n"
        "colour; of the digit it loses much, and more images tell theirs where it cannot see.\n\n"
        f"Compare the runs:  mlflow ui --backend-store-uri {TRACKING_URI}\n"
        f"See them evolve:   streamlit run app/main.py -- --tracking-uri {TRACKING_URI}"
    )


if __name__ == "__main__":
    main()
