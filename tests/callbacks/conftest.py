"""One run that most tests of the callback look at, and a tiny real open_clip checkpoint."""

from __future__ import annotations

import json
from dataclasses import dataclass

import lightning as L
import open_clip
import pytest
import torch
from safetensors.torch import save_file

from sing_monitor import SINGCallback
from sing_monitor.tracking import RunReader
from tests.callbacks import tiny


@dataclass(frozen=True)
class Run:
    """A finished training and where its findings lie."""

    trainer: L.Trainer
    callback: SINGCallback
    model: tiny.Classifier
    reader: RunReader
    uri: str


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Three epochs with every default that can be found, logged to a real MLflow store."""
    folder = tmp_path_factory.mktemp("finished_run")
    callback, model = tiny.callback(), tiny.Classifier()
    logger = tiny.mlflow_logger(folder)
    trainer = tiny.trainer(folder, callback, logger=logger, max_epochs=3)
    trainer.fit(model, tiny.loader(tiny.Blobs(seed=1)), tiny.loader(tiny.Blobs()))
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    return Run(trainer, callback, model, RunReader(uri, str(logger.run_id)), uri)


@pytest.fixture(scope="session")
def clip_space(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A ``space=`` string that open_clip loads from a local file."""
    folder = tmp_path_factory.mktemp("clip")
    vision = {"image_size": 16, "layers": 1, "width": 16, "head_width": 8, "patch_size": 8}
    text = {"context_length": 12, "vocab_size": 49408, "width": 8, "heads": 1, "layers": 1}
    config = folder / "sing-callback-test.json"
    config.write_text(json.dumps({"embed_dim": 12, "vision_cfg": vision, "text_cfg": text}))
    open_clip.add_model_config(config)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        weights = open_clip.create_model("sing-callback-test").state_dict()
    save_file(weights, folder / "tiny.safetensors")
    return f"sing-callback-test/{folder / 'tiny.safetensors'}"
