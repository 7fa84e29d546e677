"""Where in an image features stand: importance of locations, and how it is spread."""

from sing_monitor.analyses.focus.locations import importance, normalized_entropy, uncritical

__all__ = ["importance", "normalized_entropy", "uncritical"]
