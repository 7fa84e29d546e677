"""The app as people see it who give it the model of a run: uploads, and maps of images."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect
from torchvision.transforms.v2.functional import to_pil_image

from sing_monitor.app.charts.structure.focus_rows import PARTS
from tests.app.browser.conftest import Open
from tests.app.browser.tab import Tab
from tests.helpers import tiny
from tests.helpers.finished_run import FinishedRun
from tests.helpers.stores.servers import free_port, serving

ROOT = Path(__file__).resolve().parents[3]
MAPS = ("Contribution to AS", "Null energy", "Principal energy")


@pytest.fixture(scope="module")
def url(
    chromium: str, run_with_snapshot: FinishedRun, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Address of the app as ``sing-monitor app --checkpoint ...`` serves it."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    command = [Path(sys.executable).with_name("sing-monitor"), "app", "--port", str(port)]
    command += ["--tracking-uri", run_with_snapshot.uri]
    command += ["--checkpoint", run_with_snapshot.checkpoints / "last.ckpt"]
    command += ["--model", "tests.helpers.tiny:Classifier"]
    command += ["--data", "tests.app.given:validation", "--transform", "tests.app.given:to_input"]
    command += ["--space", "tests.helpers.tiny:HashSpace"]
    environment = {"STREAMLIT_SERVER_HEADLESS": "true", "PYTHONPATH": str(ROOT)}
    folder = tmp_path_factory.mktemp("app with a model")
    with serving(command, f"{address}/_stcore/health", folder, **environment):
        yield address


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture that is not in the probe."""
    path = tmp_path_factory.mktemp("picture") / "mine.png"
    to_pil_image(tiny.Blobs(seed=8).images[1]).resize((60, 60)).save(path)
    return path


def test_a_picture_is_uploaded_and_explained(url: str, picture: Path, open_tab: Open) -> None:
    tab = open_tab(f"{url}/explain")
    assert "Over training" in tab.main.inner_text()
    upload(tab, picture)
    expect(tab.page.get_by_test_id("stException")).to_have_count(0)
    expect(tab.page.get_by_test_id("stAlert")).to_have_count(0)
    expect(tab.main.get_by_alt_text("The uploaded picture as the model sees it")).to_be_visible()
    marks = tab.marks()
    assert len(marks) == 1 + len(MAPS) + len(PARTS)
    assert all(marks.values()), marks
    widths = tab.main.locator("img").evaluate_all("all => all.map(each => each.naturalWidth)")
    # The picture, its neighbors, and twice as the model sees it: by itself and beside its maps.
    assert len(widths) == 1 + 6 + 2
    assert all(widths)
    tab.resize(800)
    assert tab.cut_off() == []
    tab.darken()
    assert all(tab.marks().values())
    assert tab.problems == []
    tab.close()


def test_a_file_that_is_no_picture_is_said_to_be_none(
    url: str, tmp_path: Path, open_tab: Open
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    tab = open_tab(f"{url}/explain")
    upload(tab, broken)
    expect(tab.page.get_by_test_id("stAlert")).to_contain_text("cannot be read as a picture")
    assert tab.problems == []
    tab.close()


def test_maps_lie_over_the_image_that_a_card_leads_to(
    url: str, run_with_snapshot: FinishedRun, open_tab: Open
) -> None:
    reader = run_with_snapshot.reader
    image = reader.table("images", *reader.validations()[-1])["image"][3]
    tab = open_tab(f"{url}/images?image={image}")
    drawn = {title: marks for name, marks in tab.marks().items() for title in MAPS if title in name}
    assert list(drawn) == list(MAPS)
    assert all(drawn.values()), drawn
    tab.resize(800)
    assert tab.cut_off() == []
    assert tab.problems == []
    tab.close()


def upload(tab: Tab, file: Path) -> None:
    """Choose a file as in the system's window, and wait for what the page makes of it."""
    before = tab.content()
    tab.page.get_by_test_id("stFileUploaderDropzoneInput").set_input_files(file)
    expect(tab.main.get_by_text(file.name)).to_be_visible()
    expect(tab.main.get_by_text("Over training")).to_have_count(0)
    tab.changed(before)
