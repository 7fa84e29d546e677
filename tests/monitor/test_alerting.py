"""Alerts in a real training: a warning, a tag, and a memory that outlives the process."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
import pytest
from lightning.pytorch.loggers import MLFlowLogger
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch import Tensor

from sing_monitor import SINGCallback
from sing_monitor.alerts import Alert, above, parse_fired, rises, surely_above
from sing_monitor.monitor.alerting import raise_alerts
from sing_monitor.monitor.exchange import Outcome
from sing_monitor.monitor.state import MonitorState
from sing_monitor.space.fingerprints import fingerprint, to_uint8
from sing_monitor.tracking import RunReader, list_runs
from tests.helpers import tiny

# The head of the tiny network has 4 of 16 directions in its row space, always.
ALWAYS = Alert("null_space", [above("head/null_dim", 11)], "There is one.", epochs=2)
LATER = Alert("later", [above("head/null_dim", 11)], "There still is one.", from_epoch=3)
NEVER = Alert("never", [rises("head/rank", 0.1)], "The rank grew.")


def fit(trainer: L.Trainer, checkpoint: Path | None = None) -> list[str]:
    """The warnings of one training that are about alerts."""
    data = tiny.loader(tiny.Blobs(seed=1)), tiny.loader(tiny.Blobs())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer.fit(tiny.Classifier(), *data, ckpt_path=checkpoint)
    texts = [str(warning.message) for warning in caught]
    return [text for text in texts if "Alert '" in text]


def test_an_alert_is_said_once_marks_the_run_and_survives_a_resume(tmp_path: Path) -> None:
    rules: Sequence[Alert] = (ALWAYS, LATER, NEVER)
    logger = tiny.mlflow_logger(tmp_path)
    first = tiny.trainer(tmp_path, tiny.callback(alerts=rules), logger=logger, max_epochs=3)
    said = fit(first)
    assert len(said) == 1
    assert "There is one. (Epoch 1: head/null_dim 12." in said[0]
    first.save_checkpoint(tmp_path / "last.ckpt")

    uri, run_id = f"sqlite:///{tmp_path / 'mlflow.db'}", str(logger.run_id)
    reader = RunReader(uri, run_id)
    assert reader.alerts() == {"null_space": 1}
    assert reader.config()["alerts"]["never"] == "The rank grew."
    assert reader.config()["alert_metrics"] == {
        rule.name: [each.key for each in rule.conditions] for rule in rules
    }

    again = MLFlowLogger(tracking_uri=uri, run_id=run_id)
    second = tiny.trainer(tmp_path, tiny.callback(alerts=rules), logger=again, max_epochs=5)
    said = fit(second, tmp_path / "last.ckpt")
    assert len(said) == 1
    assert "There still is one. (Epoch 3:" in said[0]
    assert reader.alerts() == {"null_space": 1, "later": 3}
    row = list_runs(uri).iloc[0]
    assert parse_fired(row["sing.alerts"]) == reader.alerts()


class Blind(tiny.HashSpace):
    """A space that sees one image in two as the opposite of what the other half shows."""

    name = "blind"

    def encode_images(self, images: Tensor) -> Tensor:
        noise = fingerprint(to_uint8(images)).remainder(2) * 2.0 - 1
        return super().encode_images(images) * noise[:, None]


def test_classes_that_the_translator_fails_on_are_named_once(tmp_path: Path) -> None:
    callback = tiny.callback(space=Blind(), alerts=None)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tiny.trainer(tmp_path, callback).fit(
            tiny.Classifier(), tiny.loader(tiny.Blobs(seed=1)), tiny.loader(tiny.Blobs())
        )
    texts = [str(warning.message) for warning in caught]
    said = [text for text in texts if "their scores mean nothing" in text]
    assert len(said) == 1
    assert re.search(r"epoch 0, class(es)? '(cat|dog|ship|tree)'", said[0])


@pytest.mark.parametrize("alerts", [None, ()])
def test_all_alerts_can_be_turned_off(tmp_path: Path, alerts: Any) -> None:
    logger = tiny.mlflow_logger(tmp_path)
    said = fit(tiny.trainer(tmp_path, tiny.callback(alerts=alerts), logger=logger))
    assert said == []
    reader = RunReader(f"sqlite:///{tmp_path / 'mlflow.db'}", str(logger.run_id))
    assert reader.alerts() == {}
    assert reader.config()["alerts"] == {}


@pytest.mark.parametrize(("space", "group"), [(tiny.HashSpace(), "sing"), (None, "probe")])
def test_without_a_space_the_same_rules_watch_probes(space: Any, group: str) -> None:
    named = ["class_hidden", "hidden_class_means"]
    for alerts in ("default", named):
        rules = SINGCallback(space, alerts=alerts).options.alert_rules[:2]
        assert [rule.name for rule in rules] == named
        assert {rule.conditions[0].key for rule in rules} == {f"{group}/class_hidden"}


def test_the_lower_ends_of_intervals_reach_the_rules() -> None:
    rule = Alert("sure", [surely_above("sing/class_hidden", 0.2)], "Look.")
    for low, fires in ((0.19, False), (0.21, True)):
        state = MonitorState()
        outcome = Outcome({"sing/class_hidden": 0.4}, {"sing/class_hidden": (low, 0.6)})
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            raise_alerts((rule,), state, epoch=3, outcome=outcome)
        assert state.fired == ({"sure": 3} if fires else {})
        assert ["at least 0.21" in str(each.message) for each in caught] == [True] * fires


@pytest.mark.parametrize(
    ("alerts", "match"),
    [
        (ALWAYS, "expected a list of sing_monitor.alerts.Alert"),
        (["null_space"], "no alert called 'null_space'.*class_hidden, hidden_class_means"),
        (["leaking_clas"], "Did you mean 'leaking_class'"),
        (["ratio_falls"], "no alert 'ratio_falls' any more.*'class_hidden'.* took its place"),
        ("leaking_class", "expected a list of sing_monitor.alerts.Alert"),
        ([1], "neither a sing_monitor.alerts.Alert nor the name"),
        ([Alert("a", [above("head/nulldim", 1)], "")], "did you mean head/null_dim"),
        ([NEVER, NEVER], "two alerts are called 'never'"),
    ],
)
def test_alerts_that_cannot_be_used_are_refused_at_once(alerts: Any, match: str) -> None:
    with pytest.raises(MisconfigurationException, match=match):
        SINGCallback(tiny.HashSpace(), alerts=alerts)


@pytest.mark.parametrize(
    "alerts", [["leaking_class"], [Alert("a", [above("sing/class_hidden", 0.1)], "Look.")]]
)
def test_without_a_space_a_rule_that_could_never_fire_is_refused(alerts: Any) -> None:
    with pytest.raises(MisconfigurationException, match=r"leaking_class|sing/class_hidden"):
        SINGCallback(None, alerts=alerts)
