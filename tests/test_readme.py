"""The README says what is there."""

from __future__ import annotations

import re
from pathlib import Path

from tests.readme_table import README, with_table

ROOT = README.parent


def test_the_table_of_metrics_is_that_of_the_catalogue() -> None:
    text = README.read_text("utf-8")
    assert "`sing/image_score`" in text
    assert with_table(text) == text, "run `make readme`"


def test_every_make_target_it_names_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"^make ([a-z-]+)|`make ([a-z-]+)`", README.read_text(), re.MULTILINE))
    assert {first or second for first, second in named} <= targets


def test_every_file_it_names_exists() -> None:
    text = README.read_text("utf-8")
    for path in re.findall(r"\]\(((?!http)[^)]+)\)|((?:examples|app)/\w+\.py)", text):
        assert Path(ROOT, path[0] or path[1]).exists(), path
