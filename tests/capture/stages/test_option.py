"""The option ``layers``: what it refuses, when a wrong name is found, and its word for a shell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch.utils.data import DataLoader, TensorDataset

from sing_monitor import analyze
from sing_monitor.commands.analysis_options import plain_options
from sing_monitor.commands.spelling import spelled
from sing_monitor.errors import SetupError
from sing_monitor.monitor.options import Options
from tests.helpers import tiny


@pytest.mark.parametrize("value", ["layer1", 3, None, [], [""], [1], ("a", 2), {"a": "b"}])
def test_another_value_than_yes_no_and_names_is_refused(value: Any) -> None:
    if isinstance(value, dict):
        value = set(value)
    with pytest.raises(SetupError, match=r"layers=.*expected True, which finds the stages"):
        Options(layers=value)


def test_a_name_that_comes_twice_is_refused() -> None:
    with pytest.raises(SetupError, match="names a module twice"):
        Options(layers=["a", "b", "a"])
    assert "stages" not in Options(layers=False).captured
    for given in (True, ["a", "b"], ("a",)):
        assert "stages" in Options(layers=given).captured


def test_an_unknown_module_ends_the_set_up_before_anything_is_trained(tmp_path: Path) -> None:
    model = tiny.Classifier()
    before = {name: each.clone() for name, each in model.state_dict().items()}
    run = tiny.trainer(tmp_path, tiny.callback(layers=["network.0", "netwrk.2"], on_error="warn"))
    loader = tiny.loader(tiny.Blobs())
    with pytest.raises(MisconfigurationException, match=r"no module 'netwrk\.2'") as refused:
        run.fit(model, loader, loader)
    assert "'network.2'" in str(refused.value)
    assert all(torch.equal(each, before[name]) for name, each in model.state_dict().items())


def test_analyze_takes_it_and_the_shell_has_a_word_for_it() -> None:
    (option,) = (each for each in plain_options() if each.name == "layers")
    assert option.flag == "--layers"
    assert option.default is False
    blobs, network = tiny.Blobs(), tiny.Classifier().network
    loader = DataLoader(TensorDataset(blobs.images, blobs.labels), 16)
    for word, stages in (("auto", ["0", "1"]), ("2,0", ["0", "2"])):
        found = analyze(network, loader, None, n_maps=0, layers=option.parse(word))
        assert found.tables["layers"]["layer"].tolist() == stages
        assert sorted(found.config["stages"]) == stages
    with pytest.raises(SetupError, match="no module '7'") as refused:
        analyze(network, loader, None, layers=["7"])
    assert "--layers auto finds the stages by itself" in spelled(refused.value)
