"""Take the numbers home."""

from __future__ import annotations

import pandas as pd
import streamlit as st


def csv_button(label: str, file_name: str, frame: pd.DataFrame) -> None:
    """A button that saves the frame as CSV; the file is made when it is pressed.

    ``series`` is written as ``run_id`` and ``label`` as ``run``.

    Args:
        label: of the button.
        file_name: what the browser calls the file; no two buttons of a page share one.
        frame: without its index.
    """
    renamed = frame.rename(columns={"series": "run_id", "label": "run"})
    st.download_button(
        label,
        lambda: renamed.to_csv(index=False),
        file_name=file_name,
        mime="text/csv",
        on_click="ignore",
        icon=":material/download:",
        key=f"download {file_name}",
    )
