"""Fine-tune a pretrained timm model on a folder of images, watched in CLIP's space.

    python examples/imagenet_finetune.py imagenet/train imagenet/val
    python examples/imagenet_finetune.py train val --model convnext_tiny --epochs 20 --devices 4

The recipe for people with a network and a GPU: ImageNet, or any folder with a folder of images for
each class (names in words, or WordNet ids). ImageNet's validation images come in a single folder:
`torchvision.datasets.ImageNet(root, "val")` sorts them into one for each class.

timm's weights and ViT-B-32 (about 600 MB) are downloaded once; 10,000 validation images are
embedded once, in seconds on a GPU, and then kept. The head is trained at ten times the rate of the
rest, as it starts anew. Both weights may be files:

    ... --weights resnet50.safetensors --space ViT-B-32//data/open_clip_model.safetensors
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
import timm
import torch
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.loggers import MLFlowLogger
from timm_classifier import TimmClassifier
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder

from sing_monitor import SINGCallback
from sing_monitor.space.semantic_space import DEFAULT_SPACE
from sing_monitor.tracking import shown_address

HEAD_FACTOR = 10


class FineTuned(TimmClassifier):
    """A pretrained network whose new head learns faster than the rest."""

    def configure_optimizers(self) -> Any:
        rate = self.hparams["learning_rate"]
        network: Any = self.network
        head = {id(p) for p in network.get_classifier().parameters()}
        groups = [
            {"params": [p for p in self.parameters() if id(p) not in head]},
            {"params": [p for p in self.parameters() if id(p) in head]},
        ]
        optimizer = torch.optim.AdamW(groups, rate, weight_decay=0.05)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            [rate, HEAD_FACTOR * rate],
            total_steps=int(self.trainer.estimated_stepping_batches),
            pct_start=0.1,
        )
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]


def class_folders(folder: Path) -> list[str]:
    """Names of the folders in a folder."""
    return sorted(each.name for each in folder.iterdir() if each.is_dir())


def loaders(
    train: Path, validation: Path, model: FineTuned, batch_size: int, workers: int
) -> tuple[DataLoader[Any], DataLoader[Any]]:
    """Images as the model was pretrained on: augmented for training, plain for validation."""
    wanted = timm.data.resolve_model_data_config(model.network)
    augmented = timm.data.create_transform(
        **wanted, is_training=True, auto_augment="rand-m7-mstd0.5", re_prob=0.1
    )
    plain = timm.data.create_transform(**wanted, is_training=False)
    options: dict[str, Any] = {
        "batch_size": batch_size,
        "num_workers": workers,
        "persistent_workers": workers > 0,
        "pin_memory": torch.cuda.is_available(),
    }
    return (
        DataLoader(ImageFolder(str(train), augmented), shuffle=True, drop_last=True, **options),
        DataLoader(ImageFolder(str(validation), plain), **options),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Fine-tune, and keep the checkpoint of the best accuracy."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("train", type=Path, help="a folder of images for each class")
    parser.add_argument("validation", type=Path, help="likewise")
    parser.add_argument("--model", default="resnet50.a1_in1k", help="timm's name")
    parser.add_argument("--weights", type=Path, help="a file, instead of timm's download")
    parser.add_argument("--space", default=DEFAULT_SPACE, help="<open_clip model>/<tag or file>")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--devices", type=int, default=1)
    parser.add_argument("--tracking-uri", default="sqlite:///mlflow.db")
    options = parser.parse_args(arguments)

    L.seed_everything(0, workers=True)
    torch.set_float32_matmul_precision("high")
    classes = class_folders(options.train)
    if class_folders(options.validation) != classes:
        # torchvision numbers folders by name, so labels would not be those of the training.
        parser.error(f"{options.validation} and {options.train} do not hold the same class folders")
    pretrained: dict[str, Any] = {"pretrained": True}
    if options.weights is not None:
        pretrained["pretrained_cfg_overlay"] = {"file": str(options.weights)}
    model = FineTuned(options.model, len(classes), options.learning_rate, **pretrained)
    monitor = SINGCallback(
        options.space,
        # As CLIP's own zero-shot classifiers do, several wordings are averaged.
        prompt=["an image of a {}", "a photo of a {}", "a close-up photo of a {}"],
        save_snapshots=True,
    )
    trainer = L.Trainer(
        max_epochs=options.epochs,
        devices=options.devices,
        precision="bf16-mixed" if torch.cuda.is_available() else "32-true",
        gradient_clip_val=1.0,
        logger=MLFlowLogger(
            "imagenet finetune", run_name=options.model, tracking_uri=options.tracking_uri
        ),
        callbacks=[
            monitor,
            # Accuracy decides; of two equal epochs, take that of the smaller sing/class_hidden.
            ModelCheckpoint(monitor="val_accuracy", mode="max", save_last=True),
            LearningRateMonitor("step"),
        ],
        log_every_n_steps=10,
    )
    trainer.fit(
        model,
        *loaders(options.train, options.validation, model, options.batch_size, options.workers),
    )
    print(f"See it: sing-monitor app --tracking-uri {shown_address(options.tracking_uri)}")


if __name__ == "__main__":
    main()
