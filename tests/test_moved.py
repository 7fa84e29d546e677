from __future__ import annotations

import subprocess
import sys

import pytest

from sing_monitor.moved import MOVED


@pytest.mark.parametrize(("old", "new"), MOVED.items())
def test_a_documented_path_still_leads_to_the_module(old: str, new: str) -> None:
    code = (
        f"import {old} as old, {new} as new\n"
        "public = [name for name in vars(new) if not name.startswith('_')]\n"
        "assert public and all(getattr(old, name) is getattr(new, name) for name in public)\n"
        f"assert new.__name__ == {new!r}, new.__name__\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


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
