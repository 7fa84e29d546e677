"""The imports of the code, read from its text: which module names which, and where."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "sing_monitor"
# setuptools installs these folders inside the package.
FOLDERS = {PACKAGE: PACKAGE, "callbacks": f"{PACKAGE}.callbacks", "app": f"{PACKAGE}.app"}


@dataclass(frozen=True)
class Import:
    """One name that a file imports.

    Args:
        module: the module that the file is.
        name: the full dotted name, as in ``sing_monitor.head.layer.Head``.
        place: file and line.
        is_run: false for imports for type checkers alone.
    """

    module: str
    name: str
    place: str
    is_run: bool

    @property
    def library(self) -> str:
        """Top-level package that it belongs to."""
        return self.name.partition(".")[0]


def python_files(folder: Path) -> list[Path]:
    """Files of Python below a folder; what links lead to is left out."""
    found = (Path(at) / name for at, _, names in os.walk(folder) for name in names)
    return sorted(path for path in found if path.suffix == ".py")


def modules(root: Path) -> dict[str, Path]:
    """File of every module of the package in a checkout, by the module's dotted name."""
    found = {}
    for folder, package in FOLDERS.items():
        for path in python_files(root / folder):
            names = path.relative_to(root / folder).with_suffix("").parts
            found[".".join((package, *names)).removesuffix(".__init__")] = path
    return found


def imports(root: Path) -> list[Import]:
    """Every import of every module, inside functions and for type checkers as well."""
    return [
        Import(module, name, f"{path.relative_to(root)}:{node.lineno}", is_run)
        for module, path in modules(root).items()
        for node, is_run in _statements(ast.parse(path.read_text()))
        for name in _names(node)
    ]


def target(name: str, known: Mapping[str, object]) -> str:
    """The module that holds an imported name: of what is known the longest beginning."""
    while name and name not in known:
        name = name.rpartition(".")[0]
    return name


def _statements(
    tree: ast.AST, is_run: bool = True
) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node, is_run
        elif isinstance(node, ast.If) and _asks_for_type_checking(node.test):
            for each in node.body:
                yield from _statements(ast.Module([each], []), False)
            for each in node.orelse:
                yield from _statements(ast.Module([each], []), is_run)
        else:
            yield from _statements(node, is_run)


def _asks_for_type_checking(test: ast.expr) -> bool:
    return ast.unparse(test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}


def _names(node: ast.Import | ast.ImportFrom) -> list[str]:
    if isinstance(node, ast.Import):
        return [each.name for each in node.names]
    # Relative imports are refused by ruff.
    return [f"{node.module}.{each.name}" for each in node.names]
