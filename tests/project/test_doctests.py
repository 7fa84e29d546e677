"""Every example in a docstring of the package runs.

The modules are imported by their installed names: pytest's own collector would import
``callbacks/`` a second time under another name, and its classes would exist twice.
"""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

import sing_monitor

OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def modules() -> list[str]:
    """Every module but the pages of the app, which are scripts, and the app, which has its own."""
    found = pkgutil.walk_packages(sing_monitor.__path__, "sing_monitor.")
    names = (module.name for module in found)
    skipped = ("sing_monitor.__main__", "sing_monitor.app")
    return ["sing_monitor", *(name for name in names if not name.startswith(skipped))]


@pytest.mark.parametrize("name", modules())
def test_examples_in_docstrings_run(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    assert doctest.testmod(module, optionflags=OPTIONS).failed == 0


def test_doctests_are_found_in_the_package() -> None:
    finder = doctest.DocTestFinder()
    found = [
        test
        for name in modules()
        for test in finder.find(importlib.import_module(name))
        if test.examples
    ]
    assert len(found) >= 5
