"""``sing-monitor sync``: deliver what a training could not hand to its tracker."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

from sing_monitor.commands.options import add_command, add_tracking_uri
from sing_monitor.tracking import (
    DeliveryError,
    NotFoundError,
    Run,
    RunReader,
    StoreError,
    find_again,
    open_store,
)
from sing_monitor.tracking.delivery import Delivery
from sing_monitor.tracking.errors import reason
from sing_monitor.tracking.spool import ABOUT, SPOOL_DIR, Spool

_DESCRIPTION = f"""\
Delivers what a training could not hand to MLflow, because the server was away, the
artifact store was full, or the training was killed. The callback keeps such tables,
images and scalars in the folder {SPOOL_DIR} of the trainer's default_root_dir, or of a
folder of runs; each spool knows its run and its store."""
_EPILOG = f"""\
examples:
  sing-monitor sync
  sing-monitor sync experiments/one
  sing-monitor sync --tracking-uri http://127.0.0.1:5000 experiments/one/{SPOOL_DIR}

Passwords are never kept: give them in MLFLOW_TRACKING_USERNAME and
MLFLOW_TRACKING_PASSWORD, or a database's in MLFLOW_TRACKING_URI.

A validation that a killed training had not written to its end is delivered as far as it goes,
named, and shown as incomplete.

The exit code is 0 when nothing waits any more, else 1."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Say what the command takes."""
    parser = add_command(
        subparsers,
        "sync",
        help="deliver what a training could not hand to its tracker",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    add_tracking_uri(parser, "deliver to this store or server, instead of those that spools name")
    parser.add_argument(
        "folder",
        nargs="?",
        type=Path,
        metavar="FOLDER",
        help=f"a spool, or the folder that holds {SPOOL_DIR} (default: this folder)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Deliver, and say what was delivered and what still waits.

    Returns:
        0 when nothing waits; 1 when something does, or when the folder does not exist.
    """
    from tqdm.auto import tqdm

    folder = arguments.folder or Path()
    if not folder.is_dir():
        sys.stderr.write(f"There is no folder {folder}.\n")
        return 1
    spools = find_spools(folder)
    if not spools:
        sys.stdout.write(f"Nothing waits in {_spool_dir(folder)}.\n")
        return 0
    lines, is_waiting = [], False
    total = sum(len(spool.files()) for spool in spools)
    with tqdm(total=total, unit="file", leave=False, delay=1, disable=None) as bar:
        for spool in spools:
            line, has_all = _deliver(spool, arguments.tracking_uri, bar.update)
            lines.append(line)
            is_waiting = is_waiting or not has_all
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return int(is_waiting)


def find_spools(folder: Path) -> list[Spool]:
    """Spools with files that wait, in a spool folder or in the folder that holds it."""
    found = (Spool(about.parent, {}) for about in sorted(_spool_dir(folder).glob(f"*/*/{ABOUT}")))
    return [spool for spool in found if spool.files()]


def run_of(spool: Spool, uri: str | None = None) -> Run:
    """The run that a spool is meant for.

    Args:
        spool: says where it is to go; a relative address is meant from where the training ran.
        uri: of the store that gets it instead.

    Raises:
        ValueError: if the spool is damaged.
        StoreError: if the store cannot be reached.
        RunNotFoundError: if the store does not hold the run.
    """
    about = _about(spool)
    folder = Path(about["working_directory"])
    store = find_again(about["tracking_uri"], folder) if uri is None else open_store(uri)
    return store.open_run(about["run_id"])


def _about(spool: Spool) -> dict[str, str]:
    """What a spool says of itself; without a name where its monitor has none."""
    path = spool.folder / ABOUT
    try:
        about = json.loads(path.read_text("utf-8"))
        wanted = {key: str(about[key]) for key in ("tracking_uri", "working_directory", "run_id")}
        return wanted | ({"name": str(about["name"])} if about.get("name") else {})
    except (OSError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ValueError(f"{path} cannot be read: {reason(error)}") from None


def _spool_dir(folder: Path) -> Path:
    return folder / SPOOL_DIR if (folder / SPOOL_DIR).is_dir() else folder


def _deliver(
    spool: Spool, tracking_uri: str | None, sent: Callable[[], object]
) -> tuple[str, bool]:
    """One line for a spool, and whether all of it has arrived."""
    waiting = len(spool.files())
    try:
        # Says in plain words what is wrong, and makes no new database.
        run, name = run_of(spool, tracking_uri), _about(spool).get("name")
        delivery = Delivery(run, spool, {})
        try:
            delivery.deliver(sent=sent)
        finally:
            delivery.close()
        lost = _what_cannot_be_completed(run, name)
    except (DeliveryError, StoreError, NotFoundError, ValueError) as error:
        left = len(spool.files())
        return (
            f"{spool.folder}: {_files(waiting - left)} delivered, {left} wait. {_sentence(error)}",
            False,
        )
    return f"{spool.folder}: {_files(waiting)} delivered to {run.store.address}.{lost}", True


def _what_cannot_be_completed(run: Run, name: str | None) -> str:
    """A sentence about validations of which no file waits any more, and not all have come."""
    incomplete = RunReader(run.store.uri, run.run_id, name).incomplete()
    if not incomplete:
        return ""
    places = ", ".join(f"epoch {epoch} (step {step})" for epoch, step in incomplete)
    return (
        f" Incomplete, with no further file here: {places}. The training was stopped while it "
        "wrote the tables; its curves do not suffer. A resumed training writes them anew."
    )


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count} files"


def _sentence(error: Exception) -> str:
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}".rstrip(".") + "."
