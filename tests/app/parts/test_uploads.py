"""Uploads and maps: the pages of a finished run, with its model on the command line."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pandas as pd
import pytest
import torch
from streamlit.testing.v1 import AppTest
from torchvision.transforms.v2.functional import to_pil_image

from sing_monitor.app.parts.image_cards import OUTSIDE
from tests.app.conftest import Opened
from tests.app.views.test_images import texts
from tests.helpers import tiny
from tests.helpers.finished_run import FinishedRun

HERE = "tests.app.given"
MODEL = ("--model", "tests.helpers.tiny:Classifier")
TRANSFORM = ("--transform", f"{HERE}:to_input")
DATA = ("--data", f"{HERE}:validation")
ROW = 5
Given = Callable[..., AppTest]


def png(row: int) -> bytes:
    """A probe image as a file."""
    file = BytesIO()
    to_pil_image(tiny.Blobs().images[row]).save(file, format="PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def images(run_with_snapshot: FinishedRun) -> pd.DataFrame:
    """The last table, by place in the data set."""
    reader = run_with_snapshot.reader
    last = reader.validations()[-1]
    support = reader.table("support", *last)[["image", "outside", "outside_centered"]]
    return reader.table("images", *last).merge(support, on="image").set_index("sample_index")


@pytest.fixture
def given(
    run_with_snapshot: FinishedRun, open_page: Opened, monkeypatch: pytest.MonkeyPatch
) -> Given:
    """Opens a page of an app that was started with these options."""

    def opened(
        *options: str, page: str = "explain", checkpoint: str | Path = "last.ckpt", **link: str
    ) -> AppTest:
        path = run_with_snapshot.checkpoints / checkpoint
        monkeypatch.setattr(sys, "argv", ["main.py", "--checkpoint", str(path), *options])
        app = open_page(page, run_with_snapshot.uri, runs=[run_with_snapshot.run_id], **link)
        assert not app.exception
        return app

    return opened


def upload(app: AppTest, content: bytes, toward: int | None = None) -> AppTest:
    app.file_uploader(key="upload").upload("picture.png", content, "image/png").run()
    if toward is not None:
        app.selectbox(key="toward").set_value(toward).run()
    assert not app.exception
    return app


def charts(app: AppTest) -> list[str]:
    return [json.loads(each.proto.spec)["title"]["text"] for each in app.get("vega_lite_chart")]


def mapped_score(app: AppTest) -> float:
    """What the contributions of all locations add up to, as the page says it."""
    (found,) = re.findall(r"add up to the AS of the image, ([+-][\d.]+)°", texts(app))
    return float(found)


MAPS = ["Contribution to AS", "Null energy", "Principal energy"]
FOCUS = ["All features", "What the head sees", "What the head ignores"]


def test_an_uploaded_probe_image_gets_the_scores_of_its_row(
    given: Given, images: pd.DataFrame
) -> None:
    row = images.loc[ROW]
    space = ("--space", "tests.helpers.tiny:HashSpace")
    app = upload(given(*MODEL, *TRANSFORM, *space), png(ROW), toward=int(row["label"]))
    scores, logits = (each.value for each in app.dataframe)
    for place, suffix in enumerate(("_centered", "", "_random")):
        for short, name in (("AS", "attribute_score"), ("IS", "image_score")):
            assert scores.loc[place, short] == pytest.approx(row[f"{name}{suffix}"], abs=1e-3)
    assert logits["class"][0] == tiny.CLASSES[row["prediction"]]
    assert charts(app) == ["Concepts gained and lost", *MAPS, *FOCUS]
    assert mapped_score(app) == pytest.approx(row["attribute_score_centered"], abs=0.01)
    assert "cosine" in texts(app)
    assert app.selectbox(key="image").disabled
    assert (OUTSIDE in texts(app)) == bool(row["outside_centered"])
    app.get_by_key("removal").set_value("Raw").run()
    assert (OUTSIDE in texts(app)) == bool(row["outside"])


def test_without_a_space_the_texts_of_the_run_are_used(given: Given) -> None:
    content = png(ROW)
    app = upload(given(*MODEL, *TRANSFORM), content)
    assert app.dataframe[0].value[["AS", "IS"]].notna().all(axis=None)
    assert "start the app with `--space`" in texts(app)
    app.file_uploader(key="upload").clear().run()
    assert not app.selectbox(key="image").disabled
    assert "AS of this image, centered" in charts(app)


def narrow(folder: Path) -> Path:
    """A checkpoint of the model `given.narrow`."""
    from tests.app.given import narrow as build

    torch.save(build().state_dict(), folder / "narrow.pt")
    return folder / "narrow.pt"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((*MODEL, *TRANSFORM, "--timm", "resnet18"), "not allowed with argument"),
        (("--model", f"{HERE}:nothing", *TRANSFORM), "has no function"),
        (MODEL, "Classifier is no timm model, so the transform of its images is unknown"),
        ((*MODEL, "--transform", f"{HERE}:not_scaled"), "was not normalized like the images"),
        ((*MODEL, "--transform", f"{HERE}:narrow"), "The transform failed on the picture"),
        ((*MODEL, *TRANSFORM, "--space", "tests.app.given:OtherSpace"), "this one is"),
    ],
)
def test_what_cannot_be_used_is_said(given: Given, options: tuple[str, ...], said: str) -> None:
    app = given(*options)
    if app.get("file_uploader"):
        upload(app, png(ROW))
    assert texts(app).replace("\\", "").count(said) == 1
    assert "What its null part says" not in texts(app)


def test_an_unreadable_picture_is_said_to_be_one(given: Given) -> None:
    app = upload(given(*MODEL, *TRANSFORM), b"no picture")
    assert "cannot be read as a picture" in texts(app)


def test_a_head_that_does_not_fit_is_named_with_both_shapes(given: Given, tmp_path: Path) -> None:
    options = ("--model", f"{HERE}:narrow", *TRANSFORM)
    app = upload(given(*options, checkpoint=narrow(tmp_path)), png(ROW))
    said = texts(app).replace("\\", "")
    assert "is (5, 8) (classes, features), that of the run (4, 16)" in said


def test_a_checkpoint_of_another_epoch_is_marked(
    given: Given, run_with_snapshot: FinishedRun
) -> None:
    (early,) = run_with_snapshot.checkpoints.glob("epoch=0*")
    app = upload(given(*MODEL, *TRANSFORM, *DATA, checkpoint=early.name), png(ROW))
    assert "head is not that of the run's snapshot (epoch 2, step 9)" in texts(app)
    assert charts(app) == ["Concepts gained and lost", *MAPS, *FOCUS]


def test_a_checkpoint_that_is_not_there_is_said_on_the_page(given: Given) -> None:
    app = given(*MODEL, checkpoint="nowhere.ckpt")
    assert "there is no such file" in texts(app)
    assert not app.get("file_uploader")


@pytest.mark.parametrize("page", ["images", "explain"])
def test_a_probe_image_is_mapped_with_the_score_of_its_row(
    page: str, given: Given, images: pd.DataFrame
) -> None:
    row = images.loc[ROW]
    for pair, column in (("Centered", "attribute_score_centered"), ("Raw", "attribute_score")):
        app = given(*MODEL, *DATA, page=page, image=row["image"], removal=pair)
        assert [title for title in charts(app) if title in MAPS] == MAPS
        assert mapped_score(app) == pytest.approx(row[column], abs=0.01)


def test_the_model_spreads_features_as_the_run_says(
    given: Given, run_with_snapshot: FinishedRun
) -> None:
    reader = run_with_snapshot.reader
    counted = reader.table("focus", *reader.validations()[-1]).iloc[0]
    app = given(*MODEL, *DATA, image=counted["image"])
    titles = [json.loads(each.proto.spec)["title"] for each in app.get("vega_lite_chart")]
    said = {each["text"]: each["subtitle"][1] for each in titles if each["text"] in FOCUS}
    columns = ("entropy", "entropy_seen", "entropy_null")
    for name, column in zip(FOCUS, columns, strict=True):
        assert said[name].startswith(f"H {counted[column]:.2f}, ")
    assert f"overlap {counted['overlap']:.2f}" in texts(app)


@pytest.mark.parametrize(
    ("options", "link", "said"),
    [
        ((*MODEL, *TRANSFORM), {}, "need the model and the pixels of the probe"),
        (("--model", f"{HERE}:max_pooled", *DATA), {}, "No maps: they need a head that"),
        ((*MODEL, "--data", f"{HERE}:other_images"), {}, "is not the one that the run was"),
        ((*MODEL, *DATA), {"epoch": "0"}, "known for epoch 2 alone"),
    ],
)
def test_where_there_are_no_maps_a_line_says_why(
    options: tuple[str, ...],
    link: dict[str, str],
    said: str,
    given: Given,
    images: pd.DataFrame,
) -> None:
    app = given(*options, page="images", image=images.loc[ROW, "image"], **link)
    assert said in texts(app)
    assert not set(MAPS) & set(charts(app))
