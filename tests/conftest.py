"""Settings of every test run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.servers import MlflowServer

# No test may reach for the network; set before any library reads it.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
# Tiny tensors gain nothing from threads, which crawl as soon as another process wants the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def quickstart_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where ``python examples/quickstart.py`` was run, as a newcomer would."""
    folder = tmp_path_factory.mktemp("quickstart")
    script = Path(__file__).parents[1] / "examples" / "quickstart.py"
    with (folder / "output.txt").open("w") as output:
        subprocess.run([sys.executable, script], cwd=folder, check=True, stdout=output, timeout=500)
    return folder


@pytest.fixture(scope="session")
def _mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    from tests.servers import MlflowServer

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
