"""``sing-monitor cache``: show or empty the cache of embeddings, and of tables from servers."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sing_monitor.commands.options import add_command

_DESCRIPTION = """\
Shows or empties the cache.

Every image and text is embedded once; the embeddings are kept in a folder that all runs
of this user share, at most 2 GiB. What is deleted is embedded again when it is needed.
Beside them lie copies of the tables that the app has read from MLflow servers, at most
1 GB. What is deleted of these is asked for again."""
_EPILOG = """\
examples:
  sing-monitor cache info
  sing-monitor cache clear --space ViT-B-32/laion2b_s34b_b79k
  sing-monitor cache clear --yes"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = add_command(
        subparsers,
        "cache",
        help="show or empty the cache of embeddings and tables",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    parser.add_argument("action", choices=("info", "clear"), help="what to do")
    parser.add_argument(
        "--space",
        metavar="NAME",
        help="only the embeddings of this space, by the name that info shows",
    )
    parser.add_argument(
        "--cache-dir",
        metavar="FOLDER",
        type=Path,
        help="as given to SINGCallback(cache_dir=...) (default: $XDG_CACHE_HOME/sing_monitor, else "
        "sing_monitor in the user's cache folder, on Linux ~/.cache)",
    )
    parser.add_argument("--yes", action="store_true", help="clear without asking")


def run(arguments: argparse.Namespace) -> int:
    """Show or empty the cache.

    Returns:
        0, or 1 if nothing was deleted on ``clear``, or there is no such space.
    """
    from sing_monitor.space.cache import default_cache_dir
    from sing_monitor.space.cache_contents import clear, list_contents
    from sing_monitor.tracking.disk.kept_files import TABLES_FOLDER, kept_files

    root = (arguments.cache_dir or default_cache_dir()).expanduser()
    spaces = list_contents(root)
    tables = [] if arguments.space is not None else list(kept_files(root / TABLES_FOLDER))
    if arguments.space is not None:
        known = [each.space for each in spaces]
        spaces = [each for each in spaces if each.space == arguments.space]
        if not spaces:
            held = f"it holds {', '.join(known)}" if known else "it is empty"
            return _fail(f"{root} holds nothing of the space {arguments.space!r}; {held}.")
    rows = [(each.space, each.images, each.texts, _size(each.bytes)) for each in spaces]
    of_tables = sum(path.stat().st_size for path in tables)
    total = sum(each.bytes for each in spaces) + of_tables
    sys.stdout.write(f"{root}: {_size(total)}\n{_table(rows)}")
    if tables:
        sys.stdout.write(f"  {len(tables):,} tables from servers: {_size(of_tables)}\n")
    if arguments.action == "info" or not (spaces or tables):
        return 0
    if not arguments.yes:
        if not sys.stdin.isatty():
            return _fail(
                "Nothing was deleted: the command cannot ask here. To delete without asking, pass "
                "--yes."
            )
        if input("Delete all of this? [y/N] ").strip().lower() not in ("y", "yes"):
            return _fail("Nothing was deleted.")
    try:
        freed = clear(root, arguments.space)
        for path in tables:
            path.unlink(missing_ok=True)
        sys.stdout.write(f"Deleted {_size(freed + of_tables)}.\n")
    except OSError as error:
        return _fail(f"Some files could not be deleted: {error}.")
    return 0


def _table(rows: list[tuple[str, int, int, str]]) -> str:
    """Format rows as lines with aligned columns; an empty text for no rows."""
    if not rows:
        return ""
    cells = [("space", "images", "texts", "size")]
    cells += [(name, f"{images:,}", f"{texts:,}", size) for name, images, texts, size in rows]
    name, *others = (max(map(len, column)) for column in zip(*cells, strict=True))
    lines = [
        f"  {first:<{name}}"
        + "".join(f"  {cell:>{width}}" for cell, width in zip(rest, others, strict=True))
        for first, *rest in cells
    ]
    return "".join(f"{line}\n" for line in lines)


def _size(count: int) -> str:
    """Format a number of bytes, as in '12.3 MB'."""
    value, unit = float(count), "bytes"
    for larger in ("kB", "MB", "GB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:,.0f} {unit}" if unit == "bytes" else f"{value:,.1f} {unit}"


def _fail(sentence: str) -> int:
    sys.stderr.write(f"{sentence}\n")
    return 1
