from __future__ import annotations

import pandas as pd
import pytest

from sing_monitor.app.read import store
from sing_monitor.app.read.derived import derived


def test_what_was_made_is_kept_until_everything_is_forgotten() -> None:
    made = []

    def make() -> pd.DataFrame:
        made.append(1)
        return pd.DataFrame({"a": [1.0]})

    first = derived(("derived test", 1), make)
    assert derived(("derived test", 1), make) is first
    assert derived(("derived test", 2), make) is not first
    assert len(made) == 2
    store.forget()
    assert derived(("derived test", 1), make) is not first


def test_what_fails_is_tried_again() -> None:
    def fail() -> int:
        raise ValueError("not now")

    for _ in range(2):
        with pytest.raises(ValueError, match="not now"):
            derived("fails", fail)
    assert derived("fails", lambda: 1) == 1
