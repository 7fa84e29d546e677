"""Every example in a docstring of the app runs; the pages are scripts and have none."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import sing_monitor.app

MODULES = [
    module.name
    for module in pkgutil.walk_packages(sing_monitor.app.__path__, "sing_monitor.app.")
    if not module.name.startswith(("sing_monitor.app.main", "sing_monitor.app.views"))
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_run(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_there_are_examples() -> None:
    finder = doctest.DocTestFinder()
    modules = [importlib.import_module(name) for name in MODULES]
    assert sum(bool(test.examples) for module in modules for test in finder.find(module)) >= 5
