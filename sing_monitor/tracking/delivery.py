"""From the spool to the tracker: what is kept, how each kind of file is sent, and when."""

from __future__ import annotations

import json
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from sing_monitor.tracking.backend import Run
from sing_monitor.tracking.disk.kept_scalars import KeptScalars
from sing_monitor.tracking.errors import reason
from sing_monitor.tracking.layout import BEGUN, COMPLETE
from sing_monitor.tracking.spool import BusyError, DeliveryError, NotYetError, Spool

_TAGS = "tags.json"
_ARTIFACTS = "artifacts"
_SCALARS = "scalars"
# How long the last delivery of a run waits for a logger that writes in a thread of its own.
_SETTLING_SECONDS = 5.0


class Delivery:
    """Keeps what is meant for one run in a spool, and sends it.

    Args:
        run: takes what is sent.
        spool: holds what waits.
        tags: that come with the first ones.
    """

    def __init__(self, run: Run, spool: Spool, tags: Mapping[str, str]) -> None:
        self._run = run
        self._spool = spool
        self._tags = dict(tags)
        self._in_flight: set[Path] = set()  # scalars that this process's logger may still send
        self._lost: list[tuple[str, Exception]] = []
        self._is_open = False
        self._silence: OSError | None = None
        self._release: Callable[[], object] | None = None

    @property
    def pending(self) -> int:
        """How many files have not reached the tracker yet."""
        return len(self._spool.files())

    def kept(self, pattern: str) -> list[Path]:
        """Artifacts that wait."""
        return list((self._spool.folder / _ARTIFACTS).glob(pattern))

    def put_artifact(self, path: str, write: Callable[[Path], object]) -> None:
        """Keep what is to lie at a path of the run.

        Raises:
            OSError: if the disk refuses.
        """
        self._spool.put(f"{_ARTIFACTS}/{path}", write)

    def put_tags(self, tags: Mapping[str, str]) -> None:
        """Keep tags; those that a full disk refuses come with the next, as runs are found by them.

        Raises:
            OSError: if the disk refuses.
        """
        self._tags |= tags
        waiting = self._spool.folder / _TAGS
        old = json.loads(waiting.read_text("utf-8")) if waiting.exists() else {}
        text = json.dumps(old | self._tags)
        self._spool.put(_TAGS, lambda path: path.write_text(text, "utf-8"))
        self._tags = {}

    def put_scalars(
        self, what: str, name: str, scalars: KeptScalars, *, by_logger: bool = True
    ) -> None:
        """Keep what a logger of this process is about to log, and deliver nothing.

        Args:
            what: is lost if the disk refuses, as the next delivery says then.
            name: of the file.
            scalars: to keep.
            by_logger: whether a logger of this process brings them.

        Raises:
            BusyError: if another process writes to the run.
        """
        name = f"{_SCALARS}/{name}.json"
        try:
            self._lock()
            self._spool.put(name, scalars.save)
        except BusyError:
            raise
        except OSError as error:
            self._lost.append((what, error))
        if by_logger:
            self._in_flight.add(self._spool.folder / name)

    def keep(self, what: str, put: Callable[[], None]) -> None:
        """Put files into the spool, and deliver.

        Args:
            what: what is lost if the disk refuses.
            put: calls the methods above.

        Raises:
            DeliveryError: if something has not arrived.
        """
        with self.together():
            try:
                put()
            except (OSError, SafetensorError) as error:
                self._lost.append((what, error))

    @contextmanager
    def together(self) -> Iterator[None]:
        """Several calls of :meth:`keep` and one delivery: a server is waited for only once.

        Raises:
            DeliveryError: at the end, if something has not arrived.
        """
        if self._is_open:
            yield
            return
        self._is_open, self._silence = True, None
        try:
            self._lock_if_possible()
            yield
            self._deliver_or_say_what_is_lost()
        finally:
            self._is_open = False

    def ask(self) -> None:
        """Ask for a sign of life, in one block only once: each silence costs seconds.

        Raises:
            OSError: if nobody answers.
        """
        if self._is_open and self._silence is not None:
            raise self._silence
        try:
            self._run.store.check()
        except OSError as error:
            self._silence = error
            raise

    def deliver(self, *, last: bool = False, sent: Callable[[], object] | None = None) -> None:
        """Send what waits.

        Args:
            last: of this process; scalars that the logger does not bring within seconds are sent.
            sent: called after each file that has arrived.

        Raises:
            DeliveryError: if something has not arrived.
        """
        if not self._spool.files():
            return
        self._lock_if_possible()
        deadline = time.monotonic() + _SETTLING_SECONDS if last else None

        def send(files: Sequence[Path]) -> None:
            self._send(files, deadline)
            if sent is not None:
                for _ in files:
                    sent()

        failure: Exception | None = None
        try:
            self.ask()
            failure = self._spool.deliver(send)
        # Whatever a proxy answers, the files wait.
        except Exception as error:
            failure = error
        if failure is not None:
            store = self._run.store
            raise DeliveryError(
                f"{self.pending} files could not be sent to {store.place}: "
                f"{reason(failure, store.uri)}. They wait in {self._spool.folder} for the next "
                "try.",
                self.pending,
            ) from None

    def close(self) -> None:
        """Let other processes write to the run."""
        if self._release is not None:
            self._release()
            self._release = None

    def _lock(self) -> None:
        """Keep other processes from writing to the run, as long as this object lives."""
        if self._release is None:
            self._release = weakref.finalize(self, self._spool.lock())

    def _lock_if_possible(self) -> None:
        """A disk that refuses the lock refuses the files, too, and that is said then."""
        try:
            self._lock()
        except BusyError:
            raise
        except OSError:
            pass

    def _deliver_or_say_what_is_lost(self) -> None:
        """A full disk must not stop the delivery: that is what makes room again."""
        lost, self._lost = self._lost, []
        try:
            self.deliver()
        except DeliveryError:
            if not lost:
                raise
        if lost:
            what = " and ".join(what for what, _ in lost)
            raise DeliveryError(
                f"{what} were lost: {self._spool.folder} cannot be written: {reason(lost[0][1])}. "
                "Make room, or give another folder.",
                self.pending,
                is_loss=True,
            ) from None

    def _send(self, files: Sequence[Path], deadline: float | None) -> None:
        file = files[0]
        name = file.relative_to(self._spool.folder)
        if name == Path(_TAGS):
            self._run.put_tags(json.loads(file.read_text("utf-8")))
        elif name.parts[0] == _SCALARS:
            self._send_scalars(file, deadline)
        elif self._waits_for_another(file):
            raise NotYetError
        else:
            self._run.put_files(name.parent.relative_to(_ARTIFACTS).as_posix(), files)

    def _waits_for_another(self, file: Path) -> bool:
        """Whether a table waits for the mark before it, or a mark for the tables before it."""
        if file.name.endswith(COMPLETE):
            validation = file.name.partition(".")[0]
            return any((file.parent / validation).glob("[!.]*"))
        validation = file.parent.name
        return any(file.parent.parent.glob(f"{validation}.*{BEGUN}"))

    def _send_scalars(self, file: Path, deadline: float | None) -> None:
        """Send what the logger has not brought; while it may still bring it, only look."""
        scalars = KeptScalars.load(file)
        is_fresh = time.time() < scalars.timestamp / 1000 + self._run.logger_seconds
        is_in_flight = file in self._in_flight and is_fresh
        while not scalars.have_arrived(self._run):
            if is_in_flight and deadline is None:
                raise NotYetError
            if not is_in_flight or time.monotonic() > (deadline or 0.0):
                scalars.send(self._run)
                break
            time.sleep(0.1)
        self._in_flight.discard(file)
