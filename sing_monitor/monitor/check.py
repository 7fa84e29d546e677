"""Check of a set-up on one batch, before any training."""

from __future__ import annotations

import math
from typing import Any

from torch import nn

from sing_monitor.errors import SetupError
from sing_monitor.extra_pass.collect import collect_probe, forward_images
from sing_monitor.inputs.loaders import check_loader, planned_images
from sing_monitor.monitor.model_capture import ModelCapture
from sing_monitor.monitor.options import Options
from sing_monitor.monitor.remarks import why_nothing
from sing_monitor.monitor.setup_report import SetupReport
from sing_monitor.space.semantic_space import SemanticSpace

_EVERYTHING = 2**63 - 1


def check(options: Options, space: SemanticSpace, model: nn.Module, loader: Any) -> SetupReport:
    """Run a model on one batch and report what would be used; nothing of the model changes."""
    check_loader(loader, "check")
    capture = ModelCapture(options, space, None)
    try:
        images = planned_images(loader, math.inf, 1)
        if images == 0:
            raise SetupError("the loader is empty; check needs one batch.")
        capture.start(model, loader, threshold=_EVERYTHING, images=images)
        with forward_images(model, options.batch_adapter) as forward:
            collect_probe(capture, model, loader, forward=forward, batches=1)
        if capture.finish() is None:
            raise why_nothing(capture.account)
        return capture.report(images)
    finally:
        capture.release()
