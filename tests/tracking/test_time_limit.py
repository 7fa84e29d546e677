"""A server that answers a byte at a time keeps nobody waiting."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from sing_monitor.tracking import RunReader, StoreError, gather, list_runs, time_limit
from sing_monitor.tracking.mlflow_access import check_answers
from sing_monitor.tracking.time_limit import VARIABLE, server_seconds, within_limit


@pytest.fixture(autouse=True)
def short_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "0.5")
    monkeypatch.setattr(time_limit, "_unanswered", set())


class Slow:
    """A server that sends a byte every tenth of a second, for minutes."""

    def __init__(self) -> None:
        self.ended = threading.Event()
        self.whole = 0  # answers that were sent to their end
        self.asked: list[str] = []
        slow = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                slow.asked.append(self.path)
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", "5000")
                self.end_headers()
                for _ in range(5000):
                    if slow.ended.wait(0.1):
                        return
                    try:
                        self.wfile.write(b" ")
                        self.wfile.flush()
                    except OSError:
                        return
                slow.whole += 1

            do_POST = do_PUT = do_GET

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.uri = f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def slow() -> Iterator[Slow]:
    made = Slow()
    thread = threading.Thread(target=made.server.serve_forever, args=(0.05,))
    thread.start()
    yield made
    made.ended.set()
    made.server.shutdown()
    thread.join()
    made.server.server_close()


def test_no_question_waits_for_the_whole_answer(slow: Slow) -> None:
    reader = RunReader(slow.uri, "a" * 32)
    for read in (lambda: list_runs(slow.uri), reader.scalars, reader.validations, reader.config):
        said = rf"MLflow at {slow.uri} cannot be read: .*no whole answer within 0\.5 s.*{VARIABLE}"
        with pytest.raises(StoreError, match=said):
            read()
    assert slow.whole == 0
    assert len(slow.asked) == 4


def test_a_file_that_does_not_come_is_given_up(slow: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    from sing_monitor.tracking import mlflow_queries

    # Where they lie is known from earlier.
    monkeypatch.setattr(mlflow_queries, "_artifact_root", lambda uri, run_id: "mlflow-artifacts:/x")
    with pytest.raises(StoreError, match=r"no whole answer within 0\.5 s"):
        RunReader(slow.uri, "a" * 32).table("classes", 0, 1)
    assert slow.whole == 0
    assert len(slow.asked) == 1
    assert "/mlflow-artifacts/" in slow.asked[0]


def test_a_server_that_leaves_many_waiting_is_not_asked_further(slow: Slow) -> None:
    def ask(_: int) -> str:
        try:
            RunReader(slow.uri, "a" * 32).scalars()
        except StoreError as error:
            return str(error)
        return ""

    said = gather(slow.uri, ask, range(24))
    assert sum("no whole answer within" in each for each in said) >= 8
    assert sum("gets no further one" in each for each in said) >= 8
    assert len(slow.asked) <= 16
    # Once it has answered, it is asked again.
    slow.ended.set()
    for thread in time_limit._unanswered:
        thread.join(30)
    assert within_limit(lambda: 3) == 3


def test_a_sign_of_life_is_whole(slow: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    from sing_monitor.tracking import mlflow_access

    monkeypatch.setattr(mlflow_access, "PROBE_SECONDS", 0.5)
    check_answers(slow.uri)  # its head is enough
    assert slow.whole == 0


def test_what_arrives_prolongs_the_limit_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time_limit, "_BYTES_PER_SECOND", 100)
    monkeypatch.setattr(time_limit, "_LOOK_SECONDS", 0.05)

    def copy(size: int) -> str:
        with (tmp_path / "file").open("wb") as file:
            for _ in range(10):
                time.sleep(0.1)
                file.write(bytes(size))
                file.flush()
        return "whole"

    with pytest.raises(TimeoutError):
        within_limit(lambda: copy(1), into=tmp_path)
    assert within_limit(lambda: copy(1000), into=tmp_path) == "whole"


def test_answers_and_errors_are_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    assert within_limit(lambda: "answer") == "answer"
    with pytest.raises(KeyError, match="x"):
        within_limit(lambda: {}["x"])
    for text, seconds in (("2.5", 2.5), ("", 30.0), ("soon", 30.0), ("0", 30.0), ("-1", 30.0)):
        monkeypatch.setenv(VARIABLE, text)
        assert server_seconds() == seconds
    for text in ("inf", "1e12"):
        monkeypatch.setenv(VARIABLE, text)
        assert within_limit(lambda: time.sleep(0.1) or "late") == "late"


def test_where_no_thread_starts_any_more_the_question_is_asked_without_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As at the end of the interpreter, from Python 3.12 on."""

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert within_limit(lambda: "answer") == "answer"
