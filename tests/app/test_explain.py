"""The page Explain on real stores: one image, with and without a snapshot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
import torch
from streamlit.testing.v1 import AppTest
from torch import Tensor

from sing_monitor.cache import EmbeddingCache, default_cache_dir
from sing_monitor.embeddings import embed_texts
from sing_monitor.snapshot import Snapshot
from sing_monitor.tracking import Layout, RunWriter
from tests.app.conftest import Opened, copy_of
from tests.app.stores import Store
from tests.app.test_images import IDS, NAMES, add_run, captions, images, texts

PROMPTS = {"red": ["an image of red"], "striped": ["an image of striped"]}


class ToySpace:
    """Texts at random places of three dimensions."""

    name, dim = "toy", 3

    def encode_images(self, images: Tensor) -> Tensor:
        return images.mean(dim=(2, 3))

    def encode_texts(self, texts: list[str]) -> Tensor:
        return torch.randn(len(texts), 3, generator=torch.Generator().manual_seed(3))


def snapshot(epoch: int) -> Snapshot:
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
    )


@pytest.fixture(scope="module")
def explained(
    empty_store: Store, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Store, dict[str, str]]:
    """Runs by what is stored of them."""
    store = copy_of(empty_store, tmp_path_factory.mktemp("explain"))
    both = [{"images": images(0)}, {"images": images(1)}]
    ids = {name: add_run(store, name, both) for name in ("with", "without", "wordless")}
    for name in ("with", "wordless"):
        writer = RunWriter(store.client, ids[name], store.folder / f"spool {name}")
        prompts = PROMPTS if name == "with" else {}
        config = {"space": "toy", "concept_prompts": prompts, "ridge": 0.1}
        store.client.log_dict(ids[name], config, Layout().config)
        writer.write_snapshot(snapshot(1))
    return store, ids


@pytest.fixture
def opened(
    explained: tuple[Store, dict[str, str]],
    open_page: Opened,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Opened:
    """Opens the page on a run, on a machine that knows the texts of its concepts."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cache = EmbeddingCache("toy", "texts", 3, default_cache_dir())
    embed_texts(ToySpace(), [prompt for each in PROMPTS.values() for prompt in each], cache)
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


def test_a_snapshot_adds_concepts_logits_and_neighbours(opened: Opened) -> None:
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
    # Its own picture and those of its neighbours, though the table has none for it.
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
        ("wordless", {}, "concepts of this run are not known"),
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
