"""Options of the monitor: one definition for every adapter, with help texts and checks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, fields
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from torch.utils.data import DataLoader

from sing_monitor.alerts import Alert
from sing_monitor.head.geometry import Invariance
from sing_monitor.inputs.plain_values import as_builtin
from sing_monitor.inputs.prompts import Prompts
from sing_monitor.monitor.alerting import usable_alerts
from sing_monitor.monitor.option_checks.analyses import OFF, check_analyses, superfluous
from sing_monitor.monitor.option_checks.values import (
    check_attribute_prompts,
    check_choice,
    check_concepts,
    check_count,
    check_groups,
    check_hierarchy,
    check_layers,
    check_name,
    check_probe,
    check_space,
    check_templates,
    check_tracking,
)
from sing_monitor.space.cache import default_cache_dir
from sing_monitor.space.semantic_space import DEFAULT_SPACE, SemanticSpace
from sing_monitor.translate.precision import check_ridge

if TYPE_CHECKING:
    from sing_monitor.analyses import Need


def option(default: Any, text: str) -> Any:
    """A field of the options: its default, and the help text that every adapter shows."""
    return field(default=default, metadata={"help": text})


def help_of(options: type[AnalysisOptions]) -> dict[str, str]:
    """The help text of every option, by name."""
    return {each.name: each.metadata["help"] for each in fields(options) if each.init}


@dataclass(frozen=True)
class AnalysisOptions:
    """Options of one analysis.

    Every field holds its help text; :func:`help_of` gives them all.

    Raises:
        SetupError: for a value that cannot be used.
    """

    # Any: to jsonargparse a class without annotations is no SemanticSpace.
    space: str | SemanticSpace | Any | None = option(
        DEFAULT_SPACE,
        '``"<open_clip model>/<tag or file>"`` or any :class:`SemanticSpace`. None: no '
        "vision-language model and no download; what needs embeddings is left out, and the head's "
        "geometry, its drift, the null shares and the collapse are measured.",
    )
    _: KW_ONLY
    head: str | None = option(
        None, "dotted name of the classifier head; found by itself in most models."
    )
    class_names: Sequence[str] | Mapping[str, int] | None = option(
        None,
        "C words; by default those of the datamodule or the validation data set, in the order that "
        "its ``target_transform`` gives them.",
    )
    concepts: Mapping[str, str | Sequence[str]] | Sequence[str] | None = option(
        None,
        "vocabulary for the concept tables: words, or prompts by name. None: about 60 everyday "
        "concepts; an empty list: none.",
    )
    prompt: str | Sequence[str] = option(
        "an image of a {}", "template for classes, or several that are averaged."
    )
    attribute_prompts: Mapping[str, str] | None = option(
        None, "templates for annotated attributes, by name."
    )
    probe_size: int = option(
        10_000,
        "the most validation images that are scored. Until a validation has ended, their features, "
        "``probe_size`` x m numbers, stay on the model's device.",
    )
    pixel_stats: tuple[Any, Any] | None = option(
        None,
        "``(mean, std)`` that the images were normalized with; found by itself for the "
        "``Normalize`` of torchvision, albumentations and kornia in a data set's transforms, "
        "timm's prefetching loader, and images in [0, 1]. Numbers above 1 count in 0..255.",
    )
    batch_adapter: Callable[[Any], Any] | None = option(
        None,
        "turns a batch of another form into a :class:`Batch`, whose ``pictures`` are what the "
        "space sees where the model sees something else, such as 13 bands.",
    )
    groups: str | None = option(
        None,
        "name under which a batch holds the group of each image (a key of a mapping, an attribute "
        "of an object): object, patient, video, source file. Images of a group stay on one side "
        "of every translator. Needed where an image has near copies among the others.",
    )
    ridge: float | Literal["auto"] = option(
        "auto",
        'of the translator, relative to the mean variance of the features; ``"auto"`` chooses it '
        "at the first analyzed epoch and keeps it until it costs more than one standard error of "
        "R2.",
    )
    n_images: int = option(
        64,
        "how many images, those that moved most, are stored as thumbnails (with their nearest "
        "neighbors). 0: no picture leaves the process.",
    )
    n_maps: int = option(
        48,
        "of how many probe images the feature maps before the head are kept until a validation has "
        "ended, to compare them part by part; at most 14 x 14 locations each. 0: of none.",
    )
    layers: bool | Sequence[str] = option(
        False,
        "of which modules the rank of the features is followed, by dotted names; True: of up to 8 "
        "stages of the network, which are found by themselves. Their output is taken in the "
        "validation pass, of at most 1,024 probe images, averaged over the locations.",
    )
    hierarchy: Mapping[str, str | Sequence[str]] | str | PathLike[str] | None = option(
        None,
        "what the classes' likeness is compared with: the superclass of each class, or the path of "
        "its ancestors from the most general on, by class name; or a CSV file with one such path a "
        "row. None: WordNet, where the classes are ImageNet's.",
    )
    analyses: Sequence[str] | None = option(
        None,
        'which analyses run, such as ``["sing", "collapse"]``; None: all that the README lists. '
        "What none of them needs is not captured: the semantic space serves ``sing`` and what "
        "builds on it, maps ``similarity`` and ``focus``, weights ``dynamics``.",
    )
    invariance: Invariance = option(
        "logits",
        'what removing the null space must leave unchanged: ``"logits"``, as in the paper, or '
        '``"softmax"``, which ignores a constant added to all logits and so has one null dimension '
        "more. Scores of the two do not compare.",
    )
    cache_dir: str | PathLike[str] | None = option(
        "auto",
        'folder that keeps embeddings; ``"auto"`` for the user\'s cache folder, None for memory '
        "only.",
    )

    def __post_init__(self) -> None:
        check_space(self.space)
        for name in (
            "class_names",
            "pixel_stats",
            "concepts",
            "prompt",
            "attribute_prompts",
            "layers",
            "hierarchy",
            "analyses",
        ):
            object.__setattr__(self, name, as_builtin(getattr(self, name)))
        check_templates(self.prompt)
        check_attribute_prompts(self.attribute_prompts or {})
        check_concepts(self.concepts)
        check_groups(self.groups)
        check_count("probe_size", self.probe_size, 2)
        check_count("n_images", self.n_images, 0)
        check_count("n_maps", self.n_maps, 0)
        check_layers(self.layers)
        check_hierarchy(self.hierarchy)
        check_ridge(self.ridge)
        check_choice("invariance", self.invariance, get_args(Invariance))
        if self.analyses is not None:
            check_analyses(self.analyses, self.captured, help_of(type(self)))
            for need in superfluous(self.analyses):
                self._leave_out(need)

    @property
    def captured(self) -> frozenset[Need]:
        """What a validation captures, as far as the model has it."""
        from sing_monitor.analyses.analysis import needs_met

        return needs_met(
            embeddings=self.space is not None,
            maps=self.n_maps > 0,
            weights=False,
            stages=self.layers is not False,
        )

    def _leave_out(self, need: Need) -> None:
        name, value = OFF[need]
        if hasattr(self, name):
            object.__setattr__(self, name, value)

    @cached_property
    def prompts(self) -> Prompts:
        """The templates and the vocabulary."""
        return Prompts(self.prompt, self.concepts, self.attribute_prompts or {})

    @property
    def cache_folder(self) -> Path | None:
        """The folder of the embeddings; None: memory alone."""
        if self.cache_dir == "auto":
            return default_cache_dir()
        return None if self.cache_dir is None else Path(self.cache_dir)


@dataclass(frozen=True, kw_only=True)
class Options(AnalysisOptions):
    """Options of a monitored training.

    Every field holds its help text; :func:`help_of` gives them all.

    Raises:
        SetupError: for a value that cannot be used.
    """

    every_n_epochs: int = option(1, "score every n-th epoch; in between all metrics are NaN.")
    dataloader_idx: int = option(0, "index of the validation loader that is watched.")
    # Of DataLoader[Any] jsonargparse accepts no init_args.
    probe: DataLoader | None = option(  # type: ignore[type-arg]
        None,
        "a loader of your own, measured instead of the validation batches. It costs one extra pass "
        "of the model over it for every analyzed epoch, in eval mode and without gradients, on "
        "every rank the whole loader. With a validation loop it is measured at each validation; "
        "with none at the end of the training epoch, where averaging callbacks have not swapped in "
        "their weights. The module's ``forward`` must map images to logits.",
    )
    allow_augmented: bool = option(
        False, "accept validation images that differ from epoch to epoch."
    )
    n_weights: int = option(
        20_000,
        "how many weights of the network are followed from validation to validation, beside those "
        "of a head of at most 50,000. The last 20 validations of these are kept in checkpoints, in "
        "4 bytes each. 0: none.",
    )
    save_snapshots: bool = option(
        False, "store features and embeddings of the last validation in the run."
    )
    alerts: Sequence[str | Alert] | Literal["default"] | None = option(
        "default",
        "rules that warn once and mark the run: :class:`sing_monitor.alerts.Alert`, or names of "
        ':data:`sing_monitor.alerts.DEFAULT_ALERTS`, such as ``["class_hidden"]``; '
        '``"default"`` for these two, None for none.',
    )
    tracking: str | PathLike[str] | None = option(
        None,
        "where findings go besides the training's own MLflow loggers: a folder such as "
        '``"runs/"``, which needs neither a server nor a database, or an MLflow tracking URI. The '
        "app opens it with ``--tracking-uri``.",
    )
    name: str | None = option(
        None,
        'for several monitors of one training, each its own: ``name="aux"`` logs ``sing.aux/...``.',
    )
    on_error: Literal["warn", "raise"] = option(
        "warn",
        '``"warn"``: a fault costs one epoch\'s numbers and never the run; ``"raise"`` ends the '
        "run.",
    )

    def __post_init__(self) -> None:
        check_count("every_n_epochs", self.every_n_epochs, 1)
        check_count("dataloader_idx", self.dataloader_idx, 0)
        check_count("n_weights", self.n_weights, 0)
        super().__post_init__()
        check_probe(self.probe, self.dataloader_idx)
        check_tracking(self.tracking)
        check_name(self.name)
        check_choice("on_error", self.on_error, ("warn", "raise"))
        usable_alerts(self.alerts, self.captured, self.analyses)

    @property
    def captured(self) -> frozenset[Need]:
        """What a validation captures, as far as the model has it."""
        return super().captured | ({"weights"} if self.n_weights > 0 else set())

    @cached_property
    def alert_rules(self) -> tuple[Alert, ...]:
        """The rules that ``alerts`` means."""
        return usable_alerts(self.alerts, self.captured, self.analyses)
