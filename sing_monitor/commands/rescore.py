"""``sing-monitor rescore``: finished runs under one ridge, so that they compare."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sing_monitor.commands.analysis_options import number_or_auto
from sing_monitor.commands.options import (
    add_command,
    add_tracking_uri,
    spool_folder,
    tracking_uri,
)
from sing_monitor.commands.spelling import spelled

if TYPE_CHECKING:
    from sing_monitor.offline.rescore import Rescored
    from sing_monitor.offline.snapshot_source import Source

_DESCRIPTION = """\
Analyzes the stored snapshots of finished runs again, all with one ridge and on the same
number of images: degrees (AS, IS) depend on both, so runs that differ in them do not
compare. Each result is a new run beside the old one, which stays as it is. It holds the
last validation, the only one whose snapshot a run keeps.

A run has a snapshot if it was trained with SINGCallback(save_snapshots=True), or made by
sing-monitor analyze --save-snapshots. Neither the model nor the semantic space is needed.

--ridge auto takes the geometric mean of what is best for each run. What the store holds
already is skipped, so an interrupted call goes on where it ended."""
_EPILOG = """\
examples:
  sing-monitor rescore 4f5be2... 83ac01... --ridge auto
  sing-monitor rescore honest shortcut --ridge 0.01 --images 1000
  sing-monitor rescore honest-4f5be2 --ridge 0.01 --tracking-uri runs/"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Say what the command takes."""
    parser = add_command(
        subparsers,
        "rescore",
        help="put finished runs on one ridge, so that they compare",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    parser.add_argument(
        "runs", nargs="+", metavar="RUN", help="id of a run, or a name that no other run has"
    )
    parser.add_argument(
        "--ridge",
        required=True,
        type=number_or_auto,
        metavar="R",
        help="of the translators, relative to the mean variance of the features; auto: one for all",
    )
    parser.add_argument(
        "--images",
        type=_images,
        metavar="N",
        help="how many images of each run, chosen by content (default: as many as the run with the "
        "fewest has)",
    )
    parser.add_argument("--name", metavar="NAME", help="of the monitor, if the runs have several")
    add_tracking_uri(parser, "the MLflow store or server of the runs, or their folder")


def run(arguments: argparse.Namespace) -> int:
    """Rescore the runs, and say what came of it.

    Returns:
        1 when a run cannot be rescored; 130 after Ctrl-C.
    """
    try:
        _rescore(arguments)
    except (ValueError, TypeError, RuntimeError, OSError, LookupError) as error:
        sys.stderr.write(f"{spelled(error)}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("Stopped. The same command goes on where it ended.\n")
        return 130
    return 0


def _rescore(arguments: argparse.Namespace) -> None:
    from tqdm.auto import tqdm

    from sing_monitor.offline.rescore import rescore, rescored_before, store_rescored
    from sing_monitor.offline.snapshot_source import chosen_runs, read_source
    from sing_monitor.tracking import open_store
    from sing_monitor.translate.precision import check_ridge

    check_ridge(arguments.ridge)
    store = open_store(tracking_uri(arguments))
    known = store.runs()
    sources = [
        read_source(store, each, arguments.name)
        for each in chosen_runs(store, known, arguments.runs)
    ]
    _say_what_differs(sources)
    images = arguments.images or min(len(source.snapshot) for source in sources)
    sources = [source.cut(images) for source in sources]
    ridge = _common_ridge(sources) if arguments.ridge == "auto" else arguments.ridge
    spool = spool_folder(store)
    with tqdm(sources, desc="snapshots", unit="file") as bar:
        for source in bar:
            before = rescored_before(known, source, ridge)
            if before is not None:
                bar.write(
                    f"{source.run.run_name}: not again, {before.run_name!r} is there already "
                    f"({before.run_id})."
                )
                continue
            rescored = rescore(source, ridge)
            bar.write(_line(rescored, store_rescored(rescored, store, spool)))
    sys.stdout.write(f"To look at them: sing-monitor app --tracking-uri {store.address}\n")


def _line(rescored: Rescored, run_id: str) -> str:
    from sing_monitor.headline import interval_ends
    from sing_monitor.monitor.summary import summary

    source = rescored.source
    place = f"epoch {source.snapshot.epoch}, {len(source.snapshot):,} images"
    scalars = {**rescored.findings.scalars, "monitor/accuracy": source.snapshot.accuracy}
    said = summary(scalars, interval_ends(rescored.findings.tables))
    return f"{rescored.run_name!r} ({run_id}), {place}: {said}"


def _common_ridge(sources: Sequence[Source]) -> float:
    from sing_monitor.offline.rescore import best_ridge, common_ridge

    best = [best_ridge(source) for source in sources]
    ridge = common_ridge(best)
    each = ", ".join(
        f"{rho:.3g} for {source.run.run_name!r}" for rho, source in zip(best, sources, strict=True)
    )
    sys.stdout.write(f"Ridge {ridge:.3g}, the geometric mean of what is best: {each}.\n")
    return ridge


def _say_what_differs(sources: Sequence[Source]) -> None:
    from sing_monitor.offline.snapshot_source import unlike

    for tag, values in unlike(sources).items():
        sys.stderr.write(
            f"The runs differ in {tag} ({', '.join(values)}): their scores do not compare under "
            "any ridge.\n"
        )


def _images(text: str) -> int:
    if not text.isdecimal() or int(text) < 2:
        raise argparse.ArgumentTypeError(f"is {text!r}; expected an integer of at least 2")
    return int(text)
