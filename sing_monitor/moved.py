"""Import of modules under their former paths, which documents of earlier versions name.

``import sing_monitor.semantics`` gives the names of ``sing_monitor.space.semantic_space``. A class
is the same object under both paths.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

MOVED = {
    "sing_monitor.callbacks.batches": "sing_monitor.inputs.batches",
    "sing_monitor.callbacks.explain": "sing_monitor.explain.image",
    "sing_monitor.callbacks.posthoc": "sing_monitor.offline.analyze",
    "sing_monitor.cli": "sing_monitor.commands.cli",
    "sing_monitor.embeddings": "sing_monitor.space.text_embeddings",
    "sing_monitor.geometry": "sing_monitor.head.geometry",
    "sing_monitor.maps": "sing_monitor.explain.maps",
    "sing_monitor.ridge": "sing_monitor.translate.ridge",
    "sing_monitor.ridge_search": "sing_monitor.translate.ridge_search",
    "sing_monitor.semantics": "sing_monitor.space.semantic_space",
    "sing_monitor.steering": "sing_monitor.translate.steering",
    "sing_monitor.translator": "sing_monitor.translate.translator",
    "sing_monitor.translator_check": "sing_monitor.translate.translator_check",
    "sing_monitor.unclip": "sing_monitor.explain.unclip",
}


class _MovedModules(MetaPathFinder, Loader):
    """Import hook that loads a module from its present path."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname in MOVED else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        # A copy of the namespace, because the import system writes the old name into the module.
        module = ModuleType(spec.name)
        module.__dict__.update(vars(import_module(MOVED[spec.name])))
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing: the module has run under its present path."""


def install() -> None:
    """Install the import hook; a second call changes nothing."""
    if not any(isinstance(finder, _MovedModules) for finder in sys.meta_path):
        sys.meta_path.append(_MovedModules())
