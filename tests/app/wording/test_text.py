from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sing_monitor.app.wording.text import code, count, listed, one_line, plain, short


@given(st.text())
def test_no_sign_of_markdown_stands_unescaped(text: str) -> None:
    unescaped = re.sub(r"\\[!-/:-@\[-`{-~]", "", plain(text))
    assert not re.search(r"[!-/:-@\[-`{-~\n]", unescaped)


@pytest.mark.parametrize("text", ["http://evil.example", "www.evil.example", "me@evil.example"])
def test_addresses_do_not_become_links(text: str) -> None:
    assert text not in plain(text).replace("\\", "")
    assert plain(text).replace("\\", "").replace("\u2060", "") == text


def test_lines_and_invisible_signs_become_spaces() -> None:
    assert one_line(" a\n\tb\u202ec\x00 ") == "a b c"


@given(st.text(), st.integers(min_value=3, max_value=60))
def test_short_is_short_and_keeps_both_ends(text: str, length: int) -> None:
    line = one_line(text)
    cut = short(text, length)
    assert len(cut) <= length
    if len(line) > length:
        head, tail = cut.split("…", 1) if line.count("…") == 0 else (cut[0], cut[-1])
        assert line.startswith(head)
        assert line.endswith(tail)
    else:
        assert cut == line


def test_code_cannot_be_left() -> None:
    assert code("a``b`` **c**") == "`` a''b'' **c** ``"


@pytest.mark.parametrize(
    ("items", "sentence"),
    [([], ""), (["a"], "a"), (["a", "b"], "a and b"), ([*"abc"], "a, b and c")],
)
def test_listed(items: list[str], sentence: str) -> None:
    assert listed(items) == sentence


def test_count() -> None:
    assert (count(1, "run"), count(0, "run"), count(1200, "run")) == (
        "1 run",
        "0 runs",
        "1,200 runs",
    )
