"""Imports point one way, from room to room, and no room is overfull.

A room is a folder of the package, or a module that lies beside the folders. An import inside a
function and one for type checkers alone count as well: who reads the file must know the other one.
"""

from __future__ import annotations

from collections import Counter
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.helpers.imports import FOLDERS, Import, imports, modules, python_files, target

ROOT = Path(__file__).resolve().parents[1]

# From the bottom to the top: a room imports from those before it.
ROOMS = (
    "errors",
    "keywords",
    "processes",
    "messages",
    "no_trace",
    "row_blocks",
    "untrusted",
    "findings",
    "alerts",
    "headline",
    "space",
    "scores",
    "head",
    "feature_maps",
    "weights",
    "snapshot_file",
    "snapshot",
    "translate",
    "observation",
    "analyses",
    "tracking",
    "lightning_types",
    "inputs",
    "capture",
    "extra_pass",
    "monitor",
    "offline",
    "explain",
    "callbacks",
    "moved",
    "",  # `import sing_monitor` itself
    "commands",
    "__main__",
    "app",
    "app.wording",
    "app.charts",
    "app.read",
    "app.model",
    "app.ui",
    "app.parts",
    "app.views",
    "app.main",
)
# Where a library is imported: the module or, with those below it, the folder.
HOMES = {
    "lightning": ("sing_monitor.callbacks",),
    "pytorch_lightning": ("sing_monitor.callbacks",),
    "accelerate": ("sing_monitor.callbacks",),
    "transformers": ("sing_monitor.callbacks", "sing_monitor.explain.unclip"),
    "mlflow": (
        "sing_monitor.tracking.mlflow",
        "sing_monitor.tracking.mlflow_access",
        "sing_monitor.tracking.mlflow_bulk",
        "sing_monitor.tracking.mlflow_queries",
    ),
    "streamlit": ("sing_monitor.app", "sing_monitor.commands.app"),
}
MOST_FILES = 16  # in a folder, besides its __init__.py
MOST_LINES = 400  # in a file


@pytest.fixture(scope="module")
def found() -> list[Import]:
    return imports(ROOT)


def refuse(said: list[str]) -> None:
    """Fail with one line for each thing that breaks the rule."""
    assert not said, "\n".join(["", *said])


def room(module: str) -> str:
    """Room of a module, by the name that it has in `ROOMS`."""
    parts = module.split(".")[1:]
    return ".".join(parts[:2] if parts[:1] == ["app"] else parts[:1])


def upward(found: list[Import], known: dict[str, Path]) -> list[str]:
    """Imports from a room above, each with its place."""
    said = []
    for each in found:
        if each.library != "sing_monitor":
            continue
        here, there = room(each.module), room(target(each.name, known))
        if ROOMS.index(there) > ROOMS.index(here):
            said.append(f"{each.place} imports {each.name}: {there or 'the top'} is above {here}")
    return said


def strangers(library: str, found: list[Import]) -> list[str]:
    """Imports of a library elsewhere than at its homes."""
    return [
        f"{each.place} imports {each.name}"
        for each in found
        if each.library == library and not any(is_in(each.module, home) for home in HOMES[library])
    ]


def is_in(module: str, home: str) -> bool:
    return f"{module}.".startswith(f"{home}.")


def cycle(found: list[Import], known: dict[str, Path]) -> list[str]:
    """Modules that import each other in turn when they are run; empty without such."""
    graph: dict[str, set[str]] = {module: set() for module in known}
    for each in found:
        if each.library == "sing_monitor" and each.is_run:
            graph[each.module] |= {target(each.name, known)} - {each.module}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_every_room_has_its_place() -> None:
    """A new folder, or a new module beside the folders, is entered in `ROOMS`."""
    assert {room(module) for module in modules(ROOT)} <= set(ROOMS)


@pytest.mark.parametrize("name", ROOMS)
def test_no_import_of_a_room_points_up(name: str, found: list[Import]) -> None:
    refuse(upward([each for each in found if room(each.module) == name], modules(ROOT)))


def test_no_module_imports_itself_by_way_of_others(found: list[Import]) -> None:
    refuse(cycle(found, modules(ROOT)))


@pytest.mark.parametrize("library", HOMES)
def test_a_library_is_imported_at_home_alone(library: str, found: list[Import]) -> None:
    refuse(strangers(library, found))


@pytest.mark.parametrize("top", ["sing_monitor", "callbacks", "app", "tests"])
def test_no_folder_is_overfull(top: str) -> None:
    files = [path for path in python_files(ROOT / top) if path.name != "__init__.py"]
    counts = Counter(path.parent.relative_to(ROOT) for path in files)
    assert counts
    refuse([f"{folder}: {count} files" for folder, count in counts.items() if count > MOST_FILES])


@pytest.mark.parametrize("top", FOLDERS)
def test_no_file_is_too_long(top: str) -> None:
    counts = {
        path.relative_to(ROOT): len(path.read_text().splitlines())
        for path in python_files(ROOT / top)
    }
    assert counts
    refuse([f"{path}: {count} lines" for path, count in counts.items() if count > MOST_LINES])


def test_what_breaks_a_rule_is_named_with_its_line(tmp_path: Path) -> None:
    files = {
        "sing_monitor/__init__.py": "",
        "sing_monitor/head/__init__.py": "",
        "sing_monitor/head/layer.py": "\ndef find():\n    from sing_monitor.space import cache\n",
        "sing_monitor/space/__init__.py": "",
        "sing_monitor/space/cache.py": (
            "from typing import TYPE_CHECKING\n"
            "if TYPE_CHECKING:\n"
            "    from sing_monitor.head.layer import find\n"
            "else:\n"
            "    import lightning.pytorch\n"
        ),
        "callbacks/__init__.py": "",
        "callbacks/sing.py": "import lightning\nfrom sing_monitor.head import layer\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    found, known = imports(tmp_path), modules(tmp_path)
    assert upward(found, known) == [
        "sing_monitor/space/cache.py:3 imports sing_monitor.head.layer.find: head is above space"
    ]
    assert strangers("lightning", found) == [
        "sing_monitor/space/cache.py:5 imports lightning.pytorch"
    ]
    assert cycle(found, known) == []
    (tmp_path / "sing_monitor/space/cache.py").write_text(
        "def f():\n    import sing_monitor.head.layer"
    )
    modules_of_cycle = {"sing_monitor.head.layer", "sing_monitor.space.cache"}
    assert set(cycle(imports(tmp_path), known)) == modules_of_cycle
