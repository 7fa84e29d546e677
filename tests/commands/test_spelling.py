"""Each adapter names its own options: the callback, ``analyze`` and the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch.utils.data import DataLoader, TensorDataset

from sing_monitor import SINGCallback, analyze
from sing_monitor.callbacks.spelling import spell
from sing_monitor.commands.cli import main
from sing_monitor.commands.spelling import spelled
from sing_monitor.errors import Option, SetupError, as_setup_error
from sing_monitor.offline.analyze import for_analyze
from tests.helpers import tiny

HERE = "tests.commands.test_spelling"


def model() -> tiny.Classifier:
    return tiny.Classifier()


def blobs() -> DataLoader[Any]:
    return tiny.loader(tiny.Blobs())


def soft_labels() -> DataLoader[Any]:
    data = tiny.Blobs()
    return tiny.loader(TensorDataset(data.images, torch.eye(4)[data.labels]))


def beyond() -> DataLoader[Any]:
    data = tiny.Blobs()
    return tiny.loader(TensorDataset(data.images, data.labels - 7))


def normalized() -> DataLoader[Any]:
    data = tiny.Blobs()
    return tiny.loader(TensorDataset((data.images - 0.4) / 0.1, data.labels))


# The wrong options in Python and on the command line, the loader, and what each one reads.
SETUPS: dict[str, tuple[dict[str, Any], list[str], str, tuple[str, str, str]]] = {
    "too few images": (
        {"probe_size": 1},
        ["--probe-size", "1"],
        "blobs",
        ("SINGCallback(probe_size=1): expected", "probe_size=1: expected", "--probe-size 1: expec"),
    ),
    "too large a ridge": (
        {"ridge": 1e300},
        ["--ridge", "1e300"],
        "blobs",
        ("SINGCallback(ridge=1e+300): expected", "ridge=1e+300: expected", "--ridge 1e+300: expec"),
    ),
    "no template": (
        {"prompt": "a cat"},
        ["--prompt", "a cat"],
        "blobs",
        ("SINGCallback(prompt='a cat'): ", "prompt='a cat': ", "--prompt 'a cat': "),
    ),
    "no such head": (
        {"head": "network.fc"},
        ["--head", "network.fc"],
        "blobs",
        ('SINGCallback(head="...")', 'head="..."', "--head NAME"),
    ),
    "too few names": (
        {"class_names": ["cat"]},
        ["--class-names", "names.txt"],
        "blobs",
        ("SINGCallback(class_names=[...])", "class_names=[...]", "--class-names FILE"),
    ),
    "labels that are no index": (
        {},
        [],
        "soft_labels",
        (
            "SINGCallback(batch_adapter=lambda batch: ",
            "pass batch_adapter=lambda batch: ",
            "sing_monitor.analyze(..., batch_adapter=lambda batch: ",
        ),
    ),
    "pixels of an unknown scale": (
        {},
        [],
        "normalized",
        ("SINGCallback(pixel_stats=", " pixel_stats=", "--mean "),
    ),
    "labels without an output": (
        {},
        [],
        "beyond",
        (
            "SINGCallback(batch_adapter=lambda batch: ",
            "batch_adapter=lambda batch: ",
            "sing_monitor.analyze(..., batch_adapter=lambda batch: ",
        ),
    ),
}


@pytest.mark.parametrize("case", SETUPS)
def test_a_wrong_setup_is_spelled_for_whom_it_is_said_to(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options, arguments, data, said = SETUPS[case]
    loader, space = globals()[data](), {"space": tiny.HashSpace(), "cache_dir": None}
    with pytest.raises(MisconfigurationException) as of_callback:
        SINGCallback(**{**space, **options}).check(tiny.Classifier(), loader)
    assert said[0] in str(of_callback.value)

    with pytest.raises(SetupError) as of_analyze:
        analyze(tiny.Classifier(), loader, **{**space, **options})
    assert said[1] in str(of_analyze.value)
    assert "SINGCallback(" not in str(of_analyze.value)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "names.txt").write_text("cat\n")
    tiny.mlflow_logger(tmp_path)
    torch.save(tiny.Classifier().state_dict(), tmp_path / "epoch=3.pt")
    command = ["analyze", str(tmp_path / "epoch=3.pt"), "--model", f"{HERE}:model", "--data"]
    command += [f"{HERE}:{data}", "--space", "tests.helpers.tiny:HashSpace", *arguments]
    assert main([*command, "--tracking-uri", f"sqlite:///{tmp_path / 'mlflow.db'}"]) == 1
    error = capsys.readouterr().err
    assert said[2] in error
    assert "SINGCallback(" not in error


@pytest.mark.parametrize(
    ("option", "on_the_command_line"),
    [
        (Option("head", '"model.fc"'), "--head model.fc"),
        (Option("head"), "--head NAME"),
        (Option("head", '"..."'), "--head NAME"),
        (Option("probe_size", "2000"), "--probe-size 2000"),
        (Option("space", '"ViT-B-32/openai"'), "--space ViT-B-32/openai"),
        (Option("prompt", '["a {}", "the {}"]'), "--prompt 'a {}' 'the {}'"),
        (Option("class_names", "[...]"), "--class-names FILE"),
        (Option("concepts", '["red"]'), "--concepts FILE"),
        (Option("pixel_stats", "(0.5, 0.5)"), "--mean 0.5 --std 0.5"),
        (Option("pixel_stats", "(0.0, 1 / 255)"), "--mean 0 --std 0.00392157"),
        (
            Option("pixel_stats", "((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))"),
            "--mean 0.485 0.456 0.406 --std 0.229 0.224 0.225",
        ),
        (Option("pixel_stats"), "--mean X --std X"),
        (Option("save_snapshots", "True"), "--save-snapshots"),
        (Option("each", '"model"'), "--each model"),
        (Option("loader", "DataLoader(...)"), "--data module:function"),
        (Option("ridge", "0.1"), "--ridge 0.1"),
        (Option("space", "None"), "--space none"),
        (Option("cache_dir", "None"), "sing_monitor.analyze(..., cache_dir=None)"),
    ],
)
def test_options_as_the_command_line_takes_them(option: Option, on_the_command_line: str) -> None:
    error = SetupError("Pass ", option, ".")
    assert spelled(error) == f"Pass {on_the_command_line}."
    assert error.spelled(spell) == f"Pass SINGCallback({option})."
    assert str(for_analyze(error)) == f"Pass {option}."


def test_analyze_has_a_loader_where_the_callback_has_a_probe() -> None:
    error = SetupError("Give ", Option("probe", "DataLoader(...)"), ".")
    assert str(for_analyze(error)) == "Give loader=DataLoader(...)."
    assert spelled(for_analyze(error)) == "Give --data module:function."


def test_what_is_no_setup_error_stays_as_it_is() -> None:
    assert spelled(ValueError("plain")) == str(as_setup_error(ValueError("plain"))) == "plain"
    assert str(as_setup_error(KeyError())) == "KeyError"
