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


@pytest.mark.parametrize(
    "text", [":material/home:", ":material_home:", ":smile:", ":streamlit:", "-> <- <-> -- >= ~="]
)
def test_icons_and_arrows_are_not_drawn(text: str) -> None:
    shown = plain(text).replace("\\", "")
    assert shown.replace("\u2060", "") == text
    drawn = r":[\w+/-]+:|->|<-|--|>=|~="
    assert not re.search(drawn, shown)


def test_lines_and_invisible_signs_become_spaces() -> None:
    assert one_line(" a\n\tb\u202ec\x00 ") == "a b c"


@given(st.text(), st.integers(min_value=4, max_value=60))
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


@given(st.text("`a \n"))
def test_code_cannot_be_left(text: str) -> None:
    start, inside, end = code(text)[:3], code(text)[3:-3], code(text)[-3:]
    assert (start, end) == ("`` ", " ``")
    assert "``" not in inside
    assert "\n" not in inside
    assert inside.strip()


def test_code_keeps_addresses_and_draws_no_icon() -> None:
    assert code("http://a.example/b?c=`d`") == "`` http://a.example/b?c=`d` ``"
    assert code(":material/home:") == "`` :\u2060material/home: ``"


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
