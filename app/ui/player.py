"""The slider of epochs that can play by itself."""

from __future__ import annotations

import time
from collections.abc import Sequence

import streamlit as st

from sing_monitor.app.ui.widgets import epoch_slider

# How long each epoch is shown: what draws it runs again as often, as long as it `is_playing`.
SECONDS = 1.2
_EPOCH, _PLAYING, _STEPPED = "epoch", "tradeoff playing", "tradeoff stepped"


def is_playing() -> bool:
    """Whether the next epoch comes by itself."""
    return bool(st.session_state.get(_PLAYING))


def choose_epoch(epochs: Sequence[int]) -> int:
    """The slider with the button that plays; while it plays, the next epoch after a while.

    Args:
        epochs: sorted, at least one.
    """
    following = [each for each in epochs if each > st.session_state.get(_EPOCH, epochs[-1])]
    is_due = time.monotonic() - st.session_state.get(_STEPPED, 0.0) > 0.8 * SECONDS
    if is_playing() and is_due:
        if not following:
            st.session_state[_PLAYING] = False
            st.rerun()
        st.session_state[_EPOCH] = following[0]
        st.session_state[_STEPPED] = time.monotonic()
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        if len(epochs) > 1:
            # Drawn by the page anew, since the fragment's clock starts or stops with it.
            icon = ":material/pause:" if is_playing() else ":material/play_arrow:"
            name = "Pause" if is_playing() else "Play"
            if st.button(name, icon=icon, key="play", on_click=_toggle, args=(epochs,)):
                st.rerun()
        if not is_playing() or st.session_state.get(_EPOCH) not in epochs:
            return epoch_slider(epochs, label="Epoch", key=_EPOCH)
        # Without a default: the epoch was set here.
        return int(st.select_slider("Epoch", epochs, key=_EPOCH, bind="query-params"))


def _toggle(epochs: Sequence[int]) -> None:
    """Start or stop playing; at the end it starts from the first epoch."""
    st.session_state[_PLAYING] = not is_playing()
    st.session_state[_STEPPED] = time.monotonic()
    if is_playing() and st.session_state.get(_EPOCH, epochs[-1]) == epochs[-1]:
        st.session_state[_EPOCH] = epochs[0]
