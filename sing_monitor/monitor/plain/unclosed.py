"""UnclosedRun: end of a run whose monitor nobody closes, with the interpreter."""

from __future__ import annotations

import atexit
import os
import sys
from contextlib import suppress
from pathlib import Path

from sing_monitor.messages import warn
from sing_monitor.tracking.addresses import redact
from sing_monitor.tracking.stores import find_again


class UnclosedRun:
    """Ends a run at the end of the interpreter, if it still runs and nothing has failed.

    Where an exception that nobody caught has ended the program, the run stays as it is, as that of
    a program that was killed does. Copies of the process leave it alone.
    """

    def __init__(self) -> None:
        self._run: tuple[str, str] | None = None
        self._folder = Path()
        self._process = 0

    def watch(self, uri: str, run_id: str) -> None:
        """End this run, if it is not closed until then."""
        if self._run is None:
            self._process = os.getpid()
            atexit.register(self._end)
        if self._run != (uri, run_id):
            # A relative address means nothing where the program goes on in another folder.
            with suppress(OSError):
                self._folder = Path.cwd()
        self._run = uri, run_id

    def close(self) -> None:
        """Leave the run alone from now on: it was closed."""
        atexit.unregister(self._end)
        self._run = None

    def _end(self) -> None:
        # Python keeps there what ended a program; an interactive one, the last fault.
        if self._run is None or os.getpid() != self._process or hasattr(sys, "last_value"):
            return
        uri, run_id = self._run
        try:
            store = find_again(uri, self._folder)
            store.check()
            if store.run(run_id).status == "RUNNING":
                store.open_run(run_id).finish("FINISHED")
        # Every kind of store has exceptions of its own.
        except Exception as error:
            why = redact(str(error), uri) or type(error).__name__
            warn(f"the run {run_id} is left as running, though its training has ended: {why}")
