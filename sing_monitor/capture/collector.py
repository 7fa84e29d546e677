"""From validation batches to the rows of the probe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from sing_monitor.capture.device_rows import BatchRows, SeenRows, wanted
from sing_monitor.capture.head_tap import HeadTap
from sing_monitor.capture.matched_rows import (
    batch_for_adapter,
    called_on_parts,
    largest_of_all,
    one_less,
    reorders_labels,
    rows_of_the_head,
)
from sing_monitor.capture.ongoing_pass import KnownImages, OngoingPass
from sing_monitor.capture.placement import Smallest
from sing_monitor.capture.probe import Account, ProbeEmbedder, ProbeRows, fingerprints_of, in_probe
from sing_monitor.capture.stages.taps import Taps
from sing_monitor.errors import SetupError, as_setup_error
from sing_monitor.head.geometry import HeadGeometry
from sing_monitor.inputs.batches import Batch, unpack_batch
from sing_monitor.inputs.labels import check_attribute, check_labels, has_class
from sing_monitor.inputs.loaders import ImageOrder
from sing_monitor.inputs.pixels import refuse_other_scale
from sing_monitor.inputs.resolved_inputs import ResolvedInputs
from sing_monitor.messages import warn
from sing_monitor.no_trace import no_trace


class Collector:
    """Collects what one validation pass says about the images of the probe.

    A batch is read before the model sees it (:meth:`read`), so that whatever the step does with it
    is of no matter; its features are taken afterwards (:meth:`add`).

    A pass looks at pixels, to embed images that are not known and to keep small pictures of all,
    until one of as many images has brought nothing new. Later passes do not: what they see stays on
    the model's device, and nothing waits for it before :meth:`finish`. Should an image be unknown
    after all, because the validation set has changed, it is missing in that pass, and counted; the
    next one looks at pixels again.

    Args:
        tap: on the head.
        taps: on the layers before it.
        embedder: of the semantic space.
        settle: what to conclude from the first batch, once.
        adapter: the user's ``batch_adapter``.
        probe_size: the most images that are scored.
        groups: name under which a batch holds the group of each image, or None.
    """

    def __init__(
        self,
        tap: HeadTap,
        taps: Taps,
        embedder: ProbeEmbedder,
        settle: Callable[[Batch], ResolvedInputs],
        adapter: Callable[[Any], Any] | None,
        probe_size: int,
        groups: str | None = None,
    ) -> None:
        self.setup: ResolvedInputs | None = None
        self.example = torch.empty(3, 0, 0)
        self.account = Account()
        # The last analysed head, for the drift of the next.
        self.decomposed: tuple[Tensor, HeadGeometry] | None = None
        self._tap = tap
        self._taps = taps
        self._embedder = embedder
        self._settle = settle
        self._adapter = adapter
        self._probe_size = probe_size
        self._groups = groups
        self._pass: OngoingPass | None = None
        self._read: BatchRows | None = None
        self._unsettled: Batch | None = None
        self._known: KnownImages | None = None
        self._has_announced_calls = False
        self._reorders = False
        self._largest_given: int | None = None  # label of the loader's first batch
        # Once a loader has not kept to its plan, its positions are not to be trusted any more.
        self._disorder = ""

    def start(
        self, *, threshold: int, images: int | None, batches: float, order: ImageOrder
    ) -> None:
        """Begin a pass.

        Args:
            threshold: of the hashes that may belong to the probe.
            images: how many the pass will see, on all ranks together; None where that is not known.
            batches: how many this rank will run; may be infinite.
            order: of the loader's images in its data set.
        """
        known, self._known = self._known, None
        self.account, self._read, self._unsettled = Account(), None, None
        extent = batches if images is None else images
        expected = None if images is None else min(images, self._probe_size)
        self._pass = OngoingPass.begun(
            extent,
            order,
            known,
            disorder=order.reason or self._disorder,
            threshold=threshold,
            probe_size=self._probe_size,
            expected=expected or 0,
        )
        self._embedder.start_pass(expected)
        looks = self._pass.looks is not None
        self._taps.start_pass(None if looks or known is None else known.image_ids)

    def read(self, raw_batch: Any) -> None:
        """Read a batch that the model is about to see.

        What cannot be read yet, because the step makes it, is read in :meth:`add`.

        Args:
            raw_batch: what the data loader gave, on the model's device.

        Raises:
            SetupError: if the batch contradicts the model or the batches before.
            ValueError: for an image that cannot be embedded.
        """
        self._read = self._unsettled = None
        try:
            batch = self._unpacked(raw_batch)
        except SetupError:
            return
        if self.setup is None:
            # Which layer is the head, and so how many classes there are, shows in the step.
            self._unsettled = batch.copied()
        else:
            self._read = self._rows_of(batch)

    @property
    def seen(self) -> int:
        """How many images of the pass that goes on have come so far."""
        return 0 if self._pass is None else self._pass.seen

    def unsettled(self, raw_batch: Any) -> Batch:
        """A batch before which nothing was settled, as it was before the step.

        Raises:
            SetupError: if it was not read before, and cannot be.
        """
        return self._unpacked(raw_batch) if self._unsettled is None else self._unsettled

    def lose(self, raw_batch: Any, reason: Exception) -> None:
        """Go without a batch that was not read, and count its images."""
        if self._pass is None:
            raise RuntimeError("no pass was started.")
        size = len(self.unsettled(raw_batch).shown)
        self._pass.seen += size
        self._pass.unread += size
        self._pass.batches += 1
        self._pass.lost_batches += 1
        self._pass.failure = self._pass.failure or reason
        self._read = self._unsettled = None

    def add(self, raw_batch: Any) -> None:
        """Take the features of one batch, which the tap has just seen.

        A batch whose features cannot be told apart is lost, and counted.

        Args:
            raw_batch: what the data loader gave, on the model's device.

        Raises:
            SetupError: if the batch was not read before, and cannot be.
        """
        if self._pass is None:
            raise RuntimeError("no pass was started.")
        current, rows = self._pass, self._read
        if rows is None:
            rows = self._rows_of(self.unsettled(raw_batch))
        self._read = self._unsettled = None
        try:
            features: Tensor | None = self._tap.close()
        except ValueError as error:
            features, failure = None, error
        calls = self._tap.calls_per_batch
        if features is not None and calls > 1 and len(features) != len(rows):
            failure = called_on_parts(calls, len(features), len(rows))
            features = None
        current.seen += len(rows)
        try:
            if features is None:
                # A step may well leave out the call where none of the images has a class.
                chosen = rows_of_the_head(rows, None, failure)
            else:
                chosen = rows_of_the_head(rows, len(features))
        except ValueError as error:
            current.lost_batches += 1
            current.failure = current.failure or error
            current.rows.add(rows, None)
            self._taps.skip()
            self._keep_positions(current, rows)
            return
        if chosen is not None:
            current.filtered += len(rows) - len(chosen)
            rows = rows[chosen]
        if features is not None:
            self._announce_calls()
            current.rows.add(rows, features)
            self._taps.add(len(features))
            self._keep_positions(current, rows)

    def finish(self) -> ProbeRows | None:
        """End the pass and hand over its rows. Here, and only here, all that was seen is copied.

        Returns:
            None where this rank has taken no features; :attr:`account` then says why.

        Raises:
            SetupError: if a label or the value of an attribute is out of range.
            ValueError: if the head does not compute W f + b.
        """
        ended = self._pass
        self.abandon()
        if ended is None:
            return None
        self._disorder = self._disorder or ended.disorder
        self.account = Account(
            seen=ended.seen,
            missing=ended.unread,
            unlabeled=ended.filtered,
            filtered=ended.filtered,
            lost_batches=ended.lost_batches,
            lost_reason=None if ended.failure is None else as_setup_error(ended.failure),
            disorder=ended.disorder,
        )
        seen = ended.rows.on_cpu()
        if seen is None or self.setup is None:
            return None
        self._tap.check()
        check_labels(seen.labels, self.setup.head.num_classes)
        for name, (values, names) in seen.attributes.items():
            check_attribute(name, values, names)
        rows = self._embedded(ended, seen)
        return rows if bool(seen.used.any()) else None

    def abandon(self) -> None:
        """End a pass that has failed: nothing is handed over, and the next looks at pixels."""
        self._embedder.end_pass()
        self._pass = self._read = self._unsettled = None

    def _unpacked(self, raw_batch: Any) -> Batch:
        if self._adapter is None:
            return unpack_batch(raw_batch, groups=self._groups)
        is_first = self.setup is None
        with batch_for_adapter(raw_batch, is_first=is_first) as given:
            batch = unpack_batch(given, self._adapter, self._groups)
        if is_first:
            self._reorders = reorders_labels(raw_batch, batch.labels)
            self._largest_given = largest_of_all(raw_batch)
        return batch

    def _rows_of(self, batch: Batch) -> BatchRows:
        """What is kept of a batch; embeds its images where the pass looks at pixels."""
        current = self._pass
        if current is None:
            raise RuntimeError("no pass was started.")
        if self.setup is None:
            with no_trace():
                setup = self._settle(batch)
            self.setup = setup.renumbered() if self._reorders else setup
            if self._largest_given == setup.head.num_classes:
                warn(one_less(setup.head.num_classes))
            if not self.setup.has_pictures:
                self._embedder.keep_no_pictures()
        self.setup.check(batch)
        if self.example.numel() == 0 and len(batch.shown):
            self.example = self.setup.pixels.restore(batch.shown[:1])[0]
        image_ids = fingerprints_of(batch.shown, self.setup.pixels)
        looked = None if current.looks is None else image_ids.cpu()
        if current.looks is not None and looked is not None:
            pixels = self.setup.pixels.restore(batch.shown)
            if len(pixels):
                self._check_scale(self.setup, batch.shown)
            self._look(looked, wanted(batch.labels, looked.device), pixels, current.looks)
        positions = None
        if not current.disorder:
            positions = current.order.positions(current.batches, len(batch.shown))
            if positions is None:
                current.disorder = (
                    f"a batch holds {len(batch.shown)} images where the loader plans another "
                    "number (collate_fn or batch_adapter drops or adds some)"
                )
        current.batches += 1
        with torch.inference_mode(False), torch.no_grad():
            # Copies, because a step may change a batch, and a loader use its memory again.
            rows = BatchRows(
                image_ids.clone(),
                batch.labels.clone(),
                {
                    name: (values.clone(), tuple(n))
                    for name, (values, n) in batch.attributes.items()
                },
                positions,
                looked,
                None if batch.group is None else batch.group.clone(),
            )
        self._taps.expect(rows)
        return rows

    def _check_scale(self, setup: ResolvedInputs, images: Tensor) -> None:
        """Refuse images of another scale; without a space it is pictures alone that they cost."""
        try:
            refuse_other_scale(setup.pixels, images)
        except SetupError:
            if setup.has_space:
                raise
            self._embedder.keep_no_pictures()

    def _look(
        self, image_ids: Tensor, is_wanted: Tensor, pixels: Tensor, placement: Smallest
    ) -> None:
        """Embed the images of the probe and keep small pictures. Waits for the device."""
        chosen = placement.choose(image_ids, is_wanted).nonzero().flatten()
        if len(chosen):
            with no_trace():
                on_device = pixels[chosen.to(pixels.device)]
                self._embedder.embed(image_ids[chosen], on_device)

    def _keep_positions(self, current: OngoingPass, rows: BatchRows) -> None:
        unknown = torch.full((len(rows),), -1)
        current.positions.append(unknown if rows.positions is None else rows.positions)

    def _embedded(self, ended: OngoingPass, seen: SeenRows) -> ProbeRows:
        """The images of the probe whose features and embeddings there are."""
        is_labeled, threshold = has_class(seen.labels), ended.rows.threshold
        belongs = in_probe(seen.image_ids, threshold) & is_labeled
        placed = (belongs & (seen.places >= 0)).nonzero().flatten()
        embeddings, known = self._embedder.recall(seen.image_ids[placed])
        kept = placed[known]
        positions = torch.cat(ended.positions)
        missing = belongs.index_fill(0, kept, False)
        if ended.disorder:
            positions = torch.full_like(positions, -1)
            # What has come again may well have a row from the other time.
            missing &= ~torch.isin(seen.image_ids, seen.image_ids[kept])
        unlabeled = self.account.unlabeled + int((~is_labeled).sum())
        self.account = replace(
            self.account,
            missing=ended.unread
            + (len(seen.image_ids[missing].unique()) if ended.disorder else int(missing.sum())),
            unlabeled=unlabeled,
        )
        is_complete = ended.unread == 0 and not bool((missing & seen.used).any())
        ids = seen.image_ids[belongs]
        # A pass without any image of a class tells nothing of the next.
        if self._embedder.unknown == 0 and is_complete and len(ids):
            self._known = KnownImages(ended.extent, ids.unique(sorted=True), len(ids))
        rows = ProbeRows(
            seen.image_ids[kept],
            seen.labels[kept],
            seen.features[seen.places[kept]],
            embeddings[known],
            positions[kept],
            {name: (values[kept], names) for name, (values, names) in seen.attributes.items()},
            threshold,
            None if seen.groups is None else seen.groups[kept],
        )
        return ProbeRows.joined([rows], self._probe_size)

    def _announce_calls(self) -> None:
        calls = self._tap.calls_per_batch
        if calls > 1 and not self._has_announced_calls:
            warn(
                f"the head is called {calls} times for each batch; the mean of its "
                "features is measured. That is exact where the model averages logits over views of "
                "an image (test-time augmentation). If the calls mean anything else (several "
                "images, real and generated ones), give a loader on which forward calls the head "
                "once: probe= of the callback, or monitor.measure(loader)."
            )
        self._has_announced_calls = True

    @property
    def head_parameters(self) -> tuple[Tensor, Tensor | None]:
        """Weight (C, m) and bias (C,) of the head, as they were in the last pass.

        Raises:
            ValueError: before any batch was seen.
        """
        if self._tap.weight is None:
            raise ValueError("no validation batch was seen, so there is nothing to analyze.")
        return self._tap.weight, self._tap.bias
