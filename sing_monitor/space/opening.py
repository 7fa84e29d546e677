"""Opening of the space that an option names, in the first process before the others."""

from __future__ import annotations

from sing_monitor.no_trace import no_trace
from sing_monitor.processes import first_alone
from sing_monitor.space.no_space import NoSpace
from sing_monitor.space.semantic_space import SemanticSpace, resolve_space


def open_space(given: str | SemanticSpace | None) -> SemanticSpace:
    """Open a semantic space; weights are downloaded once. A collective.

    Args:
        given: ``"<open_clip model>/<tag or file>"``, a space, or None for none.

    Raises:
        SetupError: in every process, if one of them cannot load it.
    """
    if given is None:
        return NoSpace()
    with no_trace():
        return first_alone(lambda: resolve_space(given))
