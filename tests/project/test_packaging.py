"""The wheel holds what it should, works outside the checkout, and importing stays light."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import sing_monitor

ROOT = Path(__file__).resolve().parents[2]
INSTALLED_AS = {
    "sing_monitor": "sing_monitor",
    "callbacks": "sing_monitor/callbacks",
    "app": "sing_monitor/app",
}
HEAVY = ("lightning", "mlflow", "open_clip", "pandas", "streamlit", "timm", "torchvision")


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout.strip()


def tracked(folder: str) -> list[Path]:
    """Files of a folder that git tracks; outside a git checkout, all but caches."""
    try:
        listed = run("git", "ls-files", "-z", folder, cwd=ROOT).split("\0")
    except (FileNotFoundError, AssertionError):
        listed = []
    paths = [Path(name) for name in listed if name and (ROOT / name).is_file()]
    if paths:
        return paths
    everything = (path.relative_to(ROOT) for path in (ROOT / folder).rglob("*") if path.is_file())
    return [path for path in everything if "__pycache__" not in path.parts]


def expected_in_wheel() -> set[str]:
    return {
        f"{place}/{path.relative_to(folder).as_posix()}"
        for folder, place in INSTALLED_AS.items()
        for path in tracked(folder)
    }


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def project_version() -> str:
    return project()["version"]


def declared(*extras: str) -> set[str]:
    """Normalised names of the distributions that the project asks pip for."""
    wanted = list(project()["dependencies"])
    for extra in extras:
        wanted += project()["optional-dependencies"][extra]
    return {canonicalize_name(Requirement(line).name) for line in wanted}


def imported(folder: str) -> set[str]:
    """Top-level names that the files of a folder import, wherever in the file."""
    names = set()
    # The command that starts the app may use what the app needs.
    start = ROOT / "sing_monitor" / "commands" / "app.py"
    files = {path for path in (ROOT / folder).rglob("*.py") if path != start}
    files |= {start} if folder == "app" else set()
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module.split(".")[0])
    siblings = {path.stem for place in (folder, "examples") for path in (ROOT / place).glob("*.py")}
    return names - siblings - sys.stdlib_module_names - {"examples", "sing_monitor", "tests"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a copy that holds no untracked file and no earlier build."""
    copy = tmp_path_factory.mktemp("source")
    shipped = [path for folder in INSTALLED_AS for path in tracked(folder)]
    for path in [Path("pyproject.toml"), Path("README.md"), Path("LICENSE"), *shipped]:
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, copy / path)
    pip = (sys.executable, "-m", "pip", "wheel", "--no-index", "--no-deps", "--no-build-isolation")
    run(*pip, "--wheel-dir", copy / "dist", copy, cwd=copy)
    (built,) = (copy / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def stranger(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a new venv with the wheel installed, its dependencies borrowed by a .pth."""
    home = tmp_path_factory.mktemp("stranger") / "venv"
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    install = ("install", "--no-index", "--no-deps", wheel)
    run(sys.executable, "-m", "pip", "--python", python, *install, cwd=home)
    (site,) = home.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def test_wheel_holds_exactly_the_tracked_files(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        files = {name for name in archive.namelist() if name.startswith("sing_monitor/")}
    assert files == expected_in_wheel()
    assert {"sing_monitor/py.typed", "sing_monitor/callbacks/__init__.py"} <= files


def test_wheel_has_one_top_level_package_and_the_licence(wheel: Path) -> None:
    information = f"sing_monitor-{project_version()}.dist-info"
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.split("/")[0] for name in names} == {"sing_monitor", information}
    assert f"{information}/licenses/LICENSE" in names


def test_installed_wheel_is_imported_from_its_own_environment(stranger: Path) -> None:
    code = (
        "import sing_monitor, sing_monitor.callbacks as c, sing_monitor.app as a\n"
        "print(sing_monitor.__version__, *(m.__file__ for m in (sing_monitor, c, a)), sep='\\n')"
    )
    version, *files = run(stranger, "-I", "-c", code, cwd=stranger.parent).splitlines()
    assert version == project_version()
    assert all(Path(file).is_relative_to(stranger.parents[1]) for file in files), files


def test_installed_wheel_offers_the_callback(stranger: Path) -> None:
    code = (
        "import sing_monitor, sing_monitor.callbacks, inspect\n"
        "assert sing_monitor.SINGCallback is sing_monitor.callbacks.SINGCallback\n"
        "print(inspect.getfile(sing_monitor.SINGCallback))"
    )
    file = run(stranger, "-I", "-c", code, cwd=stranger.parent).splitlines()[-1]
    assert Path(file).is_relative_to(stranger.parents[1])


@pytest.mark.parametrize("name", ["callbacks", "app"])
def test_installed_wheel_leaves_common_names_alone(stranger: Path, name: str) -> None:
    code = f"import importlib.util; print(importlib.util.find_spec({name!r}))"
    assert run(stranger, "-I", "-c", code, cwd=stranger.parent) == "None"


def test_import_of_the_package_loads_no_heavy_library() -> None:
    code = "import sys, sing_monitor; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    loaded = run(sys.executable, "-c", code, cwd=ROOT).split()
    assert "sing_monitor" in loaded
    assert not set(loaded) & {*HEAVY, "numpy", "scipy", "torch"}


def test_the_method_loads_neither_a_framework_nor_a_tracker() -> None:
    code = f"""
import importlib, pkgutil, sys
rooms = ("analyses", "head", "scores", "space", "translate")
for room in ("sing_monitor", *(f"sing_monitor.{{name}}" for name in rooms)):
    path = importlib.import_module(room).__path__
    for module in pkgutil.iter_modules(path, f"{{room}}."):
        if module.ispkg:
            continue
        importlib.import_module(module.name)
        for heavy in {HEAVY}:
            if heavy in sys.modules:
                sys.exit(f"{{module.name}} loads {{heavy}}")
print(*(name for name in sys.modules if name.startswith("sing_monitor.")))
"""
    assert "sing_monitor.head.geometry" in run(sys.executable, "-c", code, cwd=ROOT).split()


@pytest.mark.parametrize(
    ("folder", "extras"),
    [
        ("sing_monitor", ("unclip",)),
        ("callbacks", ("transformers",)),
        ("app", ("app",)),
        ("examples", ("examples",)),
        ("tests", ("app", "dev", "examples", "transformers", "unclip")),
    ],
)
def test_every_library_that_is_imported_is_asked_for(folder: str, extras: tuple[str, ...]) -> None:
    providers = importlib.metadata.packages_distributions()
    undeclared = {
        name
        for name in imported(folder)
        if not declared(*extras) & {canonicalize_name(dist) for dist in providers.get(name, ())}
    }
    assert not undeclared


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'SINGCalback'"):
        sing_monitor.SINGCalback  # noqa: B018
    assert "SINGCallback" in dir(sing_monitor)


def test_one_version_everywhere() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    newest = re.search(r"^## \[(\d.*?)\]", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    assert newest is not None
    said = {
        "pyproject.toml": project_version(),
        "CITATION.cff": citation["version"],
        "CHANGELOG.md": newest[1],
        "installed (run `make install`)": importlib.metadata.version("sing-monitor"),
        "__version__": sing_monitor.__version__,
    }
    assert set(said.values()) == {project_version()}, said


def test_citation_names_the_paper() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    (paper,) = citation["references"]
    assert [author["family-names"] for author in paper["authors"]] == [
        "Yadid",
        "Levi",
        "Betser",
        "Gilboa",
    ]
    assert paper["identifiers"][0]["value"] == "arXiv:2603.14610"
