"""Completeness: whether a block went over all images, as a `break` may prevent."""

from __future__ import annotations

from sing_monitor.monitor.exchange import Outcome
from sing_monitor.monitor.session import Session


class Completeness:
    """Compares how many images the blocks of one training went over."""

    def __init__(self) -> None:
        self._judged: Outcome | None = None
        self._before = 0  # the most images of one block

    def lacking(self, session: Session, epoch: int) -> str | None:
        """A warning where the block that has ended went over fewer images than it should.

        Args:
            session: whose last validation has just ended.
            epoch: of the block.

        Returns:
            None for a whole pass, and where the pass was not analyzed.
        """
        outcome, planned = session.last, session.images
        seen = outcome.seen
        if outcome is self._judged or seen is None:
            return None
        self._judged, before = outcome, self._before
        self._before = max(before, seen)
        whole = before if planned is None else planned
        if seen >= whole:
            return None
        whose = "as in a block before" if planned is None else "of the loader"
        return (
            f"the block of epoch {epoch} went over {seen} images, and not over {whole} {whose}, as "
            "where a `break` leaves the loop. The numbers are of these images alone; degrees of "
            "more or fewer images do not compare. Run the model over all of them every time; if "
            "the block has another loader, name it: monitor.epoch(epoch, loader=...)."
        )
