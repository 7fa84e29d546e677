"""A long analysis is announced, also where no sanity check has told of it."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from sing_monitor.monitor import first_process
from tests.helpers import tiny


def fit(folder: Path) -> list[str]:
    """Two epochs without a sanity check, and what they warned of."""
    done = tiny.trainer(folder, tiny.callback(n_maps=64), max_epochs=2, num_sanity_val_steps=0)
    images = tiny.loader(tiny.Blobs(32))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        done.fit(tiny.Classifier(), images, images)
    return [str(each.message) for each in caught if "The analysis takes" in str(each.message)]


def test_it_is_announced_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_process, "LONG", 0.0)
    (said,) = fit(tmp_path)
    assert "each validation" in said


def test_a_short_one_is_not_announced(tmp_path: Path) -> None:
    assert not fit(tmp_path)


def test_a_comparison_of_maps_that_takes_seconds_is_announced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    fit(tmp_path)
    assert "similarity of images takes" not in caplog.text
    monkeypatch.setattr(first_process, "NOTICED", 0.0)
    fit(tmp_path)
    (said,) = (line for line in caplog.messages if "similarity of images takes" in line)
    assert "for 32 maps of 25 positions; n_maps=16 takes a quarter" in said
