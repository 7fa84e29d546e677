"""The monitor against writing it yourself: an epoch's numbers from a second pass and dense algebra.

Doing it yourself: run the model once more over the validation set to get the features, decompose
the head with `torch.linalg.svd(full_matrices=True)`, form dense m x m projectors, fit
scikit-learn's `Ridge` on each half of the images, and translate features and equivalents, of the
head and of three random subspaces, one of them for each image. The embeddings of images and texts
are given to both. The monitor: everything it does in one validation, tables and MLflow's writes
included, the validation itself and the set-up before it apart. Both give the same AS, IS and null
energy; how far they differ is printed. The random subspaces are others, and the monitor draws
many more: of theirs, both numbers are printed.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import lightning as L
import torch
from sklearn.linear_model import Ridge
from tiny_clip import load_tiny_clip
from torch import Tensor
from torch.utils.data import DataLoader

from sing_monitor import SINGCallback
from sing_monitor.scores.angles import attribute_score, image_score
from sing_monitor.space.fingerprints import fingerprint, to_uint8
from tests.benchmarks.bench_training import BATCH, NAMES, Classifier, Stopwatch, images, monitored
from tests.benchmarks.machine import describe
from tests.helpers import tiny

RIDGE = 1e-3
SUBSPACES = 3
BASELINE = "sing/image_score_random"


def yourself(
    model: Any, loader: DataLoader[tuple[Tensor, Tensor]], given: dict[str, Tensor]
) -> dict[str, float]:
    """AS and IS of the paper's, the centered and the random pairs, and the null energy."""
    with torch.no_grad():
        features = torch.cat(
            [
                model.model.forward_head(model.model.forward_features(x), pre_logits=True)
                for x, _ in loader
            ]
        ).double()
    weight = model.model.get_classifier().weight.detach().double()
    _, values, right = torch.linalg.svd(weight, full_matrices=True)
    rank = int((values > 1e-5).sum())
    generator = torch.Generator().manual_seed(0)
    size = len(right), rank
    drawn = [
        torch.linalg.qr(torch.randn(*size, generator=generator, dtype=torch.float64)).Q
        for _ in range(SUBSPACES)
    ]
    projectors = [
        torch.eye(len(right), dtype=torch.float64) - basis @ basis.T
        for basis in (right[:rank].T, *drawn)
    ]
    center = features.mean(dim=0)
    null = features @ projectors[0]
    equivalents = {
        "": features - null,
        "_centered": features - (features - center) @ projectors[0],
        "_random": features.clone(),
    }
    for k, projector in enumerate(projectors[1:]):
        own = torch.arange(len(features)) % SUBSPACES == k
        equivalents["_random"][own] -= (features[own] - center) @ projector
    texts = given["texts"][given["labels"]]
    found = {name: torch.zeros(2, len(features), dtype=torch.float64) for name in equivalents}
    for fold in (0, 1):
        rows, others = given["folds"] == fold, given["folds"] != fold
        scatter = (features[others] - features[others].mean(dim=0)).square().sum()
        ridge = Ridge(RIDGE * float(scatter) / features.shape[1])
        ridge.fit(features[others].numpy(), given["embeddings"][others].double().numpy())
        original = torch.from_numpy(ridge.predict(features[rows].numpy()))
        for name, equivalent in equivalents.items():
            translated = torch.from_numpy(ridge.predict(equivalent[rows].numpy()))
            found[name][0, rows] = attribute_score(original, translated, texts[rows])
            found[name][1, rows] = image_score(original, translated)
    means = {name: scores.mean(dim=1).tolist() for name, scores in found.items()}
    return {
        **{f"sing/attribute_score{name}": value[0] for name, value in means.items()},
        **{f"sing/image_score{name}": value[1] for name, value in means.items()},
        "head/null_energy": float(null.square().sum() / features.square().sum()),
    }


class Both(L.Callback):
    """After every validation: what the monitor took for it, and what it takes to do it yourself."""

    def __init__(
        self,
        stopwatch: Stopwatch,
        loader: DataLoader[tuple[Tensor, Tensor]],
        given: dict[str, Tensor],
    ) -> None:
        self.ours: list[tuple[float, float]] = []
        self.theirs: list[tuple[float, float]] = []
        self.apart: dict[str, float] = {}
        self.random: list[tuple[float, float]] = []
        self._stopwatch, self._loader, self._given = stopwatch, loader, given

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.sanity_checking:
            return
        self.ours.append((self._stopwatch.wall, self._stopwatch.processor))
        started = time.perf_counter(), time.process_time()
        expected = yourself(pl_module, self._loader, self._given)
        self.theirs.append((time.perf_counter() - started[0], time.process_time() - started[1]))
        logged = trainer.callback_metrics
        self.random.append((float(logged[BASELINE]), expected[BASELINE]))
        for key, value in expected.items():
            if not key.endswith("_random"):
                apart = abs(float(logged[key]) - value)
                self.apart[key] = max(apart, self.apart.get(key, 0.0))
        self._stopwatch.wall = self._stopwatch.processor = 0.0


def main() -> None:
    """Print the medians of alternating epochs, their ratio, and how far the numbers differ."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--images", type=int, default=1_000)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", module="lightning")
    for name in ("mlflow", "alembic", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.ERROR)
    print(describe())
    L.seed_everything(0, verbose=False)
    data = images(arguments.images, training=False)
    loader, model, space = DataLoader(data, BATCH), Classifier(), load_tiny_clip()
    pixels = [x for x, _ in loader]
    ids = torch.cat([fingerprint(to_uint8(x)) for x in pixels])
    given = {
        "labels": torch.tensor(data.labels),
        "folds": ids & 1,
        "embeddings": torch.cat([space.encode_images(x) for x in pixels]),
        "texts": space.encode_texts([f"an image of a {name}" for name in NAMES]).double(),
    }
    stopwatch = Stopwatch()
    callback = SINGCallback(space, class_names=NAMES, ridge=RIDGE, cache_dir=None)
    both = Both(stopwatch, loader, given)
    with tempfile.TemporaryDirectory() as folder:
        trainer = L.Trainer(
            # The first epoch embeds the probe, the second finds that all is known.
            max_epochs=arguments.repetitions + 2,
            limit_train_batches=1,
            accelerator="cpu",
            logger=tiny.mlflow_logger(Path(folder)),
            callbacks=[monitored(stopwatch, callback, prefix="on_validation"), both],
            default_root_dir=folder,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
        )
        trainer.fit(model, loader, loader)
    ours, theirs = both.ours[2:], both.theirs[2:]
    for k, clock in enumerate(("wall", "processor")):
        a, b = (statistics.median(each[k] for each in side) for side in (ours, theirs))
        print(f"{clock}: monitor {a:.2f} s, yourself {b:.2f} s, {b / a:.0f} times as much")
    worst = max(both.apart, key=lambda key: both.apart[key])
    print(f"largest difference of {len(both.apart)} numbers: {both.apart[worst]:.1e} ({worst})")
    print("{}: monitor {:.2f}, yourself {:.2f} deg".format(BASELINE, *both.random[-1]))


if __name__ == "__main__":
    main()
