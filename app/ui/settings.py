"""What the app was started with: the store of the runs, and perhaps a model."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence

from sing_monitor.commands.app_options import ModelSource, parse_model_source
from sing_monitor.tracking.mlflow import DEFAULT_URI, default_uri


def tracking_uri(
    arguments: Sequence[str] | None = None, environment: Mapping[str, str] | None = None
) -> str:
    """The store's address: ``--tracking-uri``, else MLFLOW_TRACKING_URI, else sqlite:///mlflow.db.

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
            f"for example --tracking-uri {DEFAULT_URI}, or the folder of runs, --tracking-uri runs."
        )
    return known.tracking_uri or default_uri(environment)


def model_source(arguments: Sequence[str] | None = None) -> ModelSource | None:
    """The model that the command line names, or None; like the store, never from the address.

    Args:
        arguments: what follows ``--`` on Streamlit's command line; None: those of this process.

    Raises:
        ValueError: if the options cannot be understood, or there is no such checkpoint.
    """
    return parse_model_source(sys.argv[1:] if arguments is None else arguments)
