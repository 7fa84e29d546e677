"""What the app was started with: the MLflow store, and perhaps a model."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence

from sing_monitor.commands.app_options import ModelSource, parse_model_source

DEFAULT_URI = "sqlite:///mlflow.db"


def tracking_uri(
    arguments: Sequence[str] | None = None, environment: Mapping[str, str] | None = None
) -> str:
    """The tracking URI: ``--tracking-uri``, else MLFLOW_TRACKING_URI, else ``sqlite:///mlflow.db``.

    It never comes from the page's address: a link could make the server read any file or reach any
    host.

    Args:
        arguments: what follows ``--`` on Streamlit's command line; None: those of this process.
        environment: None: that of this process.

    Raises:
        ValueError: if ``--tracking-uri`` stands without a value.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--tracking-uri")
    try:
        known, _ = parser.parse_known_args(sys.argv[1:] if arguments is None else arguments)
    except argparse.ArgumentError:
        known = argparse.Namespace(tracking_uri="")
    if known.tracking_uri == "":
        raise ValueError(
            "--tracking-uri has no value; give the one that the training used, "
            f"for example --tracking-uri {DEFAULT_URI}."
        )
    values = os.environ if environment is None else environment
    return known.tracking_uri or values.get("MLFLOW_TRACKING_URI") or DEFAULT_URI


def model_source(arguments: Sequence[str] | None = None) -> ModelSource | None:
    """The model that the command line names, or None; like the store, never from the address.

    Args:
        arguments: what follows ``--`` on Streamlit's command line; None: those of this process.

    Raises:
        ValueError: if the options cannot be understood, or there is no such checkpoint.
    """
    return parse_model_source(sys.argv[1:] if arguments is None else arguments)
