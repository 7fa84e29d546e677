"""The app: ``streamlit run app/main.py -- --tracking-uri sqlite:///mlflow.db``."""

from __future__ import annotations

import streamlit as st

from sing_monitor.app.ui import collector, selection, sidebar
from sing_monitor.tracking.mlflow_access import send_no_statistics

send_no_statistics()

# Drawn here: Streamlit would fetch an icon of its set from the internet.
_ICON = """\
<svg xmlns="http://www.w3.org/2000/svg" width="32" height="32" viewBox="0 0 32 32">
<path d="M4 26 L16 5 L28 26 Z" fill="none" stroke="#0078b4" stroke-width="3.5"/>
<path d="M16 5 L16 26" stroke="#d25a00" stroke-width="3.5" stroke-dasharray="5 3"/></svg>"""

st.set_page_config("sing-monitor", _ICON, layout="wide")
# The address of a page is the name of its file: groups may change, links go on working.
page = st.navigation(
    {
        "Overview": [
            st.Page("views/runs.py", title="Runs", icon=":material/table_rows:", default=True),
            st.Page("views/evolution.py", title="Evolution", icon=":material/show_chart:"),
            st.Page("views/tradeoff.py", title="Trade-off", icon=":material/scatter_plot:"),
        ],
        "Meaning": [
            st.Page("views/classes.py", title="Classes", icon=":material/category:"),
            st.Page("views/concepts.py", title="Concepts", icon=":material/translate:"),
            st.Page("views/images.py", title="Images", icon=":material/image:"),
            st.Page("views/explain.py", title="Explain", icon=":material/manage_search:"),
            st.Page("views/steering.py", title="Steering", icon=":material/swipe:"),
        ],
        "Structure": [
            st.Page("views/geometry.py", title="Geometry", icon=":material/straighten:"),
            st.Page("views/hierarchy.py", title="Hierarchy", icon=":material/account_tree:"),
            st.Page("views/similarity.py", title="Similarity", icon=":material/join_inner:"),
            st.Page("views/dynamics.py", title="Dynamics", icon=":material/waves:"),
        ],
        "Guide": [
            st.Page("views/guide.py", title="Guide", icon=":material/menu_book:"),
            st.Page("views/tables.py", title="Tables", icon=":material/table_view:"),
        ],
    },
    expanded=True,
)
sidebar.draw_sidebar()
selection.write_address()
page.run()
# By now nearly all that pages need is imported.
collector.leave_out_imports()
