from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from mlflow import MlflowClient

from sing_monitor.tracking import MlflowRun, StoreError, gather, mlflow_access
from sing_monitor.tracking.errors import reason
from sing_monitor.tracking.mlflow_access import check_answers, reaching, short_waits

RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"


@contextmanager
def listener() -> Iterator[socket.socket]:
    """A bound socket that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def closed_port() -> int:
    with listener() as server:
        return int(server.getsockname()[1])


def test_a_reason_is_one_short_line() -> None:
    assert reason(ValueError("first\nsecond")) == "ValueError: first"
    assert reason(KeyboardInterrupt()) == "KeyboardInterrupt"
    assert len(reason(ValueError("x" * 10_000))) < 300
    text = "Max retries (Caused by A(\"Http(host='h', port=1): Failed: [Errno 111] Refused\"))"
    assert reason(ValueError(text)) == "A: Failed: [Errno 111] Refused"
    assert reason(ValueError("x (Caused by B('too many 503'))")) == "B: too many 503"


def test_short_waits_restore_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(RETRIES, "5")
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_TIMEOUT", raising=False)
    before = dict(os.environ)

    def fail() -> None:
        with short_waits():
            raise KeyError(os.environ[RETRIES])

    with pytest.raises(KeyError, match="1"):
        fail()
    assert dict(os.environ) == before


def test_overlapping_short_waits_restore_the_environment_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(RETRIES, "5")
    entered, leave = threading.Event(), threading.Event()

    def other() -> None:
        with short_waits():
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    with short_waits():
        thread.start()
        assert entered.wait(10)
    assert os.environ[RETRIES] == "1"  # the thread is still inside
    leave.set()
    thread.join(10)
    assert os.environ[RETRIES] == "5"


def test_only_servers_are_asked_for_a_sign_of_life() -> None:
    check_answers("sqlite:////nowhere/mlflow.db")
    with pytest.raises(OSError, match="refused"):
        check_answers(f"http://127.0.0.1:{closed_port()}")


def test_a_silent_server_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlflow_access, "PROBE_SECONDS", 0.3)
    with listener() as server, pytest.raises(OSError, match="timed out"):
        check_answers(f"http://127.0.0.1:{server.getsockname()[1]}")


def test_an_unreachable_server_is_one_error_without_password_or_cause() -> None:
    start = time.monotonic()
    with (
        pytest.raises(StoreError, match=r"Connection refused.*Check the address") as caught,
        reaching(f"http://bob:secret@127.0.0.1:{closed_port()}/x", "a" * 32) as client,
    ):
        client.get_run("a" * 32)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.__suppress_context__
    assert time.monotonic() - start < 15


@pytest.mark.parametrize("uri", ["sqlite:///mlflow.db", "http://127.0.0.1:1"])
def test_gathered_answers_keep_their_order(uri: str) -> None:
    assert gather(uri, str, range(30)) == [str(number) for number in range(30)]
    with pytest.raises(ZeroDivisionError):
        gather(uri, lambda number: 1 // number, [1, 0])


def test_a_server_is_asked_several_things_at_once() -> None:
    both = threading.Barrier(2, timeout=10)
    assert len({*gather("http://127.0.0.1:1", lambda _: both.wait(), range(2))}) == 2


def test_reading_creates_no_database(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "mlflow.db"
    with (
        pytest.raises(StoreError, match="there is no MLflow database"),
        reaching(f"sqlite:///{path}"),
    ):
        pass
    assert not path.parent.exists()


def test_a_file_that_is_no_database_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    path.write_text("This is a note, and not a database.")
    start = time.monotonic()
    with pytest.raises(StoreError, match="no SQLite database"), reaching(f"sqlite:///{path}"):
        pass
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("uri", ["foo://bar", "sqlite:/x", "file:./mlruns"])
def test_an_address_mlflow_cannot_use_is_a_store_error(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoreError, match="cannot be read"), reaching(uri) as client:
        client.search_experiments()


def test_the_end_of_a_run_does_not_wait_for_a_server_as_long_as_mlflow_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # With its own patience, MLflow would try for some four minutes.
    monkeypatch.delenv(RETRIES, raising=False)
    run = MlflowRun(MlflowClient(f"http://user:planted@127.0.0.1:{closed_port()}"), "0" * 32)
    with pytest.raises(StoreError, match=f"was not told that run {'0' * 32} is FAILED") as caught:
        run.finish("FAILED")
    assert "refused" in str(caught.value)
    assert "planted" not in str(caught.value)
