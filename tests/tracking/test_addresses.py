"""Addresses as people see them: nothing of what they hold in secret."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow import MlflowClient

from sing_monitor.commands.cli import main
from sing_monitor.findings import Findings
from sing_monitor.tracking import (
    DeliveryError,
    MlflowRun,
    RunNotFoundError,
    RunReader,
    RunWriter,
    StoreError,
    create_run,
    list_runs,
    open_store,
    redact,
    shown_address,
)
from tests.helpers.stores.servers import free_port


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://bob:secret@host:5000/x", "http://host:5000/x"),
        ("https://token@host/x", "https://host/x"),
        ("http://bob:pa ss@host/x#frag", "http://host/x"),
        ("http://bob:it's@host:5000/", "http://host:5000/"),
        ('http://bob:"quoted"@host', "http://host"),
        ("http://bob:1/2@host/x", "http://host/x"),
        ("http://bob:1?2@host/x", "http://host/x"),
        ("http://bob:p#q@host/x", "http://host/x"),
        ("http://host/a?mail=a@b", "http://host/a"),
        ("http://bob:secret", "http://bob"),
        ("http://[::1]:5000/x", "http://[::1]:5000/x"),
        ("postgresql+psycopg2://bob:s@cr/et@host/db?password=x", "postgresql+psycopg2://host/db"),
        ("file://u:p@/data", "file:///data"),
        ("file://u:p@host/data#x", "file://host/data"),
        ("file:///home/a@b/mlruns", "file:///home/a@b/mlruns"),
        ("file:./mlruns?x=y#z", "file:./mlruns"),
        ("sqlite+pysqlcipher://:p@/mlflow.db?cipher=aes", "sqlite+pysqlcipher:///mlflow.db"),
        ("sqlite+pysqlcipher://:pa ss'@//data/a@b.db", "sqlite+pysqlcipher:////data/a@b.db"),
        ("sqlite:///mlflow.db", "sqlite:///mlflow.db"),
        ("sqlite:////home/a@b#c/mlflow.db", "sqlite:////home/a@b#c/mlflow.db"),
        ("databricks", "databricks"),
        ("databricks://profile", "databricks://profile"),
        ("s3://bucket/a@b", "s3://bucket/a@b"),
        ("runs/a@b?c", "runs/a@b?c"),
        (r"C:\runs@home", r"C:\runs@home"),
    ],
)
def test_an_address_is_shown_without_what_is_secret(uri: str, shown: str) -> None:
    assert shown_address(uri) == shown
    assert open_store(uri).address == shown
    # As a word of a sentence whose author knows it.
    assert redact(f"no answer from '{uri}' now", uri) == f"no answer from '{shown}' now"


# Long enough not to stand in the rest of the address by chance.
PASSWORDS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), min_size=8)


@given(PASSWORDS)
@pytest.mark.parametrize("kind", ["http", "postgresql", "file", "mysql+pymysql"])
def test_no_password_is_shown(kind: str, password: str) -> None:
    uri = f"{kind}://bob:{password}@db.example/mlflow"
    assert shown_address(uri) == f"{kind}://db.example/mlflow"
    for text in (uri, f"{password} is wrong for {uri}", f"could not parse {uri!r}/api"):
        assert password not in redact(text, uri)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("cannot open 'http://bob:secret@host/a?t=secret' now", "cannot open 'http://host/a' now"),
        ("from http://bob:pa ss'@host/x: refused", "from http://host/x: refused"),
        ("see (http://host/a?b=c), and", "see (http://host/a), and"),
        ("at http://host:5000 it has /Users/a@b/e", "at http://host:5000 it has /Users/a@b/e"),
        ("sqlite:////home/a@b/mlflow.db is locked", "sqlite:////home/a@b/mlflow.db is locked"),
        ("Why? Because a=b", "Why? Because a=b"),
    ],
)
def test_addresses_in_a_text_are_found(text: str, clean: str) -> None:
    assert redact(text) == clean


SECRET = "hunter2 'and' more"


@pytest.mark.parametrize(
    "uri",
    [
        f"http://bob:{SECRET}@127.0.0.1:PORT",
        f"http://bob@127.0.0.1:PORT/?token={SECRET}#{SECRET}",
        f"file://bob:{SECRET}@/nowhere/runs",
        f"sqlite+pysqlcipher://:{SECRET}@/nowhere.db",
        f"unheard-of://bob:{SECRET}@host/x",
    ],
)
def test_a_planted_secret_is_in_no_error_log_or_spool(
    uri: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    uri = uri.replace("PORT", str(free_port()))
    said: list[str] = []
    caplog.set_level(logging.DEBUG, logger="sing_monitor")

    def attempt(kind: type[Exception], act: Callable[[], object]) -> None:
        with pytest.raises((kind, RunNotFoundError)) as caught:
            act()
        said.append(str(caught.value))

    attempt(StoreError, lambda: list_runs(uri))
    attempt(StoreError, lambda: RunReader(uri, "a" * 32).scalars())
    if uri.startswith("http"):
        attempt(StoreError, lambda: create_run(uri))
        writer = RunWriter(MlflowRun(MlflowClient(uri), "a" * 32), tmp_path / "spool")
        attempt(DeliveryError, lambda: writer.write(Findings({"sing/x": 1.0}), epoch=0, step=1))
        assert main(["sync", str(tmp_path / "spool")]) == 1
    printed = capfd.readouterr()
    kept = [path.read_text("utf-8") for path in tmp_path.rglob("*") if path.is_file()]
    # urllib3 names the query of a broken connection; no tracking server has one in its address.
    ours = [each.getMessage() for each in caplog.records if not each.name.startswith("urllib3")]
    for text in (*said, *ours, *kept, printed.out, open_store(uri).place):
        assert "hunter2" not in text
    assert all(said)
