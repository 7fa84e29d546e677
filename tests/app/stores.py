"""Builders of real MLflow stores with monitored runs, shared by the tests of the app."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric, Param

from sing_monitor.findings import Findings
from sing_monitor.tracking import Layout, MlflowRun, RunWriter
from tests.helpers.stores.databases import empty_database

START = 1_760_000_000_000  # ms; any fixed day
MINUTE = 60_000

Values = Mapping[str, float]


def plausible(epoch: int, shift: float = 0.0) -> dict[str, float]:
    """Numbers as a healthy run might log them at an epoch; ``shift`` makes runs differ."""
    progress = 1 - math.exp(-(epoch + 1) / 5)
    image, image_random = 20 + 22 * progress + 6 * shift, 30 + 34 * progress
    attribute = (3 - 6 * shift) * progress - 1.2
    magnitude = abs(attribute) + 3
    return {
        "sing/attribute_score": attribute - 4,
        "sing/attribute_score_centered": attribute,
        "sing/attribute_score_random": -5 - 13 * progress,
        "sing/attribute_score_abs_centered": magnitude,
        "sing/image_score_centered": image,
        "sing/image_score_random": image_random,
        "sing/image_score_relative": image / image_random,
        "sing/score_ratio_centered": image / magnitude,
        "sing/attribute_share": attribute / image,
        "sing/attribute_share_random": -0.28,
        "sing/retention": 0.92 - 0.5 * shift - 0.1 * (1 - progress),
        "attribute/ink_colour_retention": 0.15 + 0.6 * shift * progress,
        "head/null_dim": 118.0,
        "head/null_energy_centered": 0.35 - 0.2 * progress + 0.1 * shift,
        "head/null_energy_random": 0.92,
        "translator/r2": 0.3 + 0.4 * progress - 0.05 * shift,
        "translator/cosine": 0.7 + 0.18 * progress - 0.03 * shift,
        "collapse/nc1": 1.2 - progress,
        "monitor/accuracy": 0.3 + 0.66 * progress - 0.1 * shift,
        "monitor/stage": 0.0,
    }


def refitted(epoch: int, shift: float = 0.0) -> dict[str, float]:
    """The same of a version that refits both parts; `plausible` is a run of the version before."""
    progress = 1 - math.exp(-(epoch + 1) / 5)
    whole, hidden = 0.2 + 0.7 * progress, 0.02 + 0.3 * shift * progress
    r2 = 0.3 + 0.4 * progress
    return plausible(epoch, shift) | {
        "sing/class_hidden": hidden,
        "sing/retention_seen": (whole - hidden - 0.1) / (whole - 0.1),
        "sing/hidden_classes": 2.0 * (shift > 0),
        "sing/zero_shot": whole,
        "sing/zero_shot_seen": whole - hidden,
        "sing/zero_shot_null": 0.8 * whole,
        "attribute/ink_colour_retention_seen": 0.2 + 0.5 * shift,
        "attribute/ink_colour_hidden": 0.5 - 0.4 * shift,
        "meaning/unique_seen": 0.02 - 0.05 * (epoch == 0),
        "meaning/unique_null": 0.2,
        "meaning/shared": r2 - 0.22 + 0.05 * (epoch == 0),
        "probe/class_whole": whole + 0.02,
        "probe/class_seen": whole - hidden,
        "probe/class_hidden": hidden + 0.02,
        "translator/r2": r2,
        "translator/ridge": 0.01,
        "translator/saturation": 0.96,
        "monitor/samples": 1000.0,
    }


@dataclass(frozen=True)
class Store:
    """A real store on SQLite, with what is needed to add runs."""

    folder: Path
    client: MlflowClient
    experiments: dict[str, str] = field(default_factory=dict)

    @classmethod
    def at(cls, folder: Path) -> Store:
        """A new database in the folder."""
        return cls(folder, MlflowClient(empty_database(folder / "mlflow.db")))

    @property
    def uri(self) -> str:
        return str(self.client.tracking_uri)

    def run(
        self,
        name: str,
        history: Sequence[Values],
        *,
        experiment: str = "digits",
        monitor: str | None = None,
        run_id: str | None = None,
        status: str | None = "FINISHED",
        started: int = START,
        tags: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        config: Mapping[str, object] | None = None,
        own: Sequence[Values] = (),
        tables: Findings | None = None,
    ) -> str:
        """Log one validation for each entry of the history, as the callback would.

        Args:
            name: of the run.
            history: values by catalogue key, one mapping for each epoch.
            experiment: created when it is new.
            monitor: its name.
            run_id: add a monitor to this run.
            status: None leaves it running.
            started: ms.
            tags: ``reference``, ``space``, ... over the usual ones.
            params: of the run.
            config: settings of the monitor over the usual ones.
            own: metrics of the training itself, one mapping for each epoch.
            tables: written at every epoch.
        """
        run_id = run_id or self._create(name, experiment, started)
        layout = Layout(monitor)
        usual = {"model": "ResNet", "head": "net.fc", "space": "TinyCLIP", "reference": "text"}
        writer = RunWriter(MlflowRun(self.client, run_id), self.folder / "spool", monitor)
        settings = {"prompt": "an image of a {}", **(config or {})}
        writer.describe(settings, {**usual, **(tags or {})})
        metrics = []
        for epoch, values in enumerate(history):
            step = (epoch + 1) * 100
            logged = {layout.metric(key): value for key, value in values.items()}
            logged[layout.metric("monitor/global_step")] = float(step)
            logged["epoch"] = float(epoch)
            logged |= own[epoch] if epoch < len(own) else {}
            at = started + (epoch + 1) * 3 * MINUTE
            metrics += [Metric(key, value, at, step - 1) for key, value in logged.items()]
            found = Findings(values, tables.tables if tables else {})
            if epoch == 0 or tables:
                writer.write(found, epoch=epoch, step=step)
        logged_params = [Param(key, value) for key, value in (params or {}).items()]
        self.client.log_batch(run_id, metrics=metrics[:1000], params=logged_params)
        for start in range(1000, len(metrics), 1000):
            self.client.log_batch(run_id, metrics=metrics[start : start + 1000])
        if status is not None:
            self.client.set_terminated(run_id, status, started + 60 * MINUTE)
        return run_id

    def _create(self, name: str, experiment: str, started: int) -> str:
        if experiment not in self.experiments:
            # A server keeps the files itself.
            is_file = self.uri.startswith("sqlite")
            place = (self.folder / "artifacts").as_uri() if is_file else None
            self.experiments[experiment] = self.client.create_experiment(experiment, place)
        created = self.client.create_run(self.experiments[experiment], started, run_name=name)
        return str(created.info.run_id)


def history(epochs: int, shift: float = 0.0) -> list[dict[str, float]]:
    """A plausible run of so many epochs."""
    return [plausible(epoch, shift) for epoch in range(epochs)]


def refitted_history(epochs: int, shift: float = 0.0, **changes: float) -> list[dict[str, float]]:
    """The same of a version that refits both parts, with some values in place of the usual ones."""
    return [refitted(epoch, shift) | changes for epoch in range(epochs)]


def own_metrics(epochs: int, shift: float = 0.0) -> list[dict[str, float]]:
    """What the training itself logs."""
    return [
        {
            "val_loss": 1.8 * math.exp(-epoch / 6) + 0.1 + 0.2 * shift,
            "val_acc": 0.97 - 0.6 * math.exp(-epoch / 5) - 0.1 * shift,
            "train_loss": 1.9 * math.exp(-epoch / 5),
        }
        for epoch in range(epochs)
    ]
