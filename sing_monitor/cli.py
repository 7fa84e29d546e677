"""The console command ``sing-monitor``."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Sequence
from importlib import resources
from importlib.metadata import version
from pathlib import Path

_NO_STREAMLIT = 'The app needs Streamlit: pip install "sing-monitor[app]"'
_DESCRIPTION = """\
Shows, epoch by epoch, what an image classifier's head ignores and what that means.

Train with SINGCallback and an MLflow logger, then look at the runs in the browser:

  sing-monitor app"""
_APP_DESCRIPTION = """\
Opens the app in the browser: the monitored runs, how their scores evolve, and a guide
to every number. Ctrl-C ends it.

The runs are read from the store that the training logged to: --tracking-uri, else the
environment variable MLFLOW_TRACKING_URI, else sqlite:///mlflow.db in this folder."""
_APP_EPILOG = """\
examples:
  sing-monitor app
  sing-monitor app --tracking-uri sqlite:////data/mlflow.db
  sing-monitor app --tracking-uri http://127.0.0.1:5000 --port 8600

A password belongs into MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD: what stands
on a command line can be read by everybody on the machine."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: what follows the command's name; None: those of this process.

    Returns:
        The exit code: 0 when all went well, also after Ctrl-C; 1 when the app cannot start; else
        Streamlit's own.

    Raises:
        SystemExit: with 0 after the help, with 2 for arguments that cannot be understood.
    """
    parser = _parser()
    known = parser.parse_args(arguments)
    if known.command is None:
        parser.print_help()
        return 0
    return _app(known.tracking_uri, known.host, known.port)


def _parser() -> argparse.ArgumentParser:
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        "sing-monitor", description=_DESCRIPTION, formatter_class=layout, allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=version("sing-monitor"))
    commands = parser.add_subparsers(dest="command", title="commands", metavar="COMMAND")
    app = commands.add_parser(
        "app",
        help="open the app on the runs of an MLflow store",
        description=_APP_DESCRIPTION,
        epilog=_APP_EPILOG,
        formatter_class=layout,
        allow_abbrev=False,
    )
    app.add_argument(
        "--tracking-uri", metavar="URI", type=_uri, help="the MLflow store or server to read"
    )
    app.add_argument(
        "--port", type=_port, metavar="N", help="port of the app (default: 8501, or the next free)"
    )
    app.add_argument(
        "--host",
        metavar="ADDRESS",
        help="address to listen at (default: 127.0.0.1, only this machine); with another one, "
        "everybody who reaches it sees all runs",
    )
    return parser


def _app(tracking_uri: str | None, host: str | None, port: int | None) -> int:
    if not _has_streamlit():
        sys.stderr.write(f"{_NO_STREAMLIT}\n")
        return 1
    options = ["--server.address", host] if host else []
    options += ["--server.port", str(port)] if port is not None else []
    options += ["--", "--tracking-uri", tracking_uri] if tracking_uri else []
    return _run(["run", str(_script()), *options])


def _run(arguments: list[str]) -> int:
    """Streamlit's own command in this process, which therefore ends as it does."""
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
    # Raised where the module is blocked.
    except (ImportError, ValueError):
        return False


def _script() -> Path:
    # Streamlit runs files, and its pages lie beside this one.
    return Path(str(resources.files("sing_monitor.app"))) / "main.py"


def _uri(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("is empty; for example sqlite:///mlflow.db")
    return text


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < int(text) < 65536):
        raise argparse.ArgumentTypeError(f"{text!r} is no port; give a number from 1 to 65535")
    return int(text)
