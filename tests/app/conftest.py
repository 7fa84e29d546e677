"""Real stores, made once: MLflow takes seconds for each new database."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from mlflow import MlflowClient
from streamlit import config
from streamlit.components.v2 import manifest_scanner
from streamlit.testing.v1 import AppTest

from sing_monitor.app.read import run_list
from tests.app.stores import MINUTE, START, Store, history, own_metrics, plausible
from tests.helpers.stores.servers import free_port

MAIN = Path(__file__).resolve().parents[2] / "app" / "main.py"
MARKUP = "<b>bold</b> **stars** [link](http://evil.example) $x$ :red[hi] `c` \n# title "
Opened = Callable[..., AppTest]


@dataclass(frozen=True)
class Runs:
    """Ids of the runs of the session's store, by what is odd about them."""

    healthy: str
    shortcut: str
    one_epoch: str
    nan: str
    resumed: str
    other_space: str
    seeds: tuple[str, str, str]
    markup: str
    long_name: str
    two_monitors: str
    running: str
    no_validation: str
    deleted: str


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Copies of tables are kept apart from those of the user."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def quick_harness() -> Iterator[None]:
    """Streamlit looks once for components among the installed packages, and compiles plain Python.

    A server looks once, too; the harness would read the metadata of hundreds of packages for each
    app it opens, half a second. The compiler's option is that of the app's config.toml, which the
    harness does not read.
    """
    with pytest.MonkeyPatch.context() as patch:
        scan = manifest_scanner.scan_component_manifests
        patch.setattr(manifest_scanner, "scan_component_manifests", cache(scan))
        config.set_option("runner.magicEnabled", False)
        yield
        config.set_option("runner.magicEnabled", True)


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A database in which nothing was ever logged."""
    return Store.at(tmp_path_factory.mktemp("empty"))


@pytest.fixture(scope="session")
def unmonitored_store(empty_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A database whose only run was watched by no monitor."""
    store = copy_of(empty_store, tmp_path_factory.mktemp("unmonitored"))
    run = store.client.create_run("0", run_name="plain").info.run_id
    store.client.log_metric(run, "val_loss", 0.5, step=1)
    return store


@pytest.fixture(scope="session")
def filled(empty_store: Store, tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Runs]:
    """A database with runs of every kind."""
    store = copy_of(empty_store, tmp_path_factory.mktemp("filled"))
    begin = iter(range(START, START + 10**9, 60 * MINUTE))
    nan = history(6, 0.4)
    nan[2] = dict.fromkeys(nan[2], math.nan)
    nan[4] |= dict.fromkeys(("sing/retention", "monitor/accuracy"), 1.8e308)
    nan[4] |= {"translator/r2": -1.8e308}
    seeds = tuple(
        store.run(
            f"wide seed={seed}",
            history(4, 0.1 * seed),
            started=next(begin),
            tags={"model": "wide"},
        )
        for seed in range(3)
    )
    two = store.run("two heads", history(3), started=next(begin), experiment="second")
    store.run("two heads", history(3, 0.9), started=START, run_id=two, monitor="aux")
    resumed = store.run("resumed", history(4), started=next(begin))
    repeat = plausible(3) | {"sing/image_score_centered": 77.0, "monitor/global_step": 400.0}
    for key, value in repeat.items():
        store.client.log_metric(resumed, key, value, timestamp=START + 10**9, step=399)
    deleted = store.run("deleted", history(2), started=next(begin))
    store.client.delete_run(deleted)
    other = {"space": "ViT-B-32/laion2b", "reference": "prototype"}
    runs = Runs(
        healthy=store.run("healthy", history(8), own=own_metrics(8), started=next(begin)),
        shortcut=store.run("shortcut", history(8, 1), own=own_metrics(8, 1), started=next(begin)),
        one_epoch=store.run("one epoch", history(1), started=next(begin)),
        nan=store.run("nan", nan, started=next(begin), status="FAILED"),
        resumed=resumed,
        other_space=store.run("vit", history(5), started=next(begin), tags=other),
        seeds=(seeds[0], seeds[1], seeds[2]),
        markup=store.run(MARKUP, history(2), started=next(begin), tags={"model": MARKUP}),
        long_name=store.run("long " * 60, history(2), started=next(begin)),
        two_monitors=two,
        running=store.run("running", history(3), status=None, started=next(begin)),
        no_validation=store.run("no validation", [], status=None, started=next(begin)),
        deleted=deleted,
    )
    return store, runs


@pytest.fixture(scope="session")
def store(filled: tuple[Store, Runs]) -> Store:
    """The database with runs of every kind."""
    return filled[0]


@pytest.fixture(scope="session")
def runs(filled: tuple[Store, Runs]) -> Runs:
    """The runs of `store`."""
    return filled[1]


@pytest.fixture
def open_page(monkeypatch: pytest.MonkeyPatch, store: Store) -> Opened:
    """Opens a page of the app, as a browser does that follows a link."""

    def opened(page: str, uri: str | None = None, **link: str | list[str]) -> AppTest:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri or store.uri)
        app = AppTest.from_file(str(MAIN), default_timeout=60)
        for key, value in link.items():
            app.query_params[key] = value
        # Streamlit's test harness goes to a page from the first one only.
        app.switch_page(f"views/{page}.py").run()
        return app

    # Only the list of runs is asked for anew: what is kept of a run is kept under its state.
    run_list.forget()
    return opened


@pytest.fixture
def dead_port() -> int:
    """A port at which nothing listens."""
    return free_port()


def copy_of(store: Store, folder: Path) -> Store:
    """The same database elsewhere."""
    shutil.copy(store.folder / "mlflow.db", folder / "mlflow.db")
    return Store(folder, MlflowClient(f"sqlite:///{folder / 'mlflow.db'}"))
