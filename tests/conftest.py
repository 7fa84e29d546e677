"""Settings of every test run."""

from __future__ import annotations

import gc
import json
import os
import random
import subprocess
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from filelock import FileLock

if TYPE_CHECKING:
    from tests.helpers.finished_run import FinishedRun
    from tests.helpers.stores.servers import MlflowServer

# No test may reach for the network; set before any library reads it.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
# Tiny tensors gain nothing from threads, which crawl as soon as another process wants the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep what imports make, a million objects and no garbage, out of garbage collections.

    Each would take half a second. Accelerate, for one, collects at each training.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """A test draws the same numbers, whichever tests ran before it."""
    import numpy as np
    import torch

    random.seed(0)
    np.random.seed(0)  # noqa: NPY002, what libraries draw from
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder of all processes that share out the tests."""
    base = tmp_path_factory.getbasetemp()
    # They have folders of their own beside each other.
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session", autouse=True)
def current_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What libraries leave in the current folder stays away from the sources."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("current"))
        yield


@pytest.fixture(scope="session", autouse=True)
def one_empty_database(shared_folder: Path) -> Iterator[None]:
    """MLflow lays out one empty database, of which all processes of the tests take copies."""
    from tests.helpers.stores.databases import SHARED

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(SHARED, str(shared_folder / "empty.db"))
        yield


@pytest.fixture(scope="session")
def quickstart_folder(shared_folder: Path) -> Path:
    """Where ``python examples/quickstart.py`` was run, as a newcomer would."""
    folder = shared_folder / "quickstart"
    with FileLock(f"{folder}.lock"):
        if not (folder / "done").exists():
            _run_quickstart(folder)
            (folder / "done").touch()
    return folder


def _run_quickstart(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    script = Path(__file__).parents[1] / "examples" / "quickstart.py"
    with (folder / "output.txt").open("w") as output:
        subprocess.run([sys.executable, script], cwd=folder, check=True, stdout=output, timeout=500)


@pytest.fixture(scope="session")
def run_with_snapshot(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """Three epochs that watch the concepts red and striped."""
    from tests.helpers.finished_run import train

    return train(tmp_path_factory.mktemp("run_with_snapshot"))


@pytest.fixture(scope="session")
def _mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    from tests.helpers.stores.servers import MlflowServer

    server = MlflowServer(tmp_path_factory.mktemp("mlflow_server"))
    try:
        yield server
    finally:
        server.kill()


@pytest.fixture
def mlflow_server(_mlflow_server: MlflowServer) -> MlflowServer:
    """The session's server. It runs, whatever the test before did to it."""
    _mlflow_server.start()
    return _mlflow_server


@pytest.fixture(scope="session")
def clip_space(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A ``space=`` string that open_clip loads from a local file."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("clip")
    vision = {"image_size": 16, "layers": 1, "width": 16, "head_width": 8, "patch_size": 8}
    text = {"context_length": 12, "vocab_size": 49408, "width": 8, "heads": 1, "layers": 1}
    config = folder / "sing-callback-test.json"
    config.write_text(json.dumps({"embed_dim": 12, "vision_cfg": vision, "text_cfg": text}))
    open_clip.add_model_config(config)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        weights = open_clip.create_model("sing-callback-test").state_dict()
    save_file(weights, folder / "tiny.safetensors")
    return f"sing-callback-test/{folder / 'tiny.safetensors'}"
