"""Errors of tracking, and the sentences in which users read them."""

from __future__ import annotations

from sing_monitor.tracking.addresses import redact

_REASON_LENGTH = 200


class StoreError(ConnectionError):
    """The store cannot be reached or read. One sentence, without credentials."""


class NoStoreError(StoreError):
    """Nothing is at the address yet."""


class NotFoundError(LookupError):
    """The store answers, and does not hold what was asked for. The sentence says what exists."""


class RunNotFoundError(NotFoundError):
    """The run does not exist, or was deleted."""


class ArtifactNotFoundError(NotFoundError):
    """The run exists and holds no such file."""

    @classmethod
    def at(cls, run_id: str, path: str, present: list[str], place: str) -> ArtifactNotFoundError:
        """The error for a missing file.

        Args:
            run_id: the run.
            path: of the file, in the run.
            present: paths in the folder where the file should be.
            place: where the run keeps its files.
        """
        folder, _, name = path.rpartition("/")
        have = ", ".join(sorted(each.rpartition("/")[2] for each in present)) or "nothing"
        return cls(
            f"run {run_id} has no {name} in {folder}; the folder holds {have}. "
            f"Its files are kept at {place}."
        )


def reason(error: BaseException, uri: str | None = None) -> str:
    """What went wrong, in one line that holds no credentials.

    Args:
        error: of any library.
        uri: of the store that was asked; its secrets are left out wherever they stand.

    HTTP errors wrap each other's text three times; the last cause is the one that helps. The
    chain of exceptions is no substitute: it may lead on to an exception of the user's training.
    """
    name = type(error).__name__
    _, caused, text = redact(str(error), uri).rpartition("Caused by ")
    if caused:
        name, _, text = text.partition("(")
        text = text.rpartition("): ")[2].strip("\"') ")
    line = (text.strip().splitlines() or [""])[0].rstrip(". ")
    line = line if len(line) <= _REASON_LENGTH else line[:_REASON_LENGTH] + "…"
    return f"{name}: {line}" if line else name
