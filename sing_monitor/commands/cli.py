"""The console command ``sing-monitor``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib.metadata import version

from sing_monitor.commands import analyze, app, cache, concepts, rescore, sync
from sing_monitor.commands.options import CommandParser

# Each module is named after its command.
COMMANDS = (app, analyze, concepts, rescore, cache, sync)

_DESCRIPTION = """\
Shows, epoch by epoch, what an image classifier's head ignores and what that means.

Train with SINGCallback and an MLflow logger, then look at the runs in the browser:

  sing-monitor app"""


def main(arguments: Sequence[str] | None = None, *, name: str = "sing-monitor") -> int:
    """Run the command.

    Args:
        arguments: what follows the command's name; None: those of this process.
        name: how the command was called, for its help.

    Returns:
        The exit code: 0 when all went well; each command's module says which others there are.

    Raises:
        SystemExit: with 0 after the help, with 2 for arguments that cannot be understood.
    """
    parser = argparse.ArgumentParser(
        name,
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=version("sing-monitor"))
    subparsers = parser.add_subparsers(
        dest="command", title="commands", metavar="COMMAND", parser_class=CommandParser
    )
    for module in COMMANDS:
        module.add_parser(subparsers)
    known = parser.parse_args(arguments)
    if known.command is None:
        parser.print_help()
        return 0
    by_name = {module.__name__.rpartition(".")[2]: module for module in COMMANDS}
    return by_name[known.command].run(known)
