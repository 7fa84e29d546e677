"""The Streamlit app that charts the logged invariants; installed as ``sing_monitor.app``."""
