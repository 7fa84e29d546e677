"""A tab of the browser that shows the app, and what can be asked of it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import BrowserContext, ConsoleMessage, Locator, Page

PATIENCE = 120_000  # ms
WIDTH, HEIGHT = 1400, 1000  # pixels
_SECONDS_TO_FIT = 10.0
LOOK = Path(__file__).with_name("look.js")

# Streamlit asks below the page's own address first, and then at the root.
_PROBES = ("/_stcore/health", "/_stcore/host-config")


@dataclass
class Tab:
    """One tab. ``problems`` collects what the browser complains about."""

    page: Page
    problems: list[str] = field(default_factory=list)

    @classmethod
    def at(cls, url: str, context: BrowserContext) -> Tab:
        """A new tab that shows the address, once everything is drawn."""
        tab = cls(context.new_page())
        tab.page.on("console", tab._listen)
        tab.page.on("pageerror", lambda error: tab.problems.append(str(error)))
        tab.page.goto(url)
        tab.settle()
        return tab

    def _listen(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not message.location["url"].endswith(_PROBES):
            self.problems.append(f"{message.location['url']}: {message.text}")

    @property
    def main(self) -> Locator:
        """Everything but the sidebar."""
        return self.page.get_by_test_id("stMain")

    def settle(self) -> None:
        """Wait until the server has answered and all is drawn."""
        self.page.wait_for_function("() => looking.isSettled()")

    def content(self) -> list[str]:
        """What the page shows, comparable between tabs of one size."""
        found: list[str] = self.page.evaluate("() => looking.content()")
        return found

    def changed(self, before: list[str]) -> list[str]:
        """What the page shows once it is no longer the same."""
        self.page.wait_for_function("before => looking.hasChanged(before)", arg=before)
        self.settle()
        return self.content()

    def marks(self) -> dict[str, int]:
        """How much is drawn in each chart, by what the chart says of itself."""
        found: dict[str, int] = self.page.evaluate("() => looking.marks()")
        return found

    def darken(self, is_dark: bool = True) -> None:
        """Make the system's colors dark or light, and wait until the page follows."""
        self.page.emulate_media(color_scheme="dark" if is_dark else "light")
        self.page.wait_for_function("dark => looking.isDark() === dark", arg=is_dark)
        self.settle()

    def resize(self, width: int) -> None:
        """Make the window as wide, and wait until the page has adapted."""
        self.page.set_viewport_size({"width": width, "height": HEIGHT})
        self.page.wait_for_function("width => window.innerWidth === width", arg=width)
        self.settle()

    def cut_off(self) -> list[str]:
        """What does not fit the window, once charts and tables have taken their new widths."""
        deadline = time.monotonic() + _SECONDS_TO_FIT
        while True:
            found: list[str] = self.page.evaluate("() => looking.cutOff()")
            if not found or time.monotonic() > deadline:
                return found
            self.page.wait_for_timeout(200)

    def close(self) -> None:
        """Close the tab."""
        self.page.close()
