"""State of one validation pass while it goes on."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from sing_monitor.capture.device_rows import DeviceRows
from sing_monitor.capture.placement import ById, InOrder, Placement, Smallest
from sing_monitor.inputs.loaders import ImageOrder


@dataclass(frozen=True)
class KnownImages:
    """The images of the probe in a pass that brought none that was new.

    Args:
        extent: number of images, or of batches, that the pass was to see.
        image_ids: distinct and sorted, (R,).
        rows: how often they came, copies included.
    """

    extent: object
    image_ids: Tensor
    rows: int


@dataclass
class OngoingPass:
    """State of one pass.

    Args:
        extent: number of images, or of batches, that it is to see.
        order: of the loader's images in its data set.
        rows: features on the device.
        looks: placement of the rows where the host looks at pixels; None where it does not.
        batches: number of batches so far.
        seen: number of images so far.
        unread: images of lost batches that were never read.
        filtered: images that the head did not see.
        positions: in the data set, of each batch.
        disorder: why positions are not known; empty where they are.
        lost_batches: number of batches that could not be used.
        failure: why, for the first of them.
    """

    extent: object
    order: ImageOrder
    rows: DeviceRows
    looks: Smallest | None
    batches: int = 0
    seen: int = 0
    unread: int = 0
    filtered: int = 0
    positions: list[Tensor] = field(default_factory=list)
    disorder: str = ""
    lost_batches: int = 0
    failure: Exception | None = None

    @classmethod
    def begun(
        cls,
        extent: object,
        order: ImageOrder,
        known: KnownImages | None,
        *,
        disorder: str,
        threshold: int,
        probe_size: int,
        expected: int,
    ) -> OngoingPass:
        """A pass that begins; it looks at pixels unless the last one of its extent knew all images.

        Args:
            extent: number of images, or of batches, that it is to see.
            order: of the loader's images in its data set.
            known: images of the last pass, if it brought none that was new.
            disorder: why positions are not known; empty where they are.
            threshold: of the hashes that may belong to the probe.
            probe_size: the most images that are scored.
            expected: number of images of the probe; 0 where it is not known.
        """
        looks: Smallest | None = None
        placement: Placement
        if known is None or known.extent != extent:
            looks = placement = Smallest(
                threshold, probe_size, is_once=bool(disorder), expected=expected
            )
        elif disorder and len(known.image_ids):
            placement = ById(threshold, known.image_ids)
        else:
            placement = InOrder(threshold, known.rows)
        return cls(extent, order, DeviceRows(placement), looks, disorder=disorder)
