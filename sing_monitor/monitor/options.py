"""Options of the monitor: one definition for every adapter, with help texts and checks."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, fields
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, Literal, get_args

from torch.utils.data import DataLoader

from sing_monitor.alerts import Alert
from sing_monitor.errors import Option, SetupError
from sing_monitor.findings import ATTRIBUTE_NAME
from sing_monitor.head.geometry import Invariance
from sing_monitor.inputs.plain_values import as_builtin
from sing_monitor.inputs.prompts import Prompts
from sing_monitor.monitor.alerting import usable_alerts
from sing_monitor.space.cache import default_cache_dir
from sing_monitor.space.semantic_space import DEFAULT_SPACE, SemanticSpace
from sing_monitor.translate.precision import check_ridge


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
        64,
        "of how many probe images the feature maps before the head are kept until a validation has "
        "ended, to compare them part by part; at most 14 x 14 locations each. 0: of none.",
    )
    hierarchy: Mapping[str, str | Sequence[str]] | str | PathLike[str] | None = option(
        None,
        "what the classes' likeness is compared with: the superclass of each class, or the path of "
        "its ancestors from the most general on, by class name; or a CSV file with one such path a "
        "row. None: WordNet, where the classes are ImageNet's.",
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
        _check_space(self.space)
        for name in (
            "class_names",
            "pixel_stats",
            "concepts",
            "prompt",
            "attribute_prompts",
            "hierarchy",
        ):
            object.__setattr__(self, name, as_builtin(getattr(self, name)))
        _check_templates(self.prompt)
        _check_attribute_prompts(self.attribute_prompts or {})
        _check_concepts(self.concepts)
        _check_groups(self.groups)
        _check_count("probe_size", self.probe_size, 2)
        _check_count("n_images", self.n_images, 0)
        _check_count("n_maps", self.n_maps, 0)
        _check_hierarchy(self.hierarchy)
        check_ridge(self.ridge)
        _check_choice("invariance", self.invariance, get_args(Invariance))

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
        super().__post_init__()
        _check_count("every_n_epochs", self.every_n_epochs, 1)
        _check_count("dataloader_idx", self.dataloader_idx, 0)
        _check_count("n_weights", self.n_weights, 0)
        _check_probe(self.probe, self.dataloader_idx)
        _check_tracking(self.tracking)
        _check_name(self.name)
        _check_choice("on_error", self.on_error, ("warn", "raise"))
        usable_alerts(self.alerts, has_space=self.space is not None)

    @cached_property
    def alert_rules(self) -> tuple[Alert, ...]:
        """The rules that ``alerts`` means."""
        return usable_alerts(self.alerts, has_space=self.space is not None)


def _given(name: str, value: object) -> Option:
    """An option as the user gave it."""
    return Option(name, repr(value))


def _check_space(space: Any) -> None:
    """Refuse what a configuration file was to make an object of, and could not."""
    if isinstance(space, Mapping):
        raise SetupError(
            _given("space", dict(space)),
            ": expected a space, or the text '<open_clip model>/<tag or file>'. LightningCLI makes "
            "an object of class_path and init_args if the class can be imported, takes these "
            "arguments and annotates its methods as "
            "sing_monitor.space.semantic_space.SemanticSpace does; Hydra makes one of _target_ in "
            "hydra.utils.instantiate.",
        )


def _check_choice(name: str, value: Any, choices: Sequence[str]) -> None:
    """Refuse a value that is none of a few texts."""
    if value not in choices:
        expected = " or ".join(map(repr, choices))
        raise SetupError(_given(name, value), f": expected {expected}.")


def _check_tracking(tracking: Any) -> None:
    """Refuse what is no address of a store."""
    if tracking is not None and not (isinstance(tracking, (str, PathLike)) and str(tracking)):
        raise SetupError(
            _given("tracking", tracking),
            ": expected a folder, such as 'runs/', an MLflow tracking URI, such as "
            "'sqlite:///mlflow.db', or None.",
        )


def _check_count(name: str, value: Any, least: int) -> None:
    """Refuse anything but an integer of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise SetupError(_given(name, value), f": expected an integer of at least {least}.")


def _check_probe(probe: Any, dataloader_idx: int) -> None:
    """Refuse anything but a loader, and a choice of validation loader beside it."""
    if probe is None:
        return
    if not isinstance(probe, DataLoader):
        raise SetupError(
            Option("probe", type(probe).__name__),
            ": expected a DataLoader, such as DataLoader(dataset, batch_size=64).",
        )
    if dataloader_idx:
        raise SetupError(
            Option("probe"),
            " takes the place of the validation loaders, of which ",
            _given("dataloader_idx", dataloader_idx),
            " chooses one. Give one of the two.",
        )


def _check_template(given: Option, template: Any) -> None:
    """Refuse a prompt that has no single place for a name."""
    if not isinstance(template, str) or template.count("{}") != 1:
        raise SetupError(
            given,
            f": {template!r} should hold '{{}}' exactly once, where the name goes, as in "
            "'an image of a {}'.",
        )


def _check_templates(prompt: Any) -> None:
    """Refuse class prompts that are no template and no list of them."""
    several = isinstance(prompt, Sequence) and not isinstance(prompt, str)
    if several and not prompt:
        raise SetupError(_given("prompt", prompt), ": give at least one template.")
    for template in prompt if several else [prompt]:
        _check_template(_given("prompt", prompt), template)


def _check_attribute_prompts(prompts: Any) -> None:
    """Refuse anything but templates by attribute name."""
    if not isinstance(prompts, Mapping):
        raise SetupError(
            _given("attribute_prompts", prompts),
            ": expected a mapping, such as {'colour': 'an image of a {} digit'}.",
        )
    for name, template in prompts.items():
        if not isinstance(name, str) or not ATTRIBUTE_NAME.fullmatch(name):
            raise SetupError(
                Option("attribute_prompts"),
                f": the attribute {name!r} becomes part of a metric key; use lower-case letters, "
                "digits and underscores.",
            )
        _check_template(Option("attribute_prompts", f"{{{name!r}: {template!r}}}"), template)


def _check_concepts(concepts: Any) -> None:
    """Refuse a vocabulary that is no list of words and no mapping from words to prompts."""
    if concepts is None:
        return
    if isinstance(concepts, str) or not isinstance(concepts, (Mapping, Sequence)):
        raise SetupError(
            _given("concepts", concepts),
            ": expected a list of words, such as ['red', 'striped'], a mapping from words to "
            "prompts, or None for the default vocabulary.",
        )
    wrong = [word for word in concepts if not isinstance(word, str) or not word.strip()]
    if wrong:
        raise SetupError(
            Option("concepts"), f": {wrong[0]!r} is not a word; every concept is a text."
        )


def _check_hierarchy(hierarchy: Any) -> None:
    """Refuse anything but ancestors by class name, and the path of a file."""
    if hierarchy is None or isinstance(hierarchy, (str, PathLike)):
        return
    if not isinstance(hierarchy, Mapping):
        raise SetupError(
            _given("hierarchy", hierarchy),
            ": expected the superclass of each class, such as {'cat': 'animal'}, the path of its "
            "ancestors, such as {'cat': ['animal', 'mammal']}, or the path of a CSV file.",
        )
    for name, ancestors in hierarchy.items():
        parts = [ancestors] if isinstance(ancestors, str) else ancestors
        is_path = isinstance(parts, Sequence) and all(
            isinstance(part, str) and part for part in parts
        )
        if not (isinstance(name, str) and is_path):
            raise SetupError(
                Option("hierarchy"),
                f": {name!r}: {ancestors!r} is no class name with its superclass or a list of its "
                "ancestors.",
            )


def _check_groups(groups: Any) -> None:
    """Refuse anything but the name of a part of a batch."""
    if groups is not None and not (isinstance(groups, str) and groups):
        raise SetupError(
            _given("groups", groups),
            ": expected the name under which every batch holds the group of each image, as in ",
            Option("groups", "'patient_id'"),
            ", or None. Groups themselves go into the batch: ",
            Option("batch_adapter", "lambda batch: Batch(images=..., labels=..., group=...)"),
            ".",
        )


def _check_name(name: Any) -> None:
    """Refuse a callback name that cannot be part of a metric key and a folder."""
    if name is not None and not (isinstance(name, str) and re.fullmatch(r"[a-z0-9_]+", name)):
        raise SetupError(
            _given("name", name),
            ": use lower-case letters, digits and underscores, as in ",
            Option("name", "'aux'"),
            "; it becomes part of every metric key.",
        )
