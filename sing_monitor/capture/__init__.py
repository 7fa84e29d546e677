"""Rows out of a running validation loop: hooks on the head, and the probe."""
