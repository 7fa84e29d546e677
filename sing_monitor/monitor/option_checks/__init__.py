"""Checks of the options of a monitor."""
