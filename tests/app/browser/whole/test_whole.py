"""From a training that is killed to a page of the app, on the servers that a team has.

PostgreSQL holds the curves, an MLflow server hands out everything else, and nginx lets in those who
have a password: trainings to MLflow, browsers to the app.
"""

from __future__ import annotations

import math
import os
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
import sqlalchemy
from playwright.sync_api import Browser, BrowserContext, expect

from sing_monitor.tracking import RunReader
from tests.app.browser.conftest import WINDOW, Open
from tests.helpers.stores import postgresql, proxy
from tests.helpers.stores.servers import MlflowServer, free_port, serving

ROOT = Path(__file__).parents[4]
TRAIN = "tests.app.browser.whole.train"
USER, PASSWORD = "alice", "with a space: and an é"
SYNCED, RESUMED = "handed-over", "resumed"  # names of the runs, and of the folders of their jobs


@dataclass(frozen=True)
class Servers:
    """What a team shares.

    Attributes:
        database: address of PostgreSQL.
        uri: that of the proxy.
        artifacts: folder of MLflow's server.
        app_port: the port at which the proxy looks for the app.
    """

    database: str
    uri: str
    artifacts: Path
    app_port: int


@dataclass(frozen=True)
class Job:
    """A training in a folder of its own, and what the server knew of it when it was killed."""

    folder: Path
    reader: RunReader
    validations_at_the_kill: list[tuple[int, int]]
    scalars_at_the_kill: int


@pytest.fixture(scope="module")
def servers(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """PostgreSQL, an MLflow server on it, and nginx before that, where this process logs in."""
    programs = found(postgresql.find_programs(), "postgresql")
    nginx = found(proxy.find_nginx(), "nginx")
    folder, port, app_port = tmp_path_factory.mktemp("team"), free_port(), free_port()
    with postgresql.database(programs) as database, pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_SERVER_ALLOWED_HOSTS", f"127.0.0.1:{port}")
        server = MlflowServer(folder, database)
        server.start()
        addresses = {
            "mlflow": server.uri.removeprefix("http://"),
            "app": f"127.0.0.1:{app_port}",
        }
        own = tmp_path_factory.mktemp("proxy")
        try:
            with proxy.proxy(nginx, own, port, {USER: PASSWORD}, **addresses) as certificate:
                patch.setenv("MLFLOW_TRACKING_USERNAME", USER)
                patch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
                patch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(certificate))
                uri = f"https://127.0.0.1:{port}"
                yield Servers(database, uri, folder / "artifacts", app_port)
        finally:
            server.kill()


def found(program: Path | None, package: str) -> Path:
    """What was looked for. Without it these tests are skipped, but never in CI."""
    if program is None:
        reason = f"it is not on this machine: apt-get install {package}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return program


@pytest.fixture(scope="module")
def app_url(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The app behind the proxy, started as docs/team.md says."""
    port = str(servers.app_port)
    with serving(
        [sys.executable, "-m", "sing_monitor", "app", "--port", port],
        f"http://127.0.0.1:{port}/sing/_stcore/health",
        tmp_path_factory.mktemp("app"),
        MLFLOW_TRACKING_URI=servers.uri,
        STREAMLIT_SERVER_BASE_URL_PATH="sing",
        STREAMLIT_SERVER_HEADLESS="true",
    ):
        yield f"{servers.uri}/sing"


@pytest.fixture(scope="module")
def context(browser: Browser, servers: Servers) -> BrowserContext:
    """A browser that has logged in, at an address above all others. It takes any certificate."""
    context = browser.new_context(
        viewport=WINDOW,
        http_credentials={"username": USER, "password": PASSWORD},
        ignore_https_errors=True,
    )
    page = context.new_page()
    page.goto(f"{servers.uri}/health")
    page.close()
    return context


@pytest.fixture(scope="module")
def jobs(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Job]:
    """Two jobs that were killed; afterwards one was handed over, and the other started again."""
    base = tmp_path_factory.mktemp("jobs")
    folders = {name: base / name for name in (SYNCED, RESUMED)}
    for folder in folders.values():
        folder.mkdir()
    train = ["-m", TRAIN]
    assert run_together([[*train, *map(str, folders.values())]], servers.uri) == [0]
    ended = [(folder / "exit_code").read_text() for folder in folders.values()]
    assert ended == [str(-signal.SIGKILL)] * 2
    killed = {name: killed_job(folder, servers.uri) for name, folder in folders.items()}
    sync = ["-m", "sing_monitor", "sync", str(folders[SYNCED])]
    assert run_together([sync, [*train, str(folders[RESUMED])]], servers.uri) == [0, 0]
    return killed


def run_together(commands: Iterable[list[str]], uri: str) -> list[int]:
    """Run Python with each of the arguments, all at once; their exit codes."""
    environment = {**os.environ, "MLFLOW_TRACKING_URI": uri}
    started = [
        subprocess.Popen([sys.executable, *command], cwd=ROOT, env=environment)
        for command in commands
    ]
    try:
        return [process.wait(timeout=300) for process in started]
    finally:
        for process in started:
            process.kill()


def killed_job(folder: Path, uri: str) -> Job:
    reader = RunReader(uri, (folder / "run_id").read_text())
    return Job(folder, reader, reader.validations(), len(reader.scalars()))


@pytest.mark.parametrize(("name", "epochs"), [(SYNCED, [0, 1]), (RESUMED, [0, 1, 2])])
def test_every_finished_epoch_reaches_the_run(
    name: str, epochs: list[int], jobs: dict[str, Job]
) -> None:
    job = jobs[name]
    assert [epoch for epoch, _ in job.validations_at_the_kill] == [0, 1]
    assert job.scalars_at_the_kill == 0
    scalars = job.reader.scalars()
    assert scalars["epoch"].tolist() == epochs
    assert scalars["sing/image_score"].map(math.isfinite).all()
    validations = job.reader.validations()
    assert [epoch for epoch, _ in validations] == epochs
    assert all(len(job.reader.table("images", *validation)) for validation in validations)
    assert not [path for path in job.folder.rglob(".sing_spool/**/*") if path.is_file()]


def test_curves_are_in_postgresql_and_tables_with_the_server(
    servers: Servers, jobs: dict[str, Job]
) -> None:
    count = sqlalchemy.text(
        "SELECT run_uuid, count(*) FROM metrics WHERE key = 'sing/image_score' GROUP BY run_uuid"
    )
    with sqlalchemy.create_engine(servers.database).connect() as connection:
        points = dict(connection.execute(count).tuples().all())
    assert points == {jobs[SYNCED].reader.run_id: 2, jobs[RESUMED].reader.run_id: 3}
    tables = [path.parent.name for path in servers.artifacts.rglob("images.parquet")]
    assert len(tables) == 5


@pytest.mark.parametrize(
    "path", ["/", "/sing/", "/sing/_stcore/health", "/api/2.0/mlflow/runs/get"]
)
def test_nobody_is_let_in_without_a_password(path: str, servers: Servers, app_url: str) -> None:
    trusted = ssl.create_default_context(cafile=os.environ["MLFLOW_TRACKING_SERVER_CERT_PATH"])
    with pytest.raises(HTTPError, match="401"):
        urlopen(f"{servers.uri}{path}", context=trusted, timeout=60)


@pytest.mark.parametrize(
    ("page", "charts", "pictures"), [("", 0, 0), ("evolution", 7, 0), ("images", 0, 12)]
)
def test_the_app_shows_both_runs(
    page: str, charts: int, pictures: int, jobs: dict[str, Job], app_url: str, open_tab: Open
) -> None:
    runs = "&".join(f"runs={job.reader.run_id}" for job in jobs.values())
    tab = open_tab(f"{app_url}/{page}?{runs}")
    expect(tab.page.get_by_role("heading", level=1)).to_have_count(1)
    expect(tab.page.get_by_test_id("stException")).to_have_count(0)
    expect(tab.page.get_by_test_id("stAlert")).to_have_count(0)
    picked = tab.page.get_by_test_id("stSidebar").inner_text()
    assert {name for name in jobs if name in picked} == {*jobs}
    drawn = [chart for chart, marks in tab.marks().items() if marks]
    assert len([chart for chart in drawn if all(name in chart for name in jobs)]) >= charts
    widths = tab.main.locator("img").evaluate_all("all => all.map(each => each.naturalWidth)")
    assert all(widths)
    assert len(widths) >= pictures
    assert tab.problems == []
    tab.close()
