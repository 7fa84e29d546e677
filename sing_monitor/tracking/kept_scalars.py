"""Scalars of one validation, kept beside the logger that was given them until MLflow has them.

A logger that writes in a thread of its own (``synchronous=False``) drops what a dead server does
not take, and what a killed process had not sent yet. Here it can be looked up and sent again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient

# MLflow's own tries end within that time: 7 retries with pauses of up to two minutes.
MLFLOW_PATIENCE_SECONDS = 1200.0


@dataclass(frozen=True)
class KeptScalars:
    """What a logger is about to log.

    Args:
        metrics: value by logged name.
        step: MLflow's.
        timestamp: ms, not later than the logger's own.
        witness: the name whose value tells this validation from all others.
    """

    metrics: Mapping[str, float]
    step: int
    timestamp: int
    witness: str

    def save(self, path: Path) -> None:
        """Write the file that :meth:`load` reads."""
        path.write_text(json.dumps(asdict(self)), "utf-8")

    @classmethod
    def load(cls, path: Path) -> KeptScalars:
        """Read the file of :meth:`save`."""
        return cls(**json.loads(path.read_text("utf-8")))

    def have_arrived(self, client: MlflowClient, run_id: str) -> bool:
        """Whether the run holds them, from the logger or from an earlier :meth:`send`.

        The step alone would not tell: a resumed run comes by the same step again.
        """
        return any(
            point.value == self.metrics[self.witness] and point.timestamp >= self.timestamp
            for point in client.get_metric_history(run_id, self.witness)
        )

    def send(self, client: MlflowClient, run_id: str) -> None:
        """Log them as the logger would have done."""
        from mlflow.entities import Metric

        points = [Metric(k, v, self.timestamp, self.step) for k, v in self.metrics.items()]
        client.log_batch(run_id, metrics=points, synchronous=True)
