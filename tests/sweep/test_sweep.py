"""Public architectures: the layer that is watched is the one that gives the answer, or a refusal.

A small sample runs with the suite; all of them, and the page about them, with `make sweep`.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from tests.sweep.case import Case
from tests.sweep.catalogue import NOT_RUN, SAMPLE, all_cases, sampled
from tests.sweep.sweep import Row, run
from tests.sweep.table import page

PAGE = Path(__file__).parents[2] / "docs" / "heads.md"
CASES = all_cases()


@pytest.fixture(scope="session")
def rows() -> Generator[list[Row], None, None]:
    """What was found; it becomes the page once every architecture had its turn."""
    found: list[Row] = []
    yield found
    if len(found) == len(CASES):
        PAGE.write_text(page(found), "utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_architecture_is_right_or_refused(case: Case, rows: list[Row]) -> None:
    row = run(case)
    if row.reason:
        row = Row(row.library, row.key, reason=NOT_RUN.get(str(case), row.reason))
    rows.append(row)
    assert not row.reason or str(case) in NOT_RUN, row.reason
    assert not row.faults, _faults(row)


@pytest.mark.parametrize("name", SAMPLE)
def test_a_sample_is_right_or_refused(name: str) -> None:
    row = run(sampled(name))
    assert not row.reason, row.reason
    assert row.heads == tuple(filter(None, [SAMPLE[name]]))
    assert not row.faults, _faults(row)


def _faults(row: Row) -> str:
    lines = [f"{way}: {each.verdict} {each.head} {each.words}" for way, each in row.faults.items()]
    return "\n".join([f"{row.model}, answered by {row.heads or 'no one layer'}", *lines])
