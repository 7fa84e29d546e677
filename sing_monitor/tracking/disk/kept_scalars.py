"""Scalars of one validation, kept beside the logger that was given them until the run has them.

A logger that writes in a thread of its own (``synchronous=False``) drops what a dead server does
not take, and what a killed process had not sent yet. Here it can be looked up and sent again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from sing_monitor.tracking.backend import Run


@dataclass(frozen=True)
class KeptScalars:
    """What a logger is about to log.

    Args:
        metrics: value by logged name.
        step: the tracker's.
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

    def have_arrived(self, run: Run) -> bool:
        """Whether the run holds them, from the logger or from an earlier :meth:`send`.

        The step alone would not tell: a resumed run comes by the same step again.
        """
        return run.has_scalar(self.witness, self.metrics[self.witness], self.timestamp)

    def send(self, run: Run) -> None:
        """Log them as the logger would have done."""
        run.put_scalars(self.metrics, self.step, self.timestamp)
