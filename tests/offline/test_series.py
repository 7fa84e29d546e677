"""Which ridge the checkpoints of a training are analyzed with, one after the other."""

from __future__ import annotations

import math

import pytest

from sing_monitor.offline.series import _kept
from sing_monitor.translate.ridge_curve import KeptRidge


@pytest.mark.parametrize(
    ("ridge", "found", "expected"),
    [
        ("auto", (), "auto"),
        ("auto", (math.nan,), "auto"),
        ("auto", (math.nan, 0.2, 0.1), 0.2),
        (KeptRidge(0.3), (math.nan,), 0.3),
        (KeptRidge(0.3), (0.1,), 0.1),
    ],
)
def test_what_auto_has_found_is_kept_but_not_for_good(
    ridge: float | str, found: tuple[float, ...], expected: float | str
) -> None:
    kept = _kept(ridge, *found)
    assert kept == expected
    assert isinstance(kept, KeptRidge) == (expected != "auto")


def test_a_ridge_of_the_user_is_held() -> None:
    kept = _kept(0.3, 0.1)
    assert kept == 0.3
    assert not isinstance(kept, KeptRidge)
