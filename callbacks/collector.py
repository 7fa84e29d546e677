"""From validation batches to the rows of the probe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch import Tensor

from sing_monitor.callbacks.batches import Batch, check_attribute, check_labels, unpack_batch
from sing_monitor.callbacks.capture import HeadTap, no_trace
from sing_monitor.callbacks.device_rows import DeviceRows, SeenRows
from sing_monitor.callbacks.pixels import refuse_other_scale
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


@dataclass
class _Pass:
    """One pass while it goes on; ``looks``: at pixels."""

    images: int
    threshold: int
    positions: Callable[[int], Tensor]
    rows: DeviceRows
    looks: bool
    embeddings: list[Tensor] = field(default_factory=list)


class Collector:
    """Collects what one validation pass says about the images of the probe.

    A pass looks at pixels, to embed images that are not known and to keep small pictures of all,
    until one of as many images has brought nothing new. Later passes do not: what they see stays on
    the model's device, and nothing waits for it before :meth:`finish`. Should an image be unknown
    after all, because the validation set has changed, it is missing in that pass, and counted; the
    next one looks at pixels again.

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
        self._pass: _Pass | None = None
        # How many images the last pass saw, and how many of the probe, if all were known.
        self._known: tuple[int, int] | None = None

    def start(
        self,
        *,
        threshold: int,
        images: int,
        expected: int,
        positions: Callable[[int], Tensor],
    ) -> None:
        """Begin a pass.

        Args:
            threshold: of the hashes that belong to the probe.
            images: about how many the pass will see, on all ranks together.
            expected: how many of them belong to the probe.
            positions: ``count -> (count,)`` indices in the data set of the first images, -1 where
                they are not known.
        """
        known, self._known = self._known, None
        looks = known is None or known[0] != images
        rows = DeviceRows(threshold, expected if known is None or looks else known[1])
        self._pass = _Pass(images, threshold, positions, rows, looks)
        self._embedder.start_pass(expected)

    def add(self, raw_batch: Any) -> None:
        """Take the rows of one batch, whose features the tap has just seen.

        Args:
            raw_batch: what the data loader gave, on the model's device.

        Raises:
            MisconfigurationException: if the batch cannot be read.
            ValueError: if the head's calls do not fit it.
        """
        if self._pass is None:
            raise RuntimeError("no pass was started.")
        features = self._tap.close()
        batch = unpack_batch(raw_batch, self._adapter)
        if self.setup is None:
            with no_trace():
                self.setup = self._settle(batch)
            _announce_calls(self._tap.calls_per_batch)
        _check_shape(batch, features, self.setup)
        pixels = self.setup.pixels.restore(batch.shown)
        if self.example.numel() == 0:
            self.example = pixels[0].clone()
        image_ids = fingerprints(pixels)
        if self._pass.looks:
            refuse_other_scale(self.setup.pixels, batch.shown)
            self._look(image_ids.cpu(), pixels, self._pass)
        self._pass.rows.add(image_ids, features, batch)

    def finish(self) -> ProbeRows | None:
        """End the pass and hand over its rows. Here, and only here, all that was seen is copied.

        Returns:
            None where this rank saw no image of the probe.

        Raises:
            MisconfigurationException: if a label or the value of an attribute is out of range.
            ValueError: if the head does not compute W f + b.
        """
        ended = self._pass
        self.abandon()
        seen = None if ended is None else ended.rows.on_cpu()
        if ended is None or seen is None or self.setup is None:
            return None
        self._tap.check()
        check_labels(seen.labels, self.setup.head.num_classes)
        for name, (values, names) in seen.attributes.items():
            check_attribute(name, values, names)
        chosen = in_probe(seen.image_ids, ended.threshold).nonzero().flatten()
        if len(chosen) == 0:
            return None
        rows = self._embedded(ended, seen, chosen)
        if rows.missing == 0 and self._embedder.unknown == 0:
            self._known = ended.images, len(chosen)
        return ProbeRows.joined([rows])

    def abandon(self) -> None:
        """End a pass that has failed: nothing is handed over, and the next looks at pixels."""
        self._embedder.end_pass()
        self._pass = None

    def _look(self, image_ids: Tensor, pixels: Tensor, current: _Pass) -> None:
        """Embed the images of the probe and keep small pictures. Waits for the device."""
        chosen = in_probe(image_ids, current.threshold).nonzero().flatten()
        current.rows.reserve(len(chosen))
        if len(chosen):
            with no_trace():
                on_device = pixels[chosen.to(pixels.device)]
                current.embeddings.append(self._embedder.embed(image_ids[chosen], on_device))

    def _embedded(self, ended: _Pass, seen: SeenRows, chosen: Tensor) -> ProbeRows:
        """Those of the chosen images whose features and embeddings there are."""
        kept = chosen[: len(seen.features)]
        if ended.looks:
            embeddings, known = torch.cat(ended.embeddings), torch.ones(len(kept), dtype=torch.bool)
        else:
            embeddings, known = self._embedder.recall(seen.image_ids[kept])
        place = kept[known]
        return ProbeRows(
            seen.image_ids[place],
            seen.labels[place],
            seen.features[known],
            embeddings[known],
            ended.positions(len(seen.image_ids))[place],
            {name: (values[place], names) for name, (values, names) in seen.attributes.items()},
            missing=len(chosen) - len(place),
        )

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


def _check_shape(batch: Batch, features: Tensor, setup: MonitorSetup) -> None:
    """What a batch tells without a look at its numbers."""
    if len(features) != len(batch.shown):
        raise ValueError(
            f"the head saw {len(features)} features for a batch of {len(batch.shown)} images; "
            "one feature vector for each image is needed."
        )
    given = {name: names for name, (_, names) in batch.attributes.items()}
    settled = {name: texts.names for name, texts in setup.attributes.items()}
    if given != settled:
        raise MisconfigurationException(
            f"this batch carries the attributes {given}, the first one {settled}; every batch must "
            "carry the same, with the same names of values."
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
