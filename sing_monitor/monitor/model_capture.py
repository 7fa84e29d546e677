"""ModelCapture: rows of the probe out of the batches that a model sees."""

from __future__ import annotations

import math
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor, nn

from sing_monitor.analyses.hierarchy.reference import describe_reference
from sing_monitor.capture.collector import Collector
from sing_monitor.capture.head_watch import HeadWatch
from sing_monitor.capture.map_tap import MapTap
from sing_monitor.capture.probe import Account, ProbeEmbedder, ProbeRows
from sing_monitor.capture.stages.tap import StageTap
from sing_monitor.capture.stages.taps import Taps
from sing_monitor.errors import SetupError, as_setup_error
from sing_monitor.inputs.batches import Batch
from sing_monitor.inputs.datasets import pretrained_configs
from sing_monitor.inputs.loaders import ImageOrder, find_image_order
from sing_monitor.inputs.resolved_inputs import ResolvedInputs, resolve_inputs
from sing_monitor.monitor.options import Options
from sing_monitor.monitor.setup_report import SetupReport, describe_setup
from sing_monitor.no_trace import no_trace
from sing_monitor.space.cache import EmbeddingCache
from sing_monitor.space.semantic_space import SemanticSpace
from sing_monitor.space.text_embeddings import concept_prompts
from sing_monitor.translate.cost import MapShape
from sing_monitor.translate.random_subspaces import RANDOM_DRAWS, RANDOM_SEED


class ModelCapture:
    """Capture of one model: listens to its head and collects the probe.

    Args:
        options: of the user.
        space: the semantic space; :class:`NoSpace` where none is wanted.
        datamodule: may name the classes and hold an image processor, or None.
    """

    def __init__(self, options: Options, space: SemanticSpace, datamodule: object) -> None:
        self.collector: Collector | None = None
        self.head_watch = HeadWatch(options.head)
        self.taps = Taps(
            MapTap(options.n_maps, self.head_watch.tap),
            StageTap(options.layers, self.head_watch.tap),
        )
        self._options = options
        self._space = space
        self._datamodule = datamodule
        self._model: nn.Module | None = None
        self._loader: Any = None
        self._model_name = ""
        image_cache, text_cache = (
            EmbeddingCache(space.name, kind, space.dim, options.cache_folder if space.dim else None)
            for kind in ("images", "texts")
        )
        self._text_cache = text_cache
        self.embedder = ProbeEmbedder(space, image_cache, thumbnails=options.n_images > 0)

    def attach(self, model: nn.Module) -> None:
        """Look for the model's head; anew where its layers are others, or have grown.

        Raises:
            ValueError: if there is no head, or none of the layers that the user names.
            TypeError: if the head cannot be read.
        """
        self.taps.stages.check(model)
        if self.head_watch.attach(model):
            self.collector = None
            self._model, self._model_name = model, _model_name(model)
            self.taps.attach(model)

    def start(
        self,
        model: nn.Module,
        loader: Any,
        *,
        threshold: int,
        images: int | None,
        batches: float = math.inf,
        order: ImageOrder | None = None,
    ) -> None:
        """Begin a validation pass.

        Args:
            model: the model.
            loader: of its images.
            threshold: of the hashes that may belong to the probe.
            images: how many will come, on all ranks together; None where that is not known.
            batches: how many this rank runs.
            order: of the images in the data set; by default what the loader tells.
        """
        self.attach(model)
        self._loader = loader
        if self.collector is None:
            self.collector = Collector(
                self.head_watch.tap,
                self.taps,
                self.embedder,
                self._settle,
                self._options.batch_adapter,
                self._options.probe_size,
                self._options.groups,
            )
        self.head_watch.start_pass()
        self.collector.start(
            threshold=threshold,
            images=images,
            batches=batches,
            order=find_image_order(loader) if order is None else order,
        )

    def read(self, batch: Any) -> None:
        """Read a batch that the model is about to see."""
        if self.collector is None:
            raise RuntimeError("the capture was not started.")
        self.collector.read(batch)

    def open(self) -> None:
        """Listen to the head and to the layers before it, until :meth:`add`."""
        self.close()
        self.head_watch.open()
        self.taps.open()

    def close(self) -> None:
        """Listen no longer."""
        self.taps.shut()
        self.head_watch.close()

    @contextmanager
    def listening(self) -> Generator[None, None, None]:
        """Open for a block, where the model sees the batch, and no longer when it fails."""
        self.open()
        try:
            yield
        finally:
            self.close()

    def add(self, batch: Any) -> None:
        """Take the rows of one batch, whose features were just seen."""
        self.close()
        if self.collector is None:
            raise RuntimeError("the capture was not started.")
        if not self.head_watch.is_settled:
            try:
                self.head_watch.settle(self.collector.unsettled(batch).labels)
            except SetupError as error:
                # A step that leaves a batch out calls nothing; the next one will tell.
                if self.head_watch.has_seen_calls:
                    raise
                self.collector.lose(batch, error)
                return
            except TypeError as error:
                raise as_setup_error(error) from error
        self.taps.settle()
        self.collector.add(batch)

    def lose(self, batch: Any, reason: Exception) -> None:
        """Go without a batch whose features cannot be told; its images are counted."""
        self.close()
        if self.collector is None:
            raise RuntimeError("the capture was not started.")
        self.collector.lose(batch, reason)

    @property
    def has_heard(self) -> bool:
        """Whether a layer that may be the head was called since :meth:`open`."""
        watch = self.head_watch
        return watch.tap.is_called if watch.is_settled else watch.has_seen_calls

    def _settle(self, batch: Batch) -> ResolvedInputs:
        """Conclude from the first batch what pixels, classes and attributes are."""
        return resolve_inputs(
            batch,
            head=self.head_watch.head,
            space=self._space,
            prompts=self._options.prompts,
            pixel_stats=self._options.pixel_stats,
            class_names=self._options.class_names,
            datamodule=self._datamodule,
            dataset=getattr(self._loader, "dataset", None),
            loader=self._loader,
            model=self._model,
            text_cache=self._text_cache,
            hierarchy=self._options.hierarchy,
        )

    def finish(self) -> ProbeRows | None:
        """End the pass; the rows of this rank, with its maps and stages, or None."""
        self.close()
        if self.collector is None:
            return None
        rows = self.collector.finish()
        if rows is None:
            # Another layer may answer now, such as the head of the next task.
            self.head_watch.reconsider()
            self.taps.abandon()
            return None
        self.head_watch.judge(rows.labels)
        maps, stages = self.taps.maps.finish(), self.taps.stages.finish()
        fault = maps.fault or stages.fault
        if fault is not None and self._options.on_error == "raise":
            raise fault
        return replace(rows, maps=(maps,), stages=(stages,))

    def abandon(self) -> None:
        """End a pass that has failed."""
        self.close()
        self.taps.abandon()
        if self.collector is not None:
            self.collector.abandon()

    @property
    def seen(self) -> int:
        """How many images of the pass that goes on have come so far."""
        return 0 if self.collector is None else self.collector.seen

    @property
    def account(self) -> Account:
        """What became of the images of the last pass that are not among its rows."""
        return Account() if self.collector is None else self.collector.account

    @property
    def is_settled(self) -> bool:
        """Whether a batch was seen and understood."""
        return self.collector is not None and self.collector.setup is not None

    @property
    def attributes(self) -> tuple[str, ...]:
        """Names of the annotated attributes: those of the batches, once one was seen."""
        setup = self.collector.setup if self.collector is not None else None
        return tuple(self._options.prompts.attributes if setup is None else setup.attributes)

    @property
    def weight(self) -> Tensor | None:
        """The head's weight in the last pass, (C, m), on the CPU."""
        weight = self.head_watch.tap.weight
        return None if weight is None else weight.cpu()

    def describe(
        self, *, threshold: int, images: int | None
    ) -> tuple[dict[str, Any], dict[str, str]]:
        """What a run's config and tags say about how its scores come about."""
        setup = self.collector.setup if self.collector is not None else None
        if setup is None:
            raise RuntimeError("the capture has seen no batch.")
        options, prompts = self._options, self._options.prompts
        tags = {
            "reference": setup.reference,
            "invariance": options.invariance,
            "space": self._space.name,
            "head": self.head_watch.head.name,
            "model": self._model_name,
            "hierarchy": describe_reference(setup.class_names, setup.hierarchy),
        }
        config = tags | {
            "version": version("sing-monitor"),
            "num_classes": self.head_watch.head.num_classes,
            "feature_dim": self.head_watch.head.feature_dim,
            "class_names": list(setup.class_names),
            "class_names_source": setup.classes.source,
            "prompt": prompts.classes if isinstance(prompts.classes, str) else [*prompts.classes],
            "attributes": {name: list(texts.names) for name, texts in setup.attributes.items()},
            "attribute_prompts": dict(prompts.attributes),
            "concepts": list(setup.concepts.names) if setup.concepts is not None else [],
            "concept_prompts": concept_prompts(prompts.concepts),
            "pixels": {
                "mean": list(setup.pixels.mean),
                "std": list(setup.pixels.std),
                "source": setup.pixels.source,
            },
            "probe": "validation" if options.probe is None else "own",
            "validation_images": images,
            "probe_size": options.probe_size,
            "has_groups": setup.has_groups,
            "probe_threshold": threshold,
            "every_n_epochs": options.every_n_epochs,
            "dataloader_idx": options.dataloader_idx,
            "ridge": options.ridge,
            "n_images": options.n_images,
            "n_maps": options.n_maps,
            "map": str(self.taps.maps),
            "layers": options.layers if isinstance(options.layers, bool) else [*options.layers],
            "stages": [each.name for each in self.taps.stages.stages],
            "n_weights": options.n_weights,
            "analyses": None if options.analyses is None else [*options.analyses],
            "alerts": {alert.name: alert.message for alert in options.alert_rules},
            "alert_metrics": {
                alert.name: [condition.key for condition in alert.conditions]
                for alert in options.alert_rules
            },
            "random_seed": RANDOM_SEED,
            "random_draws": RANDOM_DRAWS,
        }
        return config, tags

    def release(self) -> None:
        """Take all hooks off the model, and forget what was settled for it."""
        self.taps.release()
        self.head_watch.release()
        self.collector = None

    def report(self, images: int | None) -> SetupReport:
        """What is used, after the first batch.

        Args:
            images: number of images that the probe is taken from; None where it is not known.
        """
        collector, weight = self.collector, self.weight
        if collector is None or collector.setup is None or weight is None:
            raise SetupError("no validation batch was seen.")
        with no_trace():
            return describe_setup(
                collector.setup,
                weight=weight,
                invariance=self._options.invariance,
                feature_map=str(self.taps.maps),
                stages=str(self.taps.stages) if self.taps.stages.is_wanted else "",
                maps=self._compared(images),
                image=collector.example,
                space=self._space,
                prompts=self._options.prompts,
                images=images,
                own_probe=self._options.probe is not None,
                probe_size=self._options.probe_size,
                seconds_per_image=self._seconds_per_image(collector.example),
                ridge=self._options.ridge,
            )

    def _compared(self, images: int | None) -> MapShape | None:
        """The maps that will be compared, as far as that is known before a validation."""
        site, count = self.taps.maps.site, self._options.n_maps
        if site is None:
            return None
        height, width = site.kept_grid
        return MapShape(min(count, images or count), site.channels, height * width)

    def _seconds_per_image(self, example: torch.Tensor) -> float:
        measured = self.embedder.seconds_per_image
        if measured is not None:
            return measured
        started = time.perf_counter()
        self._space.encode_images(example[None])
        return time.perf_counter() - started


def _model_name(model: nn.Module) -> str:
    """Timm's name of the architecture, where there is one; else the class's name."""
    for config in pretrained_configs(model):
        if config.get("architecture"):
            return str(config["architecture"])
    return type(model).__name__
