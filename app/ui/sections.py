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
        place: where it is drawn.
        heading: above what is drawn; empty where the place has one.
    """

    place: DeltaGenerator
    heading: str = ""

    @contextmanager
    def drawn(self) -> Iterator[None]:
        """Draw into it."""
        with self.place:
            if self.heading:
                st.subheader(self.heading, anchor=False)
            yield


def section(title: str, key: str, *, is_folded: bool, holds: str = "") -> Section | None:
    """Take the place of a section; None while it is closed.

    Args:
        title: its heading.
        key: of the expander, in the page's address where a user opened it.
        is_folded: leave it closed until a user opens it.
        holds: a widget in it, by its key; an address that names it opens the section.
    """
    if not is_folded:
        return Section(st.container(), title)
    place = st.expander(
        title,
        holds in st.query_params,
        key=key,
        on_change="rerun",
        bind="query-params",
    )
    return Section(place) if place.open else None
