"""Pages of the app on a large store, in a real browser, beside MLflow's own pages.

Of every page: processor time of the server, time until the page has settled, and how often MLflow
was asked (calls of its client, and statements to its database); cold, with all caches empty, and
warm, once more after the list of runs may have changed. ``--before`` names another checkout whose
app is measured in turns with this one.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlencode

import psutil
from playwright.sync_api import BrowserContext, Page, sync_playwright

from tests.app.browser.conftest import ARGUMENTS
from tests.app.browser.tab import HEIGHT, LOOK, PATIENCE, WIDTH
from tests.benchmarks.helpers.big_store import LARGE, SMALL, BigStore, make_store
from tests.benchmarks.machine import describe
from tests.helpers.stores.servers import free_port, wait_for

HERE = Path(__file__).resolve().parents[2]
COUNTED = Path(__file__).parent / "helpers" / "counted_streamlit.py"
TWO_RUNS = (
    *("evolution", "tradeoff", "classes", "concepts", "images", "explain"),
    *("steering", "geometry", "tables", "guide"),
)
# A page, and how many runs are picked.
PAGES = (("runs", 2), *((page, 2) for page in TWO_RUNS), ("evolution", 20))
# After so many seconds the app looks again for new runs.
_REFRESH = 10
_QUIET = 1500  # ms
# A worker's script, say, is never reported as loaded.
_DATA = ("fetch", "xhr")
# Nothing is asked for and nothing has moved for a while.
_IS_QUIET = "quiet => performance.now() - looking.lastChange > quiet"


@dataclass
class Served:
    """A server that is measured."""

    name: str
    url: str
    process: psutil.Process
    counts: Path | None = None

    def seconds(self) -> float:
        """Processor time so far, of all its processes."""
        times = [each.cpu_times() for each in (self.process, *self.process.children(True))]
        return sum(each.user + each.system for each in times)

    def megabytes(self) -> float:
        """Memory that it holds."""
        return float(self.process.memory_info().rss / 1e6)

    def empty(self) -> None:
        """Empty every cache."""
        self.process.send_signal(signal.SIGUSR2)
        time.sleep(0.5)

    def asked(self) -> dict[str, int]:
        """What it has asked MLflow since the last time, by kind."""
        assert self.counts is not None
        self.counts.unlink(missing_ok=True)
        self.process.send_signal(signal.SIGUSR1)
        while not self.counts.exists():
            time.sleep(0.05)
        found: dict[str, int] = json.loads(self.counts.read_text())
        return found


@contextmanager
def running(
    name: str, command: Sequence[str], url: str, cwd: Path, **more: str
) -> Iterator[Served]:
    """A server in a process group of its own."""
    log = cwd / f"{name}.log"
    environment = {**os.environ, **more, "MLFLOW_DISABLE_TELEMETRY": "true"}
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, cwd=cwd, stdout=out, stderr=out, env=environment, process_group=0
        )
        try:
            wait_for(url, process, log)
            yield Served(name, url.rpartition("/")[0], psutil.Process(process.pid))
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextmanager
def app_of(name: str, checkout: Path, uri: str, folder: Path) -> Iterator[Served]:
    """The app of a checkout."""
    port, counts = free_port(), folder / f"{name}.json"
    command = [sys.executable, str(COUNTED), str(counts)]
    command += ["run", str(checkout / "app" / "main.py"), "--server.headless", "true"]
    command += ["--server.port", str(port), "--", "--tracking-uri", uri]
    health = f"http://127.0.0.1:{port}/healthz"
    with running(name, command, health, folder, PYTHONPATH=str(checkout)) as served:
        served.counts = counts
        yield served


@contextmanager
def mlflow_ui(uri: str, folder: Path) -> Iterator[Served]:
    """MLflow's own UI."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    more = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with running("mlflow", command, f"http://127.0.0.1:{port}/health", folder, **more) as served:
        yield served


@dataclass(frozen=True)
class Cost:
    """Of one page: processor seconds, seconds until it has settled, and questions by kind."""

    processor: float
    settled: float
    asked: dict[str, int]


def measured(served: Served, address: str, context: BrowserContext) -> Cost:
    """Open a page in a new tab, and wait until nothing moves any more."""
    if served.counts:
        served.asked()
    before = served.seconds()
    page = context.new_page()
    waiting: set[object] = set()
    page.on("request", lambda request: request.resource_type in _DATA and waiting.add(request))
    page.on("requestfinished", lambda request: waiting.discard(request))
    page.on("requestfailed", lambda request: waiting.discard(request))
    page.goto(f"{served.url}/{address}")
    _settle(page, waiting, is_app=served.counts is not None)
    settled = page.evaluate("looking.lastChange") / 1000
    # What the server still does for a page that has settled counts too.
    cost = Cost(served.seconds() - before, settled, served.asked() if served.counts else {})
    page.close()
    return cost


def _settle(page: Page, waiting: set[object], *, is_app: bool) -> None:
    if is_app:
        page.wait_for_function("() => looking.isSettled()")
    deadline = time.monotonic() + PATIENCE / 1000
    while time.monotonic() < deadline:
        page.wait_for_timeout(100)
        if not waiting and page.evaluate(_IS_QUIET, _QUIET):
            return
    raise TimeoutError(page.url)


def address_of(page: str, runs: Sequence[str]) -> str:
    """A link to a page of the app."""
    return f"{page}?{urlencode({'runs': runs, 'baseline': runs[0]}, doseq=True)}"


def mlflow_addresses(store: BigStore) -> dict[str, str]:
    """MLflow's list of runs, and its comparison of twenty."""
    ids, experiments = json.dumps(store.runs[-20:]), json.dumps([store.experiment])
    return {
        "list of runs": f"#/experiments/{store.experiment}/runs",
        "compare 20 runs": f"#/compare-runs?runs={quote(ids)}&experiments={quote(experiments)}",
    }


def measure(
    store: BigStore, before: Path | None, folder: Path, repetitions: int, pages: Sequence[str]
) -> None:
    """Open all pages of all servers in turns, and print what they cost."""
    with ExitStack() as stack:
        play = stack.enter_context(sync_playwright())
        browser = play.chromium.launch(
            executable_path=shutil.which("chromium"), args=list(ARGUMENTS)
        )
        context = browser.new_context(viewport={"width": WIDTH, "height": HEIGHT})
        context.set_default_timeout(PATIENCE)
        context.add_init_script(path=LOOK)
        checkouts = {"before": before, "now": HERE}
        apps = [
            stack.enter_context(app_of(name, checkout, store.uri, folder))
            for name, checkout in checkouts.items()
            if checkout
        ]
        # Imports count for no page.
        for app in apps:
            for page in ("evolution", "explain"):
                measured(app, address_of(page, store.runs[-1:]), context)
        shown = [(page, picked) for page, picked in PAGES if not pages or page in pages]
        costs: dict[tuple[str, int, str, str], list[Cost]] = {}
        for _ in range(repetitions):
            for page, picked in shown:
                for app in apps:
                    app.empty()
                    address = address_of(page, store.runs[-picked:])
                    cost = measured(app, address, context)
                    costs.setdefault((page, picked, app.name, "cold"), []).append(cost)
                time.sleep(_REFRESH)
                for app in apps:
                    cost = measured(app, address, context)
                    costs.setdefault((page, picked, app.name, "warm"), []).append(cost)
        for app in apps:
            for page, picked in PAGES:
                measured(app, address_of(page, store.runs[-picked:]), context)
        _show(shown, apps, costs)
        for app in apps:
            print(f"memory after all pages, {app.name}: {app.megabytes():.0f} MB")
        if not pages:
            ui = stack.enter_context(mlflow_ui(store.uri, folder))
            # What the browser loads once serves every further page, as it does of the app.
            addresses = mlflow_addresses(store)
            measured(ui, addresses["list of runs"], context)
            for name, address in addresses.items():
                found = [measured(ui, address, context) for _ in range(max(repetitions, 2))]
                print(f"MLflow, {name}: {_said(found)}")


def _said(costs: Sequence[Cost]) -> str:
    processor = statistics.median(cost.processor for cost in costs)
    settled = statistics.median(cost.settled for cost in costs)
    asked = costs[0].asked
    counts = f" {asked.get('calls', 0):>4} {asked.get('statements', 0):>5}" if asked else " 0 0"
    return f"{processor:>6.2f} s {settled:>6.2f} s {counts}"


def _show(
    shown: Sequence[tuple[str, int]],
    apps: Sequence[Served],
    costs: dict[tuple[str, int, str, str], list[Cost]],
) -> None:
    print("page, runs, state: processor time, settled, calls, statements of each; ratio")
    for page, picked in shown:
        for state in ("cold", "warm"):
            found = [costs[page, picked, app.name, state] for app in apps]
            times = [statistics.median(cost.processor for cost in each) for each in found]
            ratio = f"  {times[-1] / times[0]:.2f}" if len(apps) > 1 else ""
            print(f"{page:<10} {picked:>2} {state}: {' | '.join(map(_said, found))}{ratio}")
            kinds = found[-1][0].asked
            print("   ", {key: value for key, value in kinds.items() if key != "calls"})


def main() -> None:
    """Make the store, or take one that was kept, and open every page of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=60)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--large", action="store_true", help="1,000 classes and 10,000 images")
    parser.add_argument("--before", type=Path, help="another checkout of this project")
    parser.add_argument("--repetitions", type=int, default=1)
    parser.add_argument("--pages", nargs="*", default=(), help="only these")
    parser.add_argument("--store", type=Path, help="an empty folder, or one of an earlier call")
    args = parser.parse_args()
    print(describe())
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.store or Path(scratch)
        about = folder / "store.json"
        if not about.exists():
            folder.mkdir(exist_ok=True, parents=True)
            shape = LARGE if args.large else SMALL
            made = make_store(folder, runs=args.runs, epochs=args.epochs, shape=shape)
            about.write_text(json.dumps([made.uri, made.experiment, made.runs]))
        store = BigStore(*json.loads(about.read_text()))
        measure(store, args.before, Path(scratch), args.repetitions, args.pages)


if __name__ == "__main__":
    main()
