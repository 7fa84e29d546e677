"""Parts of a Hugging Face Trainer that the monitor reads: moment, batches, names and runs."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import nn
from torch.utils.data import BatchSampler, SequentialSampler
from transformers import Trainer
from transformers.integrations import MLflowCallback

from sing_monitor.errors import Option, SetupError
from sing_monitor.inputs.loaders import ImageOrder
from sing_monitor.messages import warn
from sing_monitor.monitor.summary import how_to_look
from sing_monitor.monitor.validation import Moment, Source
from sing_monitor.tracking.addresses import redact
from sing_monitor.tracking.mlflow import begun_run, fluent_run, joined_run

if TYPE_CHECKING:
    from sing_monitor.tracking import MlflowRun

_UNNAMED = re.compile(r"LABEL_\d+")
_WITH_MLFLOW = 'TrainingArguments(report_to="mlflow")'
_WITH_FOLDER = 'SINGTrainerCallback(tracking="runs/")'
_SHARED = ImageOrder("several processes take turns with the batches")


@dataclass(frozen=True)
class TrainerData:
    """What a Trainer tells of its images, for whoever looks for it as in a datamodule.

    Args:
        class_names: in the order of the labels, or None.
        image_processor: of transformers, or None.
    """

    class_names: list[str] | None
    image_processor: object


def trainer_data(trainer: Trainer) -> TrainerData:
    """Class names and image processor of a Trainer."""
    return TrainerData(model_labels(trainer.model), getattr(trainer, "processing_class", None))


def model_labels(model: object) -> list[str] | None:
    """The class names in a model's configuration; None where it only numbers them (LABEL_0).

    Example::

        >>> from types import SimpleNamespace as Some
        >>> model_labels(Some(config=Some(id2label={0: "cat", 1: "dog"})))
        ['cat', 'dog']
        >>> model_labels(Some(config=Some(id2label={0: "LABEL_0", 1: "LABEL_1"})))
    """
    found = getattr(getattr(model, "config", None), "id2label", None)
    if not isinstance(found, Mapping) or set(found) != set(range(len(found))):
        return None
    names = [str(found[label]) for label in range(len(found))]
    if not names or any(_UNNAMED.fullmatch(name) for name in names):
        return None
    return names


def moment(trainer: Trainer) -> Moment:
    """The moment of the evaluation that begins. After one whole epoch it belongs to epoch 0."""
    epoch = max(math.ceil(trainer.state.epoch or 0) - 1, 0)
    return Moment(epoch, trainer.state.global_step, trainer.is_in_train)


def source(loader: Any, processes: int) -> Source:
    """Batches of an evaluation, out of the loader that Accelerate has prepared."""
    own = getattr(loader, "base_dataloader", loader)
    if processes == 1:
        return Source.of_loader(own)
    images = _shared_images(own)
    return Source(own, images, math.inf, images, processes, _SHARED)


def _shared_images(loader: Any) -> int | None:
    """Number of distinct images that the processes share; None where it is not certain."""
    # Accelerate's wrapper deals out the batches of torch's own.
    batches: Any = getattr(getattr(loader, "batch_sampler", None), "batch_sampler", None)
    if type(batches) is not BatchSampler or batches.drop_last:
        return None
    return len(batches.sampler) if type(batches.sampler) is SequentialSampler else None


def evaluation_sets(datasets: Any) -> list[str]:
    """Names of several evaluation sets, in order; empty where there is but one."""
    return [str(name) for name in datasets] if isinstance(datasets, Mapping) else []


def watched_set(datasets: Any, index: int) -> str | None:
    """Name of the evaluation set that is watched; None where there is but one.

    Raises:
        SetupError: if there is none of that index.
    """
    names = evaluation_sets(datasets)
    last = max(len(names) - 1, 0)
    if index > last:
        listed = f"{len(names)} evaluation sets ({', '.join(names)})" if names else "one"
        raise SetupError(
            Option("dataloader_idx", str(index)),
            f" counts evaluation sets from 0, and there is none of this number among {listed}. "
            f"The last one has {last}.",
        )
    return names[index] if names else None


def watched_prefix(trainer: Trainer, dataset: Any, prefix: str, index: int) -> str | None:
    """Prefix of the metrics of the set that is watched in an evaluation.

    A set that is handed to ``evaluate`` is another one than that of the training's curves, and is
    watched only where the Trainer has none of its own.

    Args:
        trainer: that evaluates.
        dataset: as ``evaluate`` got it, or None.
        prefix: as ``evaluate`` got it.
        index: of the watched set among several.

    Returns:
        The prefix; None where nothing is watched.

    Raises:
        SetupError: if there is no set of that index.
    """
    own = trainer.eval_dataset
    if isinstance(dataset, str):
        return prefix if dataset == watched_set(own, index) else None
    if dataset is None:
        dataset = own
    elif dataset is not own and (own is not None or trainer.is_in_train):
        return None
    chosen = watched_set(dataset, index)
    return prefix if chosen is None else f"{prefix}_{chosen}"


def watched_model(trainer: Trainer) -> nn.Module:
    """The model without what several processes wrap around it.

    Raises:
        SetupError: if there is none.
    """
    if trainer.model is None:
        raise SetupError("the Trainer has no model yet.")
    return trainer.model


def evaluates(trainer: Trainer) -> bool:
    """Whether the training will run evaluations by itself."""
    args = trainer.args
    is_wanted = args.eval_strategy != "no" or args.eval_on_start
    return is_wanted and trainer.eval_dataset is not None


def refuse_replicas(trainer: Trainer) -> None:
    """Refuse ``nn.DataParallel``: its copies of the model run in threads, in no order.

    Raises:
        SetupError: naming the other way.
    """
    count = trainer.args.n_gpu
    if count > 1:
        raise SetupError(
            f"the Trainer runs nn.DataParallel on {count} GPUs, where copies of the head answer "
            "parts of a batch in no certain order. Start one process for each GPU, with "
            f"`torchrun --nproc_per_node={count} train.py`, or show the Trainer one GPU: "
            "CUDA_VISIBLE_DEVICES=0."
        )


def ongoing(trainer: Trainer) -> MlflowRun | None:
    """The MLflow run that the Trainer logs to; None where it logs to none. Never raises."""
    found = [x for x in trainer.callback_handler.callbacks if isinstance(x, MLflowCallback)]
    if not found or not trainer.state.is_world_process_zero:
        return None
    try:
        # Before an evaluation without a training, the integration has not begun a run yet.
        found[0].on_train_begin(
            trainer.args, trainer.state, trainer.control, model=watched_model(trainer)
        )
        active = fluent_run()
        if active is None and trainer.is_in_train:
            # In a second training it begins none: MLflow does when a metric comes.
            active = begun_run(trainer.args.run_name)
    # Every kind of store has exceptions of its own.
    except Exception as error:
        warn(f"findings do not go to MLflow: {redact(str(error)) or type(error).__name__}")
        return None
    return None if active is None else joined_run(*active)


def numbers(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Metrics that are numbers; a training may report anything else beside them."""
    return {key: value for key, value in metrics.items() if isinstance(value, (int, float))}


def watched_metric(trainer: Trainer, prefix: str, scalars: Mapping[str, float]) -> dict[str, float]:
    """The one of our metrics by which the Trainer judges its models, under its name there.

    Args:
        trainer: its ``metric_for_best_model`` counts, with or without ``eval_``.
        prefix: of the evaluation's metrics.
        scalars: by logged key.
    """
    wanted = trainer.args.metric_for_best_model or ""
    wanted = wanted if wanted.startswith("eval_") else f"eval_{wanted}"
    named = {f"{prefix}_{key}": value for key, value in scalars.items()}
    return {key: value for key, value in named.items() if key == wanted}


def how_to_open(uri: str | None, tracking: str | None) -> str:
    """The commands that show the run, or what would keep one.

    Args:
        uri: of the Trainer's own MLflow run, or None.
        tracking: where the monitor keeps a run of its own, or None.
    """
    if uri is not None:
        return how_to_look(uri, with_mlflow=True)
    if tracking is not None:
        return how_to_look(tracking)
    return (
        f"To keep curves and tables, log to MLflow: {_WITH_MLFLOW}; or to a folder: {_WITH_FOLDER}."
    )
