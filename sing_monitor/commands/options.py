"""What several commands take, and how they lay out their help."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sing_monitor.tracking import Store, default_uri
from sing_monitor.tracking.spool import spool_place


def add_command(
    subparsers: argparse._SubParsersAction[Any],
    name: str,
    *,
    help: str,
    description: str,
    epilog: str,
    late: Callable[[argparse.ArgumentParser], None] | None = None,
) -> argparse.ArgumentParser:
    """A parser for one command, which keeps the line breaks of its texts.

    Args:
        subparsers: of the console command.
        name: of the command.
        help: one line.
        description: of the command.
        epilog: examples.
        late: adds options whose definition takes seconds to import; called when the command is.
    """
    parser: CommandParser = subparsers.add_parser(
        name,
        help=help,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.late = late
    return parser


class CommandParser(argparse.ArgumentParser):
    """Parser that takes its last options when it is used."""

    late: Callable[[argparse.ArgumentParser], None] | None = None

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Add the last options, then parse."""
        late, self.late = self.late, None
        if late is not None:
            late(self)
        return super().parse_known_args(args, namespace)


def add_tracking_uri(parser: argparse.ArgumentParser, help: str) -> None:
    """The option ``--tracking-uri``; None where it is not given."""
    parser.add_argument("--tracking-uri", metavar="URI", type=_uri, help=help)


def tracking_uri(arguments: argparse.Namespace) -> str:
    """``--tracking-uri``, else MLFLOW_TRACKING_URI, else ``sqlite:///mlflow.db``."""
    return arguments.tracking_uri or default_uri()


def spool_folder(store: Store) -> Path | None:
    """Where spools are kept: in this folder, else in a temporary one, which is said.

    Returns:
        The folder; None for a store that has a place of its own for them.
    """
    if store.own_spool is not None:
        return None
    folder, reason = spool_place(Path())
    if reason is not None:
        sys.stderr.write(
            f"This folder {reason}. What {store.place} does not take now waits in {folder}; "
            f"sing-monitor sync {shlex.quote(str(folder))} delivers it.\n"
        )
    return folder


def _uri(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError(
            "is empty; for example sqlite:///mlflow.db, or a folder of runs"
        )
    return text
