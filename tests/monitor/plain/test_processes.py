"""One process and two give the same numbers, without a trainer."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sing_monitor.tracking import RunReader, list_runs
from tests.helpers.loops import same
from tests.monitor.plain.in_processes import ALONE, run_alone

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("two")


@pytest.fixture(scope="module")
def together(folder: Path) -> dict[str, list[Any]]:
    """What each of two processes found; one that waits in vain ends the launch."""
    script = [sys.executable, "-m", "tests.monitor.plain.in_processes", "2", str(folder)]
    subprocess.run(script, cwd=ROOT, check=True, timeout=300)
    results: dict[str, list[Any]] = json.loads((folder / "results.json").read_text())
    return results


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return run_alone(tmp_path_factory.mktemp("one"))


@pytest.mark.parametrize("scenario", [each.__name__ for each in ALONE])
def test_two_processes_give_the_numbers_of_one(
    scenario: str, alone: dict[str, Any], together: dict[str, list[Any]]
) -> None:
    assert alone[scenario]["monitor/samples"] == 47
    for found in together[scenario]:
        assert same(found, alone[scenario], rel=1e-9)


def test_the_first_process_writes_one_run_of_fabric(
    folder: Path, together: dict[str, list[Any]]
) -> None:
    uri = str(folder / "with_fabric")
    (run,) = list_runs(uri).to_dict("records")
    assert (run["sing.way"], run["status"]) == ("fabric", "FINISHED")
    curves = RunReader(uri, run["run_id"]).scalars(["head/drift"], ["rank"])
    assert curves["rank"].tolist() == [0, 0]
    assert curves["head/drift"].iloc[1] == together["with_fabric"][1]["head/drift"] > 0


def test_what_goes_wrong_in_one_process_is_heard_in_all(together: dict[str, list[Any]]) -> None:
    first, second = together["half_wrong"]
    (warning,) = first["warnings"]
    assert "and no labels. Hand over one class index per image" in warning
    assert second["warnings"] == []  # one process speaks
    for found in (first, second):
        (error,) = found["errors"]
        assert "and no labels" in error
