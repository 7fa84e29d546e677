"""A real browser on a real server of the app, on the quickstart's store."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, ViewportSize, expect, sync_playwright

from tests.app.browser.tab import HEIGHT, LOOK, PATIENCE, WIDTH, Tab
from tests.app.conftest import MAIN
from tests.helpers.stores.servers import free_port, serving

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
WINDOW = ViewportSize(width=WIDTH, height=HEIGHT)
Open = Callable[[str], Tab]
# A busy machine is no fault of a page.
expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="module")
def chromium() -> str:
    """Debian's browser. Without it these tests are skipped, but never in CI."""
    found = shutil.which("chromium")
    if found is None:
        reason = "no Chromium on this machine: apt-get install chromium"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


@pytest.fixture(scope="module")
def store_uri(chromium: str, quickstart_folder: Path) -> str:
    """The quickstart's store; nothing is trained where no browser would look at it."""
    return f"sqlite:///{quickstart_folder / 'mlflow.db'}"


@pytest.fixture(scope="module")
def app_url(store_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of the app as ``streamlit run app/main.py`` serves it."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "streamlit", "run", MAIN, "--server.headless", "true"]
    command += ["--server.port", str(port), "--", "--tracking-uri", store_uri]
    with serving(command, f"{url}/_stcore/health", tmp_path_factory.mktemp("app")):
        yield url


# Playwright keeps an event loop running as long as the browser lives; other modules need theirs.
@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, args=list(ARGUMENTS))
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def context(browser: Browser) -> BrowserContext:
    """A browser that has seen nothing yet."""
    return browser.new_context(viewport=WINDOW)


@pytest.fixture(scope="module")
def open_tab(context: BrowserContext) -> Open:
    """Opens an address in a tab of its own. What the browser has loaded serves the next one too."""
    context.set_default_timeout(PATIENCE)
    context.add_init_script(path=LOOK)
    return lambda url: Tab.at(url, context)
