from __future__ import annotations

from pathlib import Path

import pytest

from tests.project.option_docs import DOCUMENTED, written


@pytest.mark.parametrize("path", DOCUMENTED, ids=lambda path: path.name)
def test_the_docstring_says_of_every_option_what_its_help_says(path: Path) -> None:
    assert path.read_text("utf-8") == written(path), "run `make readme`"
