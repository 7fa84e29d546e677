"""The page Explain on real stores: one image, with and without a snapshot."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs

import pytest
import torch
from streamlit.testing.v1 import AppTest

from sing_monitor.snapshot import Snapshot
from sing_monitor.space.text_embeddings import Texts, TextSet
from sing_monitor.tracking import Layout, MlflowRun, RunWriter
from tests.app.conftest import Opened, copy_of
from tests.app.stores import Store
from tests.app.views.test_images import IDS, NAMES, add_run, captions, images, texts
from tests.helpers import normal


def texts_of(*concepts: str) -> Texts:
    """The classes' texts, and those of concepts, at random places of three dimensions."""
    classes = TextSet(tuple(NAMES), normal(3, 3, seed=3).float())
    words = TextSet(concepts, normal(len(concepts), 3, seed=4).float()) if concepts else None
    return Texts(classes, words)


def snapshot(epoch: int, texts: Texts | None) -> Snapshot:
    """Of the images of the table."""
    generator = torch.Generator().manual_seed(epoch)
    return Snapshot(
        weight=torch.randn(3, 5, generator=generator),
        bias=torch.zeros(3),
        features=torch.randn(6, 5, generator=generator),
        labels=torch.tensor([0, 1, 2, 0, 1, 2]),
        embeddings=torch.randn(6, 3, generator=generator),
        class_names=tuple(NAMES),
        epoch=epoch,
        step=(epoch + 1) * 100,
        image_ids=torch.arange(6),
        texts=texts,
    )


@pytest.fixture(scope="module")
def explained(
    empty_store: Store, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Store, dict[str, str]]:
    """Runs by what is stored of them."""
    store = copy_of(empty_store, tmp_path_factory.mktemp("explain"))
    both = [{"images": images(0)}, {"images": images(1)}]
    kept = {"with": texts_of("red", "striped"), "wordless": texts_of(), "older": None}
    ids = {name: add_run(store, name, both) for name in ("without", *kept)}
    for name, held in kept.items():
        writer = RunWriter(MlflowRun(store.client, ids[name]), store.folder / f"spool {name}")
        store.client.log_dict(ids[name], {"space": "toy", "ridge": 0.1}, Layout().config)
        writer.write_snapshot(snapshot(1, held))
    return store, ids


@pytest.fixture
def opened(explained: tuple[Store, dict[str, str]], open_page: Opened) -> Opened:
    """Opens the page on a run by its name here."""
    store, ids = explained

    def explain(name: str, **link: str) -> AppTest:
        app = open_page("explain", store.uri, runs=[ids[name]], **link)
        assert not app.exception
        assert not app.error
        return app

    return explain


def titles(app: AppTest) -> list[str]:
    specs: list[dict[str, Any]] = [json.loads(e.proto.spec) for e in app.get("vega_lite_chart")]
    return [spec["title"]["text"] for spec in specs]


def test_a_snapshot_adds_concepts_logits_and_neighbors(opened: Opened) -> None:
    app = opened("with", image=IDS[2])
    assert app.selectbox(key="image").value == IDS[2]
    assert titles(app)[0] == "Concepts gained and lost"
    scores, logits = (each.value for each in app.dataframe)
    assert scores["AS"].tolist()[:2] == [3.0, 1.5]
    assert scores["IS"].tolist()[:2] == [17.0, 7.0]
    assert scores.iloc[2][["AS", "IS"]].isna().all()
    assert {"cat", "zebra"} < set(logits["class"])
    assert logits["before"].is_monotonic_decreasing
    assert logits["difference"].abs().max() < 1e-5
    # Its own picture and those of its neighbors, though the table has none for it.
    assert len(captions(app)) > 1


def test_the_image_that_moved_most_comes_first(opened: Opened) -> None:
    app = opened("without")
    choice = app.selectbox(key="image")
    assert (choice.value, choice.placeholder) == (None, f"{IDS[3]} (first of the list)")
    assert titles(app) == ["AS of this image, centered", "IS of this image, centered"]
    assert captions(app)[1:2] == ["cat"]


@pytest.mark.parametrize(
    ("run", "link", "said"),
    [
        ("without", {}, "No snapshot in this run"),
        ("with", {"epoch": "0"}, "known for epoch 1 alone"),
        ("wordless", {}, "This run watches no concepts"),
        ("older", {}, "holds no embeddings of its texts"),
        ("without", {}, "start the app with the model"),
        ("with", {}, "Maps of where in the image"),
        ("with", {"image": "f" * 16}, "The link names an image"),
        ("without", {"image": IDS[0]}, "Its nearest images are not stored"),
    ],
)
def test_what_is_missing_is_said(run: str, link: dict[str, str], said: str, opened: Opened) -> None:
    app = opened(run, **link)
    subheaders = "\n".join(str(each.value) for each in app.subheader)
    assert said in f"{texts(app)}\n{subheaders}"
    assert len(titles(app)) >= 2


def test_a_card_of_images_leads_here(
    explained: tuple[Store, dict[str, str]], open_page: Opened
) -> None:
    store, ids = explained
    app = open_page("images", store.uri, runs=[ids["without"]])
    (link,) = (each for each in app.get("link_button") if each.proto.label == "Explain")
    page, _, address = link.proto.url.partition("?")
    found = parse_qs(address)
    assert (page, found["image"], found["runs"]) == ("explain", [IDS[3]], [ids["without"]])
    there = open_page(page, store.uri, **found)
    assert not there.exception
    assert there.selectbox(key="image").value == IDS[3]
