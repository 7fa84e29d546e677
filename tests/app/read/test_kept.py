"""What is kept is bounded, and nobody changes it by accident."""

from __future__ import annotations

import pandas as pd

from sing_monitor.app.read import run_list
from sing_monitor.app.read import store as data
from sing_monitor.app.read.kept import Kept
from sing_monitor.app.ui.selection import run_source
from sing_monitor.findings import Findings
from tests.app.stores import Store, plausible


def test_the_values_that_were_used_last_are_kept() -> None:
    kept: Kept[str, int] = Kept(2, seconds=60)
    kept.put("one", 1)
    kept.put("two", 2)
    assert kept.get("one") == 1
    kept.put("three", 3)
    assert [kept.get(key) for key in ("one", "two", "three")] == [1, None, 3]


def test_values_are_kept_by_their_size() -> None:
    kept: Kept[str, str] = Kept(10, seconds=60, size_of=len)
    kept.put("long", "123456")
    kept.put("longer than all", "12345678901")
    assert kept.get("long") == "123456"
    assert kept.get("longer than all") is None
    kept.put("short", "12345")
    assert kept.get("long") is None


def test_nothing_is_kept_beyond_its_time() -> None:
    kept: Kept[str, int] = Kept(2, seconds=0)
    kept.put("one", 1)
    assert kept.get("one") is None


def test_a_page_cannot_change_the_table_of_another(store: Store) -> None:
    frame = pd.DataFrame({"class_name": ["a", "b"], "n": [1, 2]})
    run = store.run("shared", [plausible(0)], tables=Findings({}, {"classes": frame}))
    run_list.forget()
    listing = data.listing(store.uri)
    found = run_source(store.uri, listing[listing["run_id"] == run].iloc[0])
    first = data.table(found, "classes", 0, 100)
    first["n"] = 0
    first.loc[0, "class_name"] = "changed"
    pd.testing.assert_frame_equal(data.table(found, "classes", 0, 100), frame)
    store.client.delete_run(run)
