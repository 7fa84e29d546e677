"""What an analysis is: a function of an observation, and the specs of what it finds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from sing_monitor.findings import Findings, MetricSpec, TableSpec
from sing_monitor.observation import Observation

Need = Literal["labels", "embeddings", "maps", "weights", "stages"]


def needs_met(*, embeddings: bool, maps: bool, weights: bool, stages: bool) -> frozenset[Need]:
    """What there is of a validation beside its labels, which every one has."""
    found: dict[Need, bool] = {
        "labels": True,
        "embeddings": embeddings,
        "maps": maps,
        "weights": weights,
        "stages": stages,
    }
    return frozenset(need for need, is_there in found.items() if is_there)


@dataclass(frozen=True)
class Analysis:
    """One question to a validation.

    Args:
        name: lower-case letters and underscores.
        run: answers it; a function of nothing but the observation.
        metrics: every scalar that it returns.
        tables: every table that it may return, with all columns.
        needs: what must have been captured: ``labels``, ``embeddings`` of images and texts in a
            semantic space, ``maps`` of the last layers, the trajectory of the ``weights`` or
            features of earlier ``stages``. The analysis is left out where one of them is missing.
        part_of: the analysis that this one is a part of, for those who choose (``analyses=``).
    """

    name: str
    run: Callable[[Observation], Findings]
    metrics: tuple[MetricSpec, ...] = ()
    tables: tuple[TableSpec, ...] = ()
    needs: frozenset[Need] = frozenset()
    part_of: str | None = None

    @property
    def choice(self) -> str:
        """The name by which users choose it, alone or with all that belongs to it."""
        return self.part_of or self.name
