"""PassMaps: feature maps that one process took in one pass."""

from __future__ import annotations

from dataclasses import dataclass

from sing_monitor.errors import SetupError
from sing_monitor.feature_maps import FeatureMaps


@dataclass(frozen=True)
class PassMaps:
    """Maps of one pass, of one process.

    Args:
        maps: of the images of smallest hash; None where there are none.
        reason: why there are none, or what else is worth a line; empty where nothing is.
        fault: the error that cost them, or None.
    """

    maps: FeatureMaps | None = None
    reason: str = ""
    fault: SetupError | None = None
