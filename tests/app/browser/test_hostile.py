"""What a store says is data: no page asks another host, and none takes words for markup."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
from torchvision.transforms.v2.functional import to_pil_image

from sing_monitor.app.wording.metrics import group_label
from sing_monitor.tracking import FolderStore
from tests.app.browser.hostile import GROUP, HOST, ICON, SMILEY, write_hostile_store
from tests.app.browser.tab import HEIGHT, LOOK, PATIENCE, WIDTH, Tab
from tests.app.conftest import MAIN
from tests.helpers import tiny
from tests.helpers.finished_run import FinishedRun
from tests.helpers.stores.servers import free_port, serving

ROOT = Path(__file__).resolve().parents[3]
PAGES = (
    *("", "evolution", "tradeoff", "classes", "concepts", "images", "explain", "steering"),
    *("geometry", "hierarchy", "similarity", "dynamics", "tables", "guide"),
)
LINKS = {
    "evolution": {"groups": group_label(GROUP)},
    "guide": {"about": f"`![](http://{HOST}/guide.png)`"},
}
# What stands on a page only if it found its tables.
SHOWN = {
    "hierarchy": "Images between two classes",
    "similarity": "Nearest part by part",
    "dynamics": "Modes by size",
}
# So many help texts and charts of a page are pointed at.
_MOST = 3
# Collects every element that makes a browser ask another host or leads people there, whenever and
# wherever it appears.
WATCH = """
window.foreign = []
const names = ['src', 'href', 'xlink:href', 'action', 'formaction', 'data', 'poster', 'srcset']
const look = element => {
    for (const name of names) {
        const value = element.getAttribute(name)
        if (value === null || /^(data|blob):/.test(value)) continue
        if (new URL(value, location.href).host !== location.host)
            window.foreign.push(element.outerHTML.slice(0, 200))
    }
}
new MutationObserver(changes => {
    for (const change of changes)
        for (const node of [change.target, ...change.addedNodes])
            if (node.nodeType === Node.ELEMENT_NODE)
                [node, ...node.querySelectorAll('*')].forEach(look)
}).observe(document, {subtree: true, childList: true, attributeFilter: names})
"""

_LAST_CENTER = """
all => all.slice(-1).map(each => each.getBoundingClientRect())
    .map(box => [box.x + box.width / 2, box.y + box.height / 2])
"""


@pytest.fixture(scope="module")
def store(run_with_snapshot: FinishedRun, tmp_path_factory: pytest.TempPathFactory) -> FolderStore:
    return write_hostile_store(tmp_path_factory.mktemp("hostile") / "runs", run_with_snapshot)


@pytest.fixture(scope="module")
def url(
    chromium: str,
    store: FolderStore,
    run_with_snapshot: FinishedRun,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    """Address of the app with a model, so that every page shows all that it can."""
    port = free_port()
    command = [sys.executable, "-m", "streamlit", "run", MAIN, "--server.headless", "true"]
    command += ["--server.port", str(port), "--", "--tracking-uri", store.uri]
    command += ["--checkpoint", run_with_snapshot.checkpoints / "last.ckpt"]
    command += ["--model", "tests.helpers.tiny:Classifier", "--data", "tests.app.given:validation"]
    command += ["--transform", "tests.app.given:to_input"]
    address = f"http://127.0.0.1:{port}"
    folder = tmp_path_factory.mktemp("hostile app")
    with serving(command, f"{address}/_stcore/health", folder, PYTHONPATH=str(ROOT)):
        yield address


@pytest.fixture(scope="module")
def asked() -> list[str]:
    """Every address that the browser has asked for, in order."""
    return []


@pytest.fixture(scope="module")
def context(browser: Browser, asked: list[str]) -> BrowserContext:
    made = browser.new_context(viewport={"width": WIDTH, "height": HEIGHT})
    made.set_default_timeout(PATIENCE)
    made.add_init_script(path=LOOK)
    made.add_init_script(WATCH)
    made.on("request", lambda request: asked.append(request.url))
    return made


# The second run has hostile ids, too; with the first alone, pages show what its snapshot adds.
@pytest.mark.parametrize(
    ("page", "is_alone"), [*((page, False) for page in PAGES), ("images", True), ("explain", True)]
)
def test_no_page_takes_what_a_store_says_for_markup(
    page: str,
    is_alone: bool,
    url: str,
    store: FolderStore,
    context: BrowserContext,
    asked: list[str],
) -> None:
    asked.clear()
    second, first = (run.run_id for run in store.runs())
    link = {"runs": [first] if is_alone else [second, first], **LINKS.get(page, {})}
    if is_alone:
        (sheet, *_) = (store.root / first).glob("sing/sprites/*.json")
        link["image"] = json.loads(sheet.read_text())[0]
    tab = Tab.at(f"{url}/{page}?{urlencode(link, doseq=True)}", context)
    expect(tab.page.get_by_test_id("stException")).to_have_count(0)
    expect(tab.main).to_contain_text("foreign")
    if page in SHOWN:
        expect(tab.main).to_contain_text(SHOWN[page])
    point_at_everything(tab)
    if page == "explain" and is_alone:
        upload(tab)
    assert tab.page.evaluate("() => window.foreign") == []
    assert tab.page.evaluate("() => window.stolen") is None
    assert [each for each in asked if not is_own(each, url)] == []
    assert markup_of(tab.page) == []
    tab.close()


def test_markup_and_questions_to_others_would_be_seen(
    url: str, context: BrowserContext, asked: list[str]
) -> None:
    asked.clear()
    tab = Tab.at(f"{url}/guide?about=zzz+qqq", context)
    drawn = f'<b class="katex">x</b><img src="http://{HOST}/x.png">{SMILEY}'
    tab.main.evaluate("(main, drawn) => main.insertAdjacentHTML('beforeend', drawn)", drawn)
    tab.page.wait_for_function("() => window.foreign.length > 0")
    assert [each for each in asked if not is_own(each, url)] == [f"http://{HOST}/x.png"]
    assert len(markup_of(tab.page)) == 2
    tab.close()


def upload(tab: Tab) -> None:
    """A picture whose file has a hostile name."""
    content = BytesIO()
    to_pil_image(tiny.Blobs(seed=8).images[1]).save(content, "PNG")
    name = f"`![](http:\\\\{HOST}\\file.png)` :smile:.png"
    tab.page.get_by_test_id("stFileUploaderDropzoneInput").set_input_files(
        {"name": name, "mimeType": "image/png", "buffer": content.getvalue()}
    )
    shown = tab.main.get_by_alt_text("The uploaded picture as the model sees it")
    expect(shown).to_be_visible()
    tab.settle()


def is_own(address: str, url: str) -> bool:
    """Whether an address is the app's, or holds its content itself."""
    parts = urlsplit(address)
    return parts.scheme in ("data", "blob") or parts.netloc == urlsplit(url).netloc


def markup_of(page: Page) -> list[str]:
    """What has been drawn of markup: icons, smileys, colors, formulas, quotes."""
    drawn = page.locator(
        ".katex, .stMarkdownColoredText, .stMarkdownBadge, blockquote, "
        f'[data-testid="stIconMaterial"]:text-is("{ICON}")'
    )
    found = drawn.evaluate_all("all => all.map(each => each.outerHTML.slice(0, 200))")
    return found + [SMILEY] * (SMILEY in page.get_by_test_id("stMain").inner_text())


def point_at_everything(tab: Tab) -> None:
    """Open what waits for the pointer: lists to choose from, help texts, tooltips of charts."""
    for box in tab.main.get_by_test_id("stPopover").all():
        box.get_by_role("button").click()
        expect(tab.page.get_by_test_id("stPopoverBody")).to_be_visible()
        tab.page.keyboard.press("Escape")
    for box in tab.main.locator('[data-testid="stSelectbox"] input').all():
        if box.is_enabled():
            box.click()
            tab.page.keyboard.press("Escape")
    for icon in tab.main.get_by_test_id("stTooltipIcon").all()[:_MOST]:
        icon.hover()
        content = tab.page.get_by_test_id("stTooltipContent").first
        expect(content).to_be_visible()
    for chart in tab.main.get_by_test_id("stVegaLiteChart").all()[:_MOST]:
        # A chart may be drawn anew at any time, and its marks with it: no waiting for this element,
        # and the pointer goes to a place.
        chart.evaluate("each => each.scrollIntoView({block: 'nearest'})")
        marks = chart.locator(".mark-symbol.role-mark path, .mark-rect.role-mark path")
        for x, y in marks.evaluate_all(_LAST_CENTER):
            tab.page.mouse.move(x, y)
