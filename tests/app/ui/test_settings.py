from __future__ import annotations

from pathlib import Path

import pytest

from sing_monitor.app.ui.settings import DEFAULT_URI, model_source, tracking_uri
from sing_monitor.commands.app_options import ModelSource, as_arguments

ENVIRONMENT = {"MLFLOW_TRACKING_URI": "http://from.environment"}


def test_the_command_line_goes_before_the_environment() -> None:
    for arguments in (["--tracking-uri", "sqlite:///a.db"], ["--tracking-uri=sqlite:///a.db"]):
        assert tracking_uri(arguments, ENVIRONMENT) == "sqlite:///a.db"
    assert tracking_uri([], ENVIRONMENT) == "http://from.environment"
    assert tracking_uri([], {}) == DEFAULT_URI
    assert tracking_uri([], {"MLFLOW_TRACKING_URI": ""}) == DEFAULT_URI


def test_other_options_are_left_to_others() -> None:
    assert tracking_uri(["-q", "tests", "--track", "x"], {}) == DEFAULT_URI


@pytest.mark.parametrize("arguments", [["--tracking-uri"], ["--tracking-uri", ""]])
def test_an_option_without_value_is_an_error(arguments: list[str]) -> None:
    with pytest.raises(ValueError, match="--tracking-uri has no value"):
        tracking_uri(arguments, ENVIRONMENT)


def test_a_model_is_read_back_from_the_options_that_name_it(tmp_path: Path) -> None:
    path = tmp_path / "a b.ckpt"
    path.touch()
    source = ModelSource(path, model="train:Lit", data="train:loader", space="ViT-B-32/x")
    assert model_source(["--tracking-uri", "sqlite:///a.db", *as_arguments(source)]) == source
    assert as_arguments(None) == []
    for arguments in ([], ["-q", "tests", "--track", "x"]):
        assert model_source(arguments) is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model", "train:Lit"], "--model says nothing without the weights"),
        (["--checkpoint", "nowhere.pt"], "there is no such file"),
        (["--checkpoint"], "expected one argument"),
    ],
)
def test_options_that_name_no_model_are_errors(arguments: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        model_source(arguments)
