"""The quickstart with Hugging Face's Trainer in Lightning's place.

    python examples/transformers_trainer.py          # the quickstart's network: two minutes
    python examples/transformers_trainer.py --vit    # a tiny vision transformer, from scratch

The Trainer logs to MLflow by its own integration, and the monitor's findings go to the same runs.
Nothing is downloaded. A ViT learns little from so few images in so few epochs, as its
numbers say.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import mlflow
from colored_digits import CLASSES
from quickstart import RUNS, TRACKING_URI, keep_quiet, small_resnet, table, with_attributes
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import (
    Trainer,
    TrainingArguments,
    ViTConfig,
    ViTForImageClassification,
    set_seed,
)
from watched_digits import monitor_options, training_digits, validation_digits

from sing_monitor.callbacks.transformers import SINGTrainerCallback
from sing_monitor.inputs.batches import Batch


class DigitModel(nn.Module):
    """Any network as a Trainer takes it: from the parts of a batch to loss and logits.

    Args:
        network: maps images to logits, or is a classifier of transformers'.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(
        self,
        image: Tensor,
        labels: Tensor | None = None,
        # The Trainer removes from a batch what the model does not take. The monitor needs these.
        colour: Tensor | None = None,
        background: Tensor | None = None,
        digit: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Loss, where there are labels, and logits."""
        answer = self.network(image)
        logits = answer if isinstance(answer, Tensor) else answer.logits
        if labels is None:
            return {"logits": logits}
        return {"loss": cross_entropy(logits, labels), "logits": logits}


def tiny_vit() -> nn.Module:
    """A vision transformer of three blocks and 64 features."""
    return ViTForImageClassification(
        ViTConfig(
            image_size=32,
            patch_size=8,
            hidden_size=64,
            num_hidden_layers=3,
            num_attention_heads=4,
            intermediate_size=128,
            id2label=dict(enumerate(CLASSES)),
        )
    )


def from_trainer(batch: dict[str, Tensor]) -> Batch:
    """A batch as the Trainer's collator names its parts."""
    return with_attributes({**batch, "label": batch["labels"]})


def train(name: str, shortcut: float, epochs: int, copies: int, network: nn.Module) -> Trainer:
    """Train one classifier under the monitor."""
    arguments = TrainingArguments(
        output_dir="transformers",
        run_name=name,
        report_to="mlflow",
        eval_strategy="epoch",
        save_strategy="no",
        num_train_epochs=epochs,
        per_device_train_batch_size=64,
        per_device_eval_batch_size=256,
        learning_rate=2e-3,
        lr_scheduler_type="constant",
        weight_decay=0.01,
        use_cpu=True,
        dataloader_pin_memory=False,
    )
    trainer = Trainer(
        DigitModel(network),
        arguments,
        train_dataset=training_digits(shortcut, copies),
        eval_dataset=validation_digits(copies),
        callbacks=[SINGTrainerCallback(**{**monitor_options(), "batch_adapter": from_trainer})],
    )
    trainer.train()
    return trainer


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Train both models, print the quickstart's table, and return the Trainers by name."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--copies", type=int, default=4, help="of each digit, in other colours")
    parser.add_argument("--vit", action="store_true", help="train a tiny vision transformer")
    options = parser.parse_args(arguments)
    keep_quiet()
    mlflow.set_tracking_uri(TRACKING_URI)
    mlflow.set_experiment("sing transformers")

    trainers, run_ids = {}, {}
    for name, shortcut in RUNS.items():
        print(f"\n=== {name}: ink gives the class away for {shortcut:.0%} of the training images")
        set_seed(0)
        network = tiny_vit() if options.vit else small_resnet()
        trainers[name] = train(name, shortcut, options.epochs, options.copies, network)
        finished = mlflow.last_active_run()
        assert finished is not None  # noqa: S101 - the Trainer has made it
        run_ids[name] = finished.info.run_id
    print(f"\n{table(run_ids)}\n")
    return trainers


if __name__ == "__main__":
    main()
