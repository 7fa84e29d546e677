"""The README says what is there."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
import yaml
from lightning.pytorch.cli import LightningCLI
from omegaconf import OmegaConf

from sing_monitor import SINGCallback
from sing_monitor.alerts import DEFAULT_ALERTS
from tests.helpers import configured
from tests.project.readme_table import README, with_tables

ROOT = README.parent


def test_the_tables_of_metrics_and_tables_are_those_of_the_catalogue() -> None:
    text = README.read_text("utf-8")
    assert "`sing/image_score`" in text
    assert "| `classes` |" in text
    assert with_tables(text) == text, "run `make readme`"


def test_every_make_target_it_names_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"^make ([a-z-]+)|`make ([a-z-]+)`", README.read_text(), re.MULTILINE))
    assert {first or second for first, second in named} <= targets


def test_every_file_it_names_exists() -> None:
    text = README.read_text("utf-8")
    for path in re.findall(r"\]\(((?!http)[^)]+)\)|((?:examples|app)/\w+\.py)", text):
        assert Path(ROOT, path[0] or path[1]).exists(), path


def yaml_examples() -> dict[str, str]:
    """The configuration files that the README shows: LightningCLI's and Hydra's."""
    found = re.findall(r"^```yaml\n(.*?)^```", README.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    lightning, hydra = found
    return {"lightning": lightning, "hydra": hydra}


def test_its_file_for_lightning_cli_makes_that_callback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "train.py").write_text(
        "from torch.utils.data import DataLoader\n"
        "from tests.helpers.configured import Space, adapt, probe\n"
        "def probe_loader() -> DataLoader:\n    return probe()\n"
    )
    (tmp_path / "config.yaml").write_text(yaml_examples()["lightning"])
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["train.py"])
    made = LightningCLI(
        configured.Network, configured.Data, args=["--config=config.yaml"], run=False
    )
    (settings,) = (
        each.options for each in made.trainer.callbacks if isinstance(each, SINGCallback)
    )
    given = yaml.safe_load(yaml_examples()["lightning"])["trainer"]["callbacks"][0]["init_args"]
    assert settings.class_names == given["class_names"]
    assert settings.prompts.concepts == given["concepts"]
    assert [list(part) for part in settings.pixel_stats] == given["pixel_stats"]
    assert settings.batch_adapter is configured.adapt
    assert isinstance(settings.space, configured.Space)
    assert len(settings.probe.dataset) == 8
    assert settings.alert_rules == DEFAULT_ALERTS[:1]
    kinds = [type(logger).__name__ for logger in made.trainer.loggers]
    assert kinds == ["CSVLogger", "MLFlowLogger"]
    # In this folder LightningCLI saves its file; without one it fails as a training begins.
    assert made.trainer.log_dir is not None


def test_its_file_for_hydra_makes_that_callback() -> None:
    config = OmegaConf.create(yaml_examples()["hydra"]).callbacks.sing
    # hydra.utils.instantiate imports _target_ and hands over the rest as it is.
    module, _, name = config["_target_"].rpartition(".")
    target = getattr(importlib.import_module(module), name)
    settings = target(**{key: config[key] for key in config if key != "_target_"}).options
    assert list(settings.class_names) == ["cat", "dog", "ship", "tree"]
    assert list(settings.prompts.classes) == ["a photo of a {}", "a drawing of a {}"]
    assert set(settings.prompts.concepts) == {"red", "striped"}
    assert settings.alert_rules == DEFAULT_ALERTS[:2]
