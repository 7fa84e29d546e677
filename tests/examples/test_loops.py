"""The quickstart in other loops: the same weights, and the same numbers."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pandas as pd
import pytest
import torch
from lightning.pytorch.loggers import MLFlowLogger
from torch import nn

from sing_monitor.tracking import RunReader, list_runs
from tests.helpers import tiny

# The examples are scripts and import each other by bare name.
sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))

import fabric as fabric_example
import plain_pytorch
import quickstart

EPOCHS = 2
# They differ from run to run.
APART = ["monitor/seconds", "timestamp", "step"]


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A new store in a folder of its own, where the examples run; caches lie there."""
    folder = tmp_path_factory.mktemp("loops")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        patch.chdir(folder)
        tiny.mlflow_logger(folder)
        yield quickstart.TRACKING_URI


@pytest.fixture(scope="module")
def by_lightning(uri: str) -> tuple[nn.Module, pd.DataFrame]:
    """The network that the quickstart trains for a shortcut, in short, and its scalars."""
    built = []

    def build() -> nn.Module:
        built.append(quickstart.small_resnet())
        return built[0]

    logger = MLFlowLogger("by lightning", tracking_uri=uri)
    run_id = quickstart.train(logger, 0.95, EPOCHS, build=build, copies=1)
    return built[0], scalars(uri, run_id)


def scalars(uri: str, run_id: str | None) -> pd.DataFrame:
    return RunReader(uri, str(run_id)).scalars().drop(columns=APART)


def in_plain_pytorch(*, watched: bool) -> tuple[nn.Module, str | None]:
    return plain_pytorch.train("short", 0.95, EPOCHS, copies=1, watched=watched)


def in_fabric(*, watched: bool) -> tuple[nn.Module, str | None]:
    one = L.Fabric(accelerator="cpu", devices=1)
    return fabric_example.train(one, "short", 0.95, EPOCHS, copies=1, watched=watched)


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    theirs = other.state_dict()
    return all(torch.equal(each, theirs[name]) for name, each in one.state_dict().items())


@pytest.mark.parametrize("train", [in_plain_pytorch, in_fabric])
def test_every_loop_gives_the_weights_and_the_numbers_of_the_trainer(
    train: Callable[..., tuple[nn.Module, str | None]],
    uri: str,
    by_lightning: tuple[nn.Module, pd.DataFrame],
) -> None:
    model, expected = by_lightning
    watched, run_id = train(watched=True)
    alone, _ = train(watched=False)
    assert same_weights(watched, alone)
    assert same_weights(watched, model)
    found = scalars(uri, run_id)
    assert found["epoch"].tolist() == list(range(EPOCHS))
    assert found["sing/class_hidden"].notna().all()
    pd.testing.assert_frame_equal(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("example", "way", "options"),
    [(plain_pytorch, "plain", ["--ema", "0.9"]), (fabric_example, "fabric", [])],
)
def test_an_example_ends_in_the_table_of_the_quickstart(
    example: Any, way: str, options: list[str], uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    example.main(["--epochs", "1", "--copies", "1", *options])
    said = capsys.readouterr().out
    runs = list_runs(uri).set_index("run_name").loc[list(quickstart.RUNS)]
    newest = runs[runs["sing.way"] == way]
    table = quickstart.table(newest["run_id"].to_dict())
    assert f"\n{table}\n" in said
    assert newest["status"].tolist() == ["FINISHED"] * 2
