from __future__ import annotations

import pytest

from sing_monitor.app.settings import DEFAULT_URI, tracking_uri

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
