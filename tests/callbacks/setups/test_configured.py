"""LightningCLI: every option survives being saved, and what is saved starts the same run again."""

from __future__ import annotations

import inspect
import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from lightning.pytorch.cli import LightningCLI

from sing_monitor import SINGCallback
from sing_monitor.alerts import DEFAULT_ALERTS, Alert, Condition
from tests.helpers import configured, tiny

HERE = "tests.helpers.configured"
OWN = {
    "name": "mine",
    "conditions": [{"key": "head/null_dim", "kind": "above", "amount": 1.0}],
    "message": "Look.",
    "from_epoch": 0,
    "epochs": 2,
}
# For each option, values that are not its default, as a configuration file holds them.
VALUES: dict[str, list[Any]] = {
    "space": ["ViT-L-14/openai", {"class_path": f"{HERE}.Space"}],
    "head": ["fc"],
    "class_names": [["cat", "dog", "ship", "tree"], {"cat": 0, "dog": 1, "ship": 2, "tree": 3}],
    "concepts": [["red", "striped"], [], {"red": "a red {}", "big": ["a big {}", "a huge {}"]}],
    "prompt": ["a photo of a {}", ["a {}", "the {}"]],
    "attribute_prompts": [{"colour": "an image of a {} digit"}],
    "probe_size": [100],
    "every_n_epochs": [2],
    "dataloader_idx": [1],
    "probe": [{"class_path": f"{HERE}.probe", "init_args": {"size": 12}}],
    "pixel_stats": [[0.5, 0.25], [[0.5, 0.4, 0.3], [0.2, 0.2, 0.1]]],
    "batch_adapter": [f"{HERE}.adapt"],
    "groups": ["patient_id"],
    "ridge": [0.01],
    "n_images": [0],
    "n_maps": [0],
    "layers": [True, ["layer1", "layer4"]],
    "n_weights": [0],
    "hierarchy": [{"cat": "animal", "dog": ["living", "animal"]}, "classes.csv"],
    "invariance": ["softmax"],
    "analyses": [["sing", "head", "layers"]],
    "allow_augmented": [True],
    "cache_dir": [None, "embeddings"],
    "save_snapshots": [True],
    "tracking": ["runs"],
    "alerts": [None, [], ["leaking_class"], [OWN, "class_hidden"]],
    "name": ["aux"],
    "on_error": ["raise"],
}


@pytest.fixture(autouse=True)
def no_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """LightningCLI warns of arguments of the test run's own."""
    monkeypatch.setattr("sys.argv", ["train.py"])


def cli(*arguments: str, run: bool = False) -> LightningCLI:
    return LightningCLI(configured.Network, configured.Data, args=list(arguments), run=run)


def config(folder: Path, **options: Any) -> Path:
    """A file with a quick training, and the callback with these options."""
    path = folder / "first.yaml"
    logger = {"class_path": "lightning.pytorch.loggers.CSVLogger"}
    settings = {"max_epochs": 1, "accelerator": "cpu", "enable_progress_bar": False}
    monitor = {"class_path": "sing_monitor.SINGCallback", "init_args": options}
    logger["init_args"] = {"save_dir": str(folder)}
    trainer = {**settings, "logger": logger, "callbacks": [monitor]}
    path.write_text(yaml.safe_dump({"trainer": trainer}))
    return path


def options_in(text: str) -> dict[str, Any]:
    (monitor,) = yaml.safe_load(text)["trainer"]["callbacks"]
    assert monitor["class_path"] == "sing_monitor.SINGCallback"
    return monitor["init_args"]


def test_every_option_is_tried_with_another_value_than_its_default() -> None:
    parameters = dict(inspect.signature(SINGCallback).parameters)
    assert VALUES.keys() == parameters.keys(), "a new option needs a value in VALUES"
    for name, values in VALUES.items():
        assert values
        assert parameters[name].default not in values, name


@pytest.mark.parametrize(
    ("option", "value"), [(name, value) for name in VALUES for value in VALUES[name]], ids=str
)
def test_an_option_survives_being_saved_and_loaded(option: str, value: Any, tmp_path: Path) -> None:
    def saved(path: Path) -> str:
        made = cli(f"--config={path}")
        target = tmp_path / f"after_{path.name}"
        made.parser.save(made.config, target, skip_unset=False)
        return target.read_text()

    first = saved(config(tmp_path, **{option: value}))
    assert options_in(first)[option] == value
    again = tmp_path / "again.yaml"
    again.write_text(first)
    assert saved(again) == first


def test_what_is_in_the_file_reaches_the_callback(tmp_path: Path) -> None:
    """One value of each option, all at once; a probe leaves no choice of validation loader."""
    given = {name: values[-1] for name, values in VALUES.items() if name != "dataloader_idx"}
    made = cli(f"--config={config(tmp_path, **given)}")
    (settings,) = (
        each.options for each in made.trainer.callbacks if isinstance(each, SINGCallback)
    )
    plain = set(given) - {"space", "concepts", "prompt", "attribute_prompts", "probe", "alerts"}
    for name in plain - {"pixel_stats", "batch_adapter", "cache_dir"}:
        assert getattr(settings, name) == given[name], name
    assert isinstance(settings.space, configured.Space)
    assert settings.prompts.classes == given["prompt"]
    assert settings.prompts.concepts == given["concepts"]
    assert settings.prompts.attributes == given["attribute_prompts"]
    assert len(settings.probe.dataset) == 12
    assert [list(part) for part in settings.pixel_stats] == given["pixel_stats"]
    assert settings.batch_adapter is configured.adapt
    assert settings.cache_folder == Path("embeddings")
    own, default = settings.alert_rules
    assert own == Alert("mine", [Condition("head/null_dim", "above", 1.0)], "Look.", 0, 2)
    assert default is DEFAULT_ALERTS[0]


def test_a_saved_and_a_printed_config_start_the_same_run_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = {"space": {"class_path": f"{HERE}.Space"}, "cache_dir": None}
    options["class_names"] = list(tiny.CLASSES)
    first = config(tmp_path, **options, on_error="raise")
    scores = [score_of(cli("fit", f"--config={first}", "--seed_everything=1", run=True))]
    saved = tmp_path / "lightning_logs" / "version_0" / "config.yaml"
    assert options_in(saved.read_text())["alerts"] == "default"
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        cli("fit", f"--config={saved}", "--print_config", run=True)
    assert ended.value.code == 0
    printed = tmp_path / "printed.yaml"
    printed.write_text(capsys.readouterr().out)
    for again in (saved, printed):
        assert options_in(again.read_text()) == options_in(saved.read_text())
        scores.append(score_of(cli("fit", f"--config={again}", run=True)))
    assert math.isfinite(scores[0])
    assert scores == [scores[0]] * 3


def score_of(made: LightningCLI) -> float:
    return float(made.trainer.callback_metrics["sing/image_score"])


def test_a_space_that_the_file_could_not_make_is_named(tmp_path: Path) -> None:
    wrong = {"class_path": f"{HERE}.Space", "init_args": {"size": 3}}
    with pytest.raises(Exception, match="if the class can be imported, takes these arguments"):
        cli(f"--config={config(tmp_path, space=wrong)}")
