"""``sing-monitor analyze``: the findings of checkpoints, long after their training."""

from __future__ import annotations

import argparse
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from sing_monitor.commands.analysis_options import add_plain_options, given_options
from sing_monitor.commands.images import Images
from sing_monitor.commands.loading import add_model, add_space, load_space, model_builder
from sing_monitor.commands.options import (
    add_command,
    add_tracking_uri,
    spool_folder,
    tracking_uri,
)
from sing_monitor.commands.spelling import spelled

if TYPE_CHECKING:
    from sing_monitor.offline.checkpoints import Checkpoint
    from sing_monitor.offline.series import Series
    from sing_monitor.space.semantic_space import SemanticSpace

_DESCRIPTION = """\
Analyzes checkpoints of Lightning, timm or plain PyTorch, and logs what the callback
would have logged: as one run with an epoch for each checkpoint, or as one run
for each model. What the store holds already is skipped, so an interrupted call goes on
where it ended.

The model of a checkpoint is built by --timm ARCHITECTURE, by --model module:function
(returns a torch.nn.Module), or by --model module:Class of a LightningModule; without
both, by the architecture that timm's own checkpoints name. Files are read with
weights_only=True: no code in them is run.

What needs code of yours is left to sing_monitor.analyze in Python, such as a
batch_adapter for batches that are no (images, labels); here the DataLoader's
collate_fn can turn them into such."""
_EPILOG = """\
examples:
  sing-monitor analyze lightning_logs/version_3/checkpoints --model train:LitModel \\
      --data train:val_loader
  sing-monitor analyze output/train/resnet50 --timm resnet50 --data imagenet/val
  sing-monitor analyze zoo --each model --data imagenet/val --experiment zoo"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Say what the command takes."""
    parser = add_command(
        subparsers,
        "analyze",
        help="analyze checkpoints after the training",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        late=add_plain_options,
    )
    add = parser.add_argument
    add("checkpoints", metavar="FOLDER", type=Path, help="checkpoints, also in folders below")
    add_model(parser)
    add(
        "--data",
        required=True,
        metavar="DATA",
        help="a folder with a folder of images for each class (timm models; they get timm's "
        "transform), or module:function that returns a DataLoader or a Dataset",
    )
    add("--class-names", metavar="FILE", type=Path, help="one a line, in the order of the labels")
    for name in ("mean", "std"):
        add(
            f"--{name}",
            nargs="+",
            type=float,
            metavar="X",
            help=f"{name} of the normalisation (one number, or one for each channel), where it is "
            "not that of timm's transform or of the data set's transforms",
        )
    add("--no-ema", action="store_true", help="not the averaged weights, where a file holds both")
    add(
        "--each",
        choices=("epoch", "model"),
        default="epoch",
        help="what a checkpoint is: an epoch of one training (default), or a model of its own",
    )
    add_space(
        parser,
        "the semantic space (default: ViT-B-32/laion2b_s34b_b79k), or none to do without",
    )
    add("--concepts", metavar="FILE", type=Path, help="vocabulary, as sing-monitor concepts reads")
    add("--prompt", nargs="+", metavar="TEXT", help='for classes (default: "an image of a {}")')
    add("--analyses", nargs="+", metavar="NAME", help="such as sing collapse (default: all)")
    add("--batch-size", type=int, default=64, metavar="N", help="default: 64")
    add("--workers", type=int, default=2, metavar="N", help="that load images (default: 2)")
    add("--device", metavar="DEVICE", help="default: cuda where there is one, else cpu")
    add("--save-snapshots", action="store_true", help="so that concepts can be added later")
    add("--experiment", metavar="NAME", default="analyzed", help='default: "analyzed"')
    add_tracking_uri(parser, "the MLflow store or server to log to, or a folder of runs")


def run(arguments: argparse.Namespace) -> int:
    """Analyze the checkpoints.

    Returns:
        1 when one of them could not be analyzed; 130 after Ctrl-C.
    """
    try:
        return _analyze(arguments)
    except (ValueError, TypeError, RuntimeError, OSError) as error:
        sys.stderr.write(f"{spelled(error)}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("Stopped. The same command goes on where it ended.\n")
        return 130


def _analyze(arguments: argparse.Namespace) -> int:
    from tqdm.auto import tqdm

    from sing_monitor.headline import interval_ends
    from sing_monitor.monitor.summary import summary
    from sing_monitor.offline.analyzed_run import History
    from sing_monitor.tracking import open_store

    # First what takes no time: a space may be a download of gigabytes.
    checkpoints, failures = _read(arguments.checkpoints, use_ema=not arguments.no_ema)
    jobs, known = _jobs(arguments, checkpoints), 0
    series, store = _series(arguments), open_store(tracking_uri(arguments))
    spool = spool_folder(store)
    with tqdm(total=sum(len(group) for *_, group in jobs), desc="checkpoints", unit="file") as bar:
        for source, name, group in jobs:
            history = History(store, arguments.experiment, source, name, spool)
            failed = 0
            try:
                for result in series.fill(history, group):
                    label = _title(result.checkpoint.path, arguments.checkpoints)
                    if result.failure is not None:
                        failures.setdefault(result.failure, []).append(label)
                        failed += 1
                    elif result.found is None:
                        known += 1
                    else:
                        weights = " (EMA weights)" if result.checkpoint.is_averaged else ""
                        said = summary(result.found.scalars, interval_ends(result.found.tables))
                        bar.write(f"{label}{weights}: {said}")
                    bar.update()
            except BaseException:
                # A store that takes nothing more takes no status either.
                with suppress(OSError):
                    history.finish("KILLED")
                raise
            history.finish("FAILED" if failed else "FINISHED")
    if known:
        sys.stderr.write(
            f"Analyzed before, and not again: {known}. With other options, give --experiment a new "
            "name.\n"
        )
    for reason, labels in failures.items():
        sys.stderr.write(f"Not analyzed, {', '.join(labels)}: {reason}\n")
    sys.stdout.write(
        f"Experiment {arguments.experiment!r}; to look at it: "
        f"sing-monitor app --tracking-uri {store.address}\n"
    )
    return 1 if failures else 0


def _series(arguments: argparse.Namespace) -> Series:
    from sing_monitor.offline.series import Series
    from sing_monitor.space.vocabulary import read_class_names, read_vocabulary

    stats = _pixel_stats(arguments)
    images = Images(arguments.data, arguments.batch_size, arguments.workers, stats)
    settings = {
        "space": _space(arguments.space),
        **given_options(arguments),
        "pixel_stats": stats,
    }
    if arguments.class_names is not None:
        settings["class_names"] = read_class_names(arguments.class_names)
    if arguments.prompt is not None:
        settings["prompt"] = arguments.prompt
    if arguments.analyses is not None:
        settings["analyses"] = arguments.analyses
    if arguments.concepts is not None:
        settings["concepts"] = read_vocabulary(arguments.concepts)
    return Series(
        model_builder(arguments.model, arguments.timm),
        images.loader,
        _device(arguments.device),
        settings,
        arguments.save_snapshots,
        spelled,
    )


def _space(given: str | None) -> SemanticSpace | None:
    from sing_monitor.space.semantic_space import DEFAULT_SPACE

    return None if given == "none" else load_space(given or DEFAULT_SPACE)


def _pixel_stats(arguments: argparse.Namespace) -> tuple[list[float], list[float]] | None:
    mean, std = arguments.mean, arguments.std
    if (mean is None) != (std is None):
        raise ValueError("--mean and --std belong together: give both, as in --mean 0.5 --std 0.5.")
    return None if mean is None else (mean, std)


def _read(folder: Path, *, use_ema: bool) -> tuple[list[Checkpoint], dict[str, list[str]]]:
    """The readable checkpoints, and why others are not: files by reason."""
    from sing_monitor.offline.checkpoints import find_checkpoints, read_checkpoint

    found: list[Checkpoint] = []
    failures: dict[str, list[str]] = {}
    for path in find_checkpoints(folder):
        try:
            found.append(read_checkpoint(path, use_ema=use_ema))
        except ValueError as error:
            failures.setdefault(str(error), []).append(_title(path, folder))
    return found, failures


def _jobs(
    arguments: argparse.Namespace, checkpoints: list[Checkpoint]
) -> list[tuple[str, str, list[Checkpoint]]]:
    """The runs to fill: where their weights come from, their name, and their checkpoints."""
    from sing_monitor.offline.series import in_order

    folder: Path = arguments.checkpoints.resolve()
    # Of one file both kinds of weights can be analyzed, each as a run of its own.
    source, title = ("#no-ema", " without EMA") if arguments.no_ema else ("", "")
    if not checkpoints:
        return []
    if arguments.each == "model":
        return [
            (f"{each.path.resolve()}{source}", f"{_title(each.path, folder)}{title}", [each])
            for each in checkpoints
        ]
    kept, left_out = in_order(checkpoints)
    for each in left_out:
        sys.stderr.write(f"{each.path.name} is left out: another file is of the same epoch.\n")
    return [(f"{folder}{source}", f"{folder.name}{title}", kept)]


def _title(path: Path, folder: Path) -> str:
    """A file's name below the folder, without its suffix."""
    from sing_monitor.offline.checkpoints import SUFFIXES

    inside, folder = path.resolve(), folder.resolve()
    name = inside.name if inside == folder else inside.relative_to(folder).as_posix()
    return next(name.removesuffix(suffix) for suffix in SUFFIXES if name.endswith(suffix))


def _device(given: str | None) -> str:
    import torch

    if given is not None:
        return str(torch.device(given))
    return "cuda" if torch.cuda.is_available() else "cpu"
