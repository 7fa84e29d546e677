"""Opening of the space that an option names, in the first process before the others."""

from __future__ import annotations

from sing_monitor.no_trace import no_trace
from sing_monitor.processes import Processes
from sing_monitor.space.semantic_space import SemanticSpace, resolve_space


def open_space(given: str | SemanticSpace | None, processes: Processes) -> SemanticSpace:
    """Open a semantic space; weights are downloaded once. A collective.

    Args:
        given: ``"<open_clip model>/<tag or file>"``, a space, or None for none.
        processes: that share the training.

    Raises:
        SetupError: in every process, if one of them cannot load it.
    """
    with no_trace():
        return processes.first_alone(lambda: resolve_space(given))
