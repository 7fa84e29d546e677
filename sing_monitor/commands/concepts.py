"""``sing-monitor concepts``: add concepts to a run that is over."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sing_monitor.commands.loading import add_space, load_space
from sing_monitor.commands.options import (
    add_command,
    add_tracking_uri,
    spool_folder,
    tracking_uri,
)
from sing_monitor.commands.spelling import spelled

if TYPE_CHECKING:
    from pandas import DataFrame

    from sing_monitor.space.semantic_space import SemanticSpace

_SHOWN = 15
_DESCRIPTION = """\
Adds concepts to a run that is over: how far each lies from the images before and after
what the head cannot see is removed. The run must have stored a snapshot, by
SINGCallback(save_snapshots=True). Only the texts are embedded, so it takes seconds.

The file holds one concept a line, in any language that the space reads: a word, or
"name: a prompt for it". A name on several lines has several prompts, which are averaged."""
_EPILOG = """\
examples:
  sing-monitor concepts 4f5be2... --file words.txt
  sing-monitor concepts 4f5be2... --file words.txt --class "polar bear"
  sing-monitor concepts 4f5be2... --file words.txt --template "a photo of {}" "a drawing of {}"
  sing-monitor concepts 4f5be2... --file words.txt --space ViT-B-32//data/clip.safetensors"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Say what the command takes."""
    parser = add_command(
        subparsers,
        "concepts",
        help="add concepts to a finished run",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    parser.add_argument(
        "run_id", metavar="RUN", help="id of the run, or its name, if no other run has it"
    )
    parser.add_argument(
        "--file", required=True, type=Path, metavar="FILE", help="the concepts, UTF-8 text"
    )
    parser.add_argument(
        "--template",
        nargs="+",
        default=["an image of {}"],
        metavar="TEXT",
        help='prompts for plain words, averaged (default: "an image of {}")',
    )
    parser.add_argument(
        "--class", dest="class_name", metavar="NAME", help="print the concepts of this class"
    )
    parser.add_argument("--name", metavar="NAME", help="of the monitor, if the run has several")
    add_space(parser, "where the space of the run lies now, if it was no published model")
    add_tracking_uri(parser, "the MLflow store or server of the run, or its folder of runs")


def run(arguments: argparse.Namespace) -> int:
    """Add the concepts and print the biggest.

    Returns:
        1 when nothing was added.
    """
    from sing_monitor.offline.add_concepts import add_concepts
    from sing_monitor.offline.snapshot_source import chosen_runs
    from sing_monitor.space.cache import EmbeddingCache, default_cache_dir
    from sing_monitor.tracking import RunReader, RunWriter, open_store

    uri = tracking_uri(arguments)
    try:
        concepts = _read_words(arguments.file, arguments.template)
        store = open_store(uri)
        [chosen] = chosen_runs(store, store.runs(), [arguments.run_id])
        reader = RunReader(uri, chosen.run_id, arguments.name)
        config = reader.config()
        _check_class(arguments.class_name, config)
        space = _open_space(arguments.space, config)
        cache = EmbeddingCache(space.name, "texts", space.dim, default_cache_dir())
        run = store.open_run(chosen.run_id)
        writer = RunWriter(run, spool_folder(store), arguments.name)
        added = add_concepts(reader, writer, space, concepts, cache)
    except (ValueError, TypeError, RuntimeError, OSError, LookupError) as error:
        sys.stderr.write(f"{spelled(error)}\n")
        return 1
    if added.watched:
        sys.stdout.write(
            f"Watched since the training, and left as they are: {', '.join(added.watched)}.\n"
        )
    if not added.tables:
        return 0
    sys.stdout.write(
        f"{_biggest(added.tables, arguments.class_name)}\n"
        f"{len(added.tables['concepts'])} concepts stand in the tables of epoch {added.epoch} now. "
        "An app that is open shows them after Refresh.\n"
    )
    return 0


def _read_words(path: Path, templates: Sequence[str]) -> dict[str, tuple[str, ...]]:
    from sing_monitor.space.vocabulary import read_vocabulary

    try:
        return read_vocabulary(path, templates)
    except OSError as error:
        raise ValueError(
            f"{path} cannot be read: {error.strerror}. --file takes a text file with one concept a "
            "line."
        ) from None


def _check_class(name: str | None, config: dict[str, Any]) -> None:
    names = list(config.get("class_names", ()))
    if name is not None and name not in names:
        shown = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
        raise ValueError(f"The run has no class {name!r}; it has {shown}.")


def _open_space(given: str | None, config: dict[str, Any]) -> SemanticSpace:
    if given is not None:
        return load_space(given)
    import open_clip

    from sing_monitor.space.semantic_space import resolve_space

    stored = str(config["space"])
    # A digest marks weights that only the user has. And who wrote a run chooses no file or
    # function of this machine.
    model, _, tag = stored.partition("/")
    if not open_clip.get_pretrained_cfg(model, tag):
        raise ValueError(
            f"The space of the run, {stored!r}, is no published model. Say where it lies: "
            '--space "<open_clip model>//path/to/weights.safetensors", or --space module:function.'
        )
    return resolve_space(stored)


def _biggest(tables: Any, class_name: str | None) -> str:
    table: DataFrame = tables["concepts" if class_name is None else "class_concepts"]
    if class_name is not None:
        table = table[table["class_name"] == class_name]
        if table.empty:
            return f"No image of the snapshot is of the class {class_name}."
    order = table["attribute_score_centered"].abs().sort_values(ascending=False).index
    shown = table.loc[order[:_SHOWN]]
    columns = {
        "concept": "concept",
        "angle_before": "before",
        "angle_after_centered": "after",
        "attribute_score_centered": "AS",
        "attribute_score_std_centered": "spread",
        "n": "images",
    }
    text = (
        shown[list(columns)]
        .rename(columns=columns)
        .to_string(index=False, float_format="{:.2f}".format, na_rep="-")
    )
    whose = class_name or "all images"
    return (
        f"Angle to each concept in degrees, {whose}, centered pair; AS > 0: nearer without what "
        f"the head cannot see.\n{text}"
    )
