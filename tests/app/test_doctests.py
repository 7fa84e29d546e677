"""Every example in a docstring of the app runs; the pages are scripts and have none."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import sing_monitor.app
import sing_monitor.app.charts

MODULES = [
    f"{package.__name__}.{module.name}"
    for package in (sing_monitor.app, sing_monitor.app.charts)
    for module in pkgutil.iter_modules(package.__path__)
    if module.name not in ("main", "views", "charts")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_run(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_there_are_examples() -> None:
    finder = doctest.DocTestFinder()
    modules = [importlib.import_module(name) for name in MODULES]
    assert sum(bool(test.examples) for module in modules for test in finder.find(module)) >= 5
