"""The run of the callback, which ``analyze`` must agree with."""

from __future__ import annotations

from tests.callbacks.conftest import finished_run

__all__ = ["finished_run"]
