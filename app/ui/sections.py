"""Sections of a page; where many runs are compared, they are drawn when they are opened."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import streamlit as st
from streamlit.delta_generator import DeltaGenerator


@dataclass(frozen=True)
class Section:
    """A part of a page that has its place already, and is drawn later.

    Args:
        title: its heading.
        place: where it is drawn.
        is_folded: whether it is an expander, whose label is the title.
        is_open: whether anybody sees what is drawn.
    """

    title: str
    place: DeltaGenerator
    is_folded: bool
    is_open: bool

    @contextmanager
    def drawn(self) -> Iterator[None]:
        """Draw into it."""
        with self.place:
            if not self.is_folded:
                st.subheader(self.title, anchor=False)
            yield


def section(title: str, key: str, *, is_folded: bool, holds: str = "") -> Section:
    """Take the place of a section.

    Args:
        title: its heading.
        key: of the expander, in the page's address where a user opened it.
        is_folded: leave it closed until a user opens it.
        holds: a widget in it, by its key; an address that names it opens the section.
    """
    if not is_folded:
        return Section(title, st.container(), is_folded=False, is_open=True)
    place = st.expander(
        title,
        holds in st.query_params,
        key=key,
        on_change="rerun",
        bind="query-params",
    )
    return Section(title, place, is_folded=True, is_open=bool(place.open))
