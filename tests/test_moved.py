from __future__ import annotations

import subprocess
import sys

import pytest

from sing_monitor.moved import MOVED

# One process, for libraries load slowly; the package itself is loaded anew for each path.
CODE = f"""
import sys
from importlib import import_module

finders = list(sys.meta_path)
for old_path, new_path in {MOVED!r}.items():
    sys.meta_path[:] = finders
    for name in [name for name in sys.modules if name.partition(".")[0] == "sing_monitor"]:
        del sys.modules[name]
    old, new = import_module(old_path), import_module(new_path)
    public = [name for name in vars(new) if not name.startswith("_")]
    assert public and all(getattr(old, name) is getattr(new, name) for name in public), old_path
    assert new.__name__ == new_path, new.__name__
    print(old_path)
"""


def test_a_documented_path_still_leads_to_the_module() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE], check=True, timeout=120, stdout=subprocess.PIPE, text=True
    )
    assert done.stdout.split() == list(MOVED)


def test_names_can_be_imported_as_the_release_documents_them() -> None:
    from sing_monitor.callbacks.batches import Batch
    from sing_monitor.callbacks.explain import explain_image
    from sing_monitor.semantics import SemanticSpace

    found = (Batch, explain_image, SemanticSpace)
    assert [each.__module__.rpartition(".")[0] for each in found] == [
        "sing_monitor.inputs",
        "sing_monitor.explain",
        "sing_monitor.space",
    ]


def test_a_path_that_never_was_is_still_an_error() -> None:
    with pytest.raises(ModuleNotFoundError):
        import sing_monitor.semantic  # noqa: F401
