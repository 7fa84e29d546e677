"""Taps: both taps on the layers before the head, as one."""

from __future__ import annotations

from torch import Tensor, nn

from sing_monitor.capture.device_rows import BatchRows
from sing_monitor.capture.map_tap import MapTap
from sing_monitor.capture.stages.tap import StageTap


class Taps:
    """The tap on the map before the head, and the one on the stages before that.

    Args:
        maps: the former.
        stages: the latter.
    """

    def __init__(self, maps: MapTap, stages: StageTap) -> None:
        self.maps = maps
        self.stages = stages

    def attach(self, model: nn.Module) -> None:
        """Look for the layers of a model at the next batch."""
        self.maps.attach(model)
        self.stages.attach(model)

    def start_pass(self, known: Tensor | None) -> None:
        """Begin a pass.

        Args:
            known: ids of the images of the probe that will come, (R,) int64; None where that is
                not known, and the host looks at them.
        """
        self.maps.start_pass(known)
        self.stages.start_pass(known)

    def open(self) -> None:
        """Listen to the next forward pass, until :meth:`shut`."""
        self.maps.open()
        self.stages.open()

    def shut(self) -> None:
        """Listen no longer, and take all hooks off the model."""
        self.maps.shut()
        self.stages.shut()

    def settle(self) -> None:
        """Conclude from the batch that was just seen which layers are meant."""
        self.maps.settle()
        self.stages.settle()

    def expect(self, batch: BatchRows) -> None:
        """Settle which images' features are taken of a batch, before the model sees it."""
        self.maps.expect(batch)
        self.stages.expect(batch)

    def add(self, rows_of_head: int) -> None:
        """Keep what was taken of a batch, of which the head saw so many rows."""
        self.maps.add(rows_of_head)
        self.stages.add(rows_of_head)

    def skip(self) -> None:
        """Keep nothing of a batch whose features could not be used."""
        self.maps.skip()
        self.stages.skip()

    def share(self, image_ids: tuple[int, ...]) -> None:
        """Say whose features were kept in the last pass, in all processes; nothing if unknown."""
        if image_ids:
            self.maps.shared_ids = self.stages.shared_ids = image_ids

    def abandon(self) -> None:
        """End a pass without its features."""
        self.maps.abandon()
        self.stages.abandon()

    def release(self) -> None:
        """Take all hooks off the model, and forget its layers."""
        self.maps.release()
        self.stages.release()
