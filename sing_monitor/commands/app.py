"""``sing-monitor app``: open the app in the browser."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from importlib import resources
from pathlib import Path

from sing_monitor.commands.app_options import add_model_source, as_arguments, model_source
from sing_monitor.commands.options import add_command, add_tracking_uri

_NO_STREAMLIT = 'The app needs Streamlit: pip install "sing-monitor[app]"'
_DESCRIPTION = """\
Opens the app in the browser: the monitored runs, how their scores evolve, and a guide
to every number. Ctrl-C ends it.

The runs are read from the store that the training logged to: --tracking-uri, else the
environment variable MLFLOW_TRACKING_URI, else sqlite:///mlflow.db in this folder.

With --checkpoint, the page Explain takes pictures of your own, and with --data, Images
shows where in an image a head looks. The model is named as for sing-monitor analyze: by
--timm ARCHITECTURE, by --model module:function (returns a torch.nn.Module), or by
--model module:Class of a LightningModule; without both, by the architecture that timm's
own checkpoints name. Files are read with weights_only=True: no code in them is run."""
_EPILOG = """\
examples:
  sing-monitor app
  sing-monitor app --tracking-uri sqlite:////data/mlflow.db
  sing-monitor app --tracking-uri runs
  sing-monitor app --tracking-uri http://127.0.0.1:5000 --port 8600
  sing-monitor app --checkpoint last.ckpt --model train:LitModel --data train:val_loader
  sing-monitor app --checkpoint output/last.pth.tar --data imagenet/val

Put a password into MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD: everybody on the
machine can read command lines."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = add_command(
        subparsers,
        "app",
        help="open the app on the runs of a store",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    add_tracking_uri(parser, "the MLflow store or server to read, or a folder of runs")
    parser.add_argument(
        "--port", type=_port, metavar="N", help="port of the app (default: 8501, or the next free)"
    )
    parser.add_argument(
        "--host",
        metavar="ADDRESS",
        help="address to listen at (default: 127.0.0.1, only this machine); with another one, "
        "everybody who reaches it sees all runs",
    )
    add_model_source(parser)


def run(arguments: argparse.Namespace) -> int:
    """Open the app.

    Returns:
        0, also after Ctrl-C; 1 if Streamlit is missing or the options name no model; else the exit
        code of Streamlit.
    """
    if not _has_streamlit():
        sys.stderr.write(f"{_NO_STREAMLIT}\n")
        return 1
    try:
        model = as_arguments(model_source(arguments))
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    host, port, uri = arguments.host, arguments.port, arguments.tracking_uri
    options = ["--server.address", host] if host else []
    options += ["--server.port", str(port)] if port is not None else []
    options += ["--", *(["--tracking-uri", uri] if uri else []), *model]
    return _streamlit(["run", str(_script()), *options])


def _streamlit(arguments: list[str]) -> int:
    """Run Streamlit's command in this process, and return its exit code."""
    import click
    from streamlit.web import cli

    try:
        cli.main(arguments, prog_name="streamlit", standalone_mode=False)
    except (KeyboardInterrupt, click.Abort):
        return 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    return 0


def _has_streamlit() -> bool:
    try:
        return importlib.util.find_spec("streamlit") is not None
    # Raised if the import of the module is blocked.
    except (ImportError, ValueError):
        return False


def _script() -> Path:
    # Streamlit runs a file, and looks for its pages beside it.
    return Path(str(resources.files("sing_monitor.app"))) / "main.py"


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < int(text) < 65536):
        raise argparse.ArgumentTypeError(f"{text!r} is no port; give a number from 1 to 65535")
    return int(text)
