"""From validation batches to the rows of the probe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch import Tensor

from sing_monitor.callbacks.batches import Batch, check_labels, unpack_batch
from sing_monitor.callbacks.capture import HeadTap, no_trace
from sing_monitor.callbacks.loaders import unknown_positions
from sing_monitor.callbacks.probe import (
    ProbeEmbedder,
    ProbeRows,
    fingerprints,
    in_probe,
)
from sing_monitor.callbacks.setup import MonitorSetup
from sing_monitor.embeddings import Texts
from sing_monitor.geometry import HeadGeometry, Invariance
from sing_monitor.snapshot import Snapshot


class Collector:
    """Collects what one validation pass says about the images of the probe.

    Args:
        tap: on the head.
        embedder: of the semantic space.
        settle: what to conclude from the first batch, once.
        adapter: the user's ``batch_adapter``.
    """

    def __init__(
        self,
        tap: HeadTap,
        embedder: ProbeEmbedder,
        settle: Callable[[Batch], MonitorSetup],
        adapter: Callable[[Any], Any] | None,
    ) -> None:
        self.setup: MonitorSetup | None = None
        self.example = torch.empty(3, 0, 0)
        # The last analysed head, for the drift of the next.
        self.decomposed: tuple[Tensor, HeadGeometry] | None = None
        self._tap = tap
        self._embedder = embedder
        self._settle = settle
        self._adapter = adapter
        self._parts: list[ProbeRows] = []
        self._seen = 0
        self._threshold = 0
        self._positions: Callable[[int, int], Tensor] = unknown_positions

    def start(
        self, *, threshold: int, expected: int, positions: Callable[[int, int], Tensor]
    ) -> None:
        """Begin a pass over about ``expected`` images of the probe.

        Args:
            threshold: of the hashes that belong to the probe.
            expected: for the progress bar.
            positions: ``(start, count) -> (count,)`` indices in the data set of the images from
                place ``start`` on, -1 where they are not known.
        """
        self._parts, self._seen, self._threshold = [], 0, threshold
        self._positions = positions
        self._embedder.start_pass(expected)

    def add(self, raw_batch: Any) -> None:
        """Take the rows of one batch, whose features the tap has just seen.

        Args:
            raw_batch: what the data loader gave, on the model's device.

        Raises:
            MisconfigurationException: if the batch cannot be read.
            ValueError: if the head's calls do not fit it.
        """
        features = self._tap.close()
        batch = unpack_batch(raw_batch, self._adapter)
        if self.setup is None:
            with no_trace():
                self.setup = self._settle(batch)
            _announce_calls(self._tap.calls_per_batch)
        if len(features) != len(batch.images):
            raise ValueError(
                f"the head saw {len(features)} features for a batch of {len(batch.images)} images; "
                "one feature vector for each image is needed."
            )
        if set(batch.attributes) != set(self.setup.attributes):
            raise MisconfigurationException(
                f"this batch carries the attributes {sorted(batch.attributes)}, the first one "
                f"{sorted(self.setup.attributes)}; every batch must carry the same."
            )
        check_labels(batch.labels, self.setup.head.num_classes)
        pixels = self.setup.pixels.restore(batch.images)
        if self.example.numel() == 0:
            self.example = pixels[0]
        image_ids = fingerprints(pixels).cpu()
        index = self._positions(self._seen, len(image_ids))
        self._seen += len(image_ids)
        rows = in_probe(image_ids, self._threshold).nonzero().flatten()
        if len(rows) == 0:
            return
        on_device = rows.to(pixels.device)
        with no_trace():
            embeddings = self._embedder.embed(image_ids[rows], pixels[on_device])
        self._parts.append(
            ProbeRows(
                image_ids[rows],
                batch.labels.cpu()[rows],
                features[rows.to(features.device)].cpu(),
                embeddings,
                index[rows],
                {
                    name: (values.cpu()[rows], tuple(names))
                    for name, (values, names) in batch.attributes.items()
                },
            )
        )

    def finish(self) -> ProbeRows | None:
        """End the pass and hand over its rows; None where this rank saw no image of the probe."""
        self._embedder.end_pass()
        parts, self._parts = self._parts, []
        return ProbeRows.joined(parts) if parts else None

    def snapshot(
        self, rows: ProbeRows, texts: Texts, *, epoch: int, step: int, invariance: Invariance
    ) -> Snapshot:
        """Rows of all ranks as a snapshot, with the head's weight as the features met it."""
        if self.setup is None or self._tap.weight is None:
            raise ValueError("no validation batch was seen, so there is nothing to analyse.")
        known = bool((rows.sample_index >= 0).all())
        return Snapshot(
            weight=self._tap.weight.cpu(),
            bias=None if self._tap.bias is None else self._tap.bias.cpu(),
            features=rows.features,
            labels=rows.labels,
            embeddings=rows.embeddings,
            class_names=self.setup.class_names,
            epoch=epoch,
            step=step,
            image_ids=rows.image_ids,
            sample_index=rows.sample_index if known else None,
            attributes=rows.attributes,
            invariance=invariance,
            texts=texts,
        )


def _announce_calls(calls: int) -> None:
    if calls > 1:
        rank_zero_warn(
            f"SINGCallback: the head is called {calls} times for each batch; the mean of its "
            "features is measured. That is exact where the model averages logits over views of an "
            "image (test-time augmentation). If the calls mean anything else (several images, real "
            "and generated ones), give a loader on which forward calls the head once: "
            "SINGCallback(probe=...)."
        )
