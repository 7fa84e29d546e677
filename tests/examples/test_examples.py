"""Each example in a short form, in this process: it runs to its end and says what it should."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from sing_monitor.tracking import RunReader, list_runs
from tests.helpers import tiny

# The examples are scripts and import each other by bare name.
sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))

import class_hierarchy
import compare_backbones
import fashion_mnist
import imagenet_finetune
import posthoc
import rank_over_depth
import steering

SHORT = ["--epochs", "1", "--copies", "1"]


@pytest.fixture(autouse=True)
def _precision_as_before() -> Iterator[None]:
    """An example for GPUs asks for faster products, for the whole process."""
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)


@pytest.fixture
def uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A new store in a folder of its own, where the example runs; caches and data lie there."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    tiny.mlflow_logger(tmp_path)
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


def last_scalars(uri: str, experiment: str) -> dict[str, dict[str, float]]:
    runs = list_runs(uri, experiment).set_index("run_name")["run_id"]
    return {
        str(name): RunReader(uri, run_id).scalars().iloc[-1].to_dict()
        for name, run_id in runs.items()
    }


def test_compare_backbones_ends_with_the_table_and_the_figure_of_its_experiment(
    uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models = ["ResNet 128", "ViT"]
    figure = tmp_path / "models.png"
    options = ["--models", *models, "--tracking-uri", uri, "--out", str(figure)]
    compare_backbones.main([*options, *SHORT])
    said = capsys.readouterr().out
    found = last_scalars(uri, compare_backbones.EXPERIMENT)
    assert found.keys() == set(models)
    for name, null_dim in (("ResNet 128", 118), ("ViT", 54)):
        (row,) = re.findall(rf"\| {name} \|(.*)\|\n", said)
        cells = [cell.strip() for cell in row.split("|")]
        assert cells[0] == str(null_dim) == f"{found[name]['head/null_dim']:.0f}"
        assert cells[2] == f"{found[name]['sing/class_hidden']:.2f}"
        assert cells[6] == f"{found[name]['sing/image_score_centered']:.2f}"
        assert cells[7] == f"{found[name]['sing/image_score_random']:.2f}"
    with Image.open(figure) as drawn:
        assert min(drawn.size) > 500
        assert len(drawn.convert("RGB").getcolors(2**24) or []) > 50


@pytest.mark.skipif(
    not fashion_mnist.DEBIAN.is_dir(), reason="apt install dataset-fashion-mnist (CI does)"
)
def test_fashion_mnist_trains_on_the_real_images(
    uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    size = ["--epochs", "1", "--images", "256", "--workers", "0", "--fast"]
    data = ["--data", str(tmp_path / "data"), "--tracking-uri", uri]
    fashion_mnist.main(["--space", "tiny", *size, *data])
    said = capsys.readouterr().out
    assert "these numbers mean nothing" in said
    assert said.count("agreement") == said.count("Most confused are ") == 2
    found = last_scalars(uri, "fashion mnist")
    assert found.keys() == {"test_resnet", "test_vit"}
    assert all(scalars["monitor/samples"] == 256 for scalars in found.values())
    # Class names that the space cannot read are not used.
    assert set(list_runs(uri)["sing.reference"]) == {"prototype"}
    images = fashion_mnist.fashion_mnist(tmp_path / "data", train=True)
    assert len(images) == 60_000
    assert images.classes[9] == "Ankle boot"
    pixels = torch.stack([images[i][0] for i in range(500)])
    assert abs(float(pixels.mean())) < 0.05
    assert abs(float(pixels.std()) - 1) < 0.05


def test_features_of_even_and_odd_hold_digits_of_one_kind_alike(
    capsys: pytest.CaptureFixture[str],
) -> None:
    class_hierarchy.main(["--seeds", "1"])
    (taught, not_taught) = re.findall(r"\((-?\d\.\d\d)", capsys.readouterr().out)[:2]
    assert float(taught) > float(not_taught) + 0.3


def test_imagenet_finetune_takes_both_weights_from_files(
    uri: str, tmp_path: Path, clip_space: str
) -> None:
    folder = str(tiny.image_folder(tmp_path / "images", 32))
    torch.manual_seed(0)
    pretrained = timm.create_model("test_resnet", num_classes=1000)
    save_file(pretrained.state_dict(), tmp_path / "pretrained.safetensors")
    weights = ["--model", "test_resnet", "--weights", str(tmp_path / "pretrained.safetensors")]
    options = ["--batch-size", "8", "--epochs", "1", "--workers", "0", "--learning-rate", "1e-9"]
    where = ["--space", clip_space, "--tracking-uri", uri]
    imagenet_finetune.main([folder, folder, *weights, *options, *where])

    (scalars,) = last_scalars(uri, "imagenet finetune").values()
    assert scalars["monitor/samples"] == 32
    reader = RunReader(uri, list_runs(uri)["run_id"].iloc[0])
    assert reader.config()["class_names"] == list(tiny.CLASSES)
    assert reader.config()["space"].startswith("sing-callback-test/tiny.safetensors@")
    # At so small a rate the backbone is still the file's, and the head a new one.
    (checkpoint,) = tmp_path.rglob("last.ckpt")
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    name, stem = next(iter(pretrained.state_dict().items()))
    torch.testing.assert_close(state[f"network.{name}"], stem, atol=1e-6, rtol=0)
    assert state["network.fc.weight"].shape == (len(tiny.CLASSES), 96)


def test_imagenet_finetune_refuses_folders_that_number_their_classes_differently(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = tiny.image_folder(tmp_path / "train", 4)
    (tmp_path / "flat").mkdir()  # as ImageNet's validation images come
    with pytest.raises(SystemExit):
        imagenet_finetune.main([str(train), str(tmp_path / "flat")])
    assert "do not hold the same class folders" in capsys.readouterr().err


def test_posthoc_analyzes_adds_concepts_and_explains(
    uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    posthoc.main(SHORT)
    said = capsys.readouterr().out
    assert re.search(r"head/null_dim +118\.000", said)
    assert re.search(r"seven +39 ", said)
    assert re.search(r"\n +gray +\d", said)
    assert re.search(r"One image: predicted \w+; scores toward", said)


def test_steering_moves_the_meaning_and_no_logit(
    uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    steering.main(SHORT)
    said = capsys.readouterr().out
    assert said.count("|AS| toward the nearest other digit") == len(steering.NETWORKS)
    changes = re.findall(r"toward red at IS = 20: AS \+\d.*change of a logit (\S+)", said)
    assert len(changes) == len(steering.NETWORKS)
    assert all(float(change) < 1e-12 for change in changes)


def test_rank_over_depth_shows_the_bottleneck_from_the_start(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rank_over_depth.main(["--seeds", "1", "--epochs", "1"])
    said = capsys.readouterr().out.partition("Standard deviation")[0]
    rows = re.findall(r"^(.*?) +([01])((?: +\d+\.\d\d){8})$", said, re.MULTILINE)
    ranks = [[float(number) for number in row.split()][:6] for _, _, row in rows]
    linear, bottleneck, shortcuts = ranks[:2], ranks[4:6], ranks[6:8]
    assert len(ranks) == 8
    assert all(row[3] <= 3 < row[2] for row in bottleneck)
    assert linear == [sorted(row, reverse=True) for row in linear]
    assert shortcuts[1][5] > 2 * linear[1][5]
