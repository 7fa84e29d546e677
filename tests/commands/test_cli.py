"""The console command: its help, what it says without Streamlit, and a real start."""

from __future__ import annotations

import os
import runpy
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from sing_monitor.commands.cli import main
from tests.helpers.stores.servers import free_port, wait_for

_RUN = "import sys; from sing_monitor.commands.cli import main; sys.exit(main(sys.argv[1:]))"
_BLOCKED = f"import sys; sys.modules['streamlit'] = None; {_RUN.removeprefix('import sys; ')}"


def help_of(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--help"])
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_the_help_is_a_page_one_can_read(capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of([], capsys)
    assert "sing-monitor app" in text
    assert "open the app" in text
    assert max(map(len, text.splitlines())) <= 100


def test_the_help_of_the_app_names_every_option_and_default(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = help_of(["app"], capsys)
    given = ("--checkpoint", "--model", "--timm", "--data", "--transform", "--space")
    store = ("--tracking-uri", "--port", "--host", "127.0.0.1", "8501", "sqlite:///mlflow.db")
    for said in store + given:
        assert said in text
    assert "MLFLOW_TRACKING_URI" in text
    assert max(map(len, text.splitlines())) <= 100


def test_the_help_of_sync_says_what_the_exit_code_means(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = help_of(["sync"], capsys)
    for said in ("--tracking-uri", "FOLDER", ".sing_spool", "exit code"):
        assert said in text
    assert max(map(len, text.splitlines())) <= 100


def test_without_a_command_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "usage: sing-monitor" in capsys.readouterr().out


def test_python_runs_the_package_as_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["sing_monitor", *arguments])
        with pytest.raises(SystemExit) as ended:
            runpy.run_module("sing_monitor", run_name="__main__", alter_sys=True)
        assert ended.value.code == 0
        return capsys.readouterr().out

    assert said("--help").startswith("usage: python -m sing_monitor [-h]")
    assert said("sync", "--help").startswith("usage: python -m sing_monitor sync [-h]")
    assert said("--version") == f"{version('sing-monitor')}\n"
    command = [sys.executable, "-m", "sing_monitor", "sync", "nowhere"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (1, "There is no folder nowhere.\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["app", "--port", "0"], "from 1 to 65535"),
        (["app", "--port", "65536"], "from 1 to 65535"),
        (["app", "--port", "web"], "from 1 to 65535"),
        (["app", "--tracking-uri", " "], "is empty"),
        (["apps"], "invalid choice"),
        (["app", "--tracking", "sqlite:///a.db"], "unrecognized arguments"),
    ],
)
def test_wrong_arguments_end_with_two_and_a_sentence(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_the_app_does_not_start_without_the_model_that_it_was_given(
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("streamlit")
    assert main(["app", "--checkpoint", "nowhere.ckpt"]) == 1
    assert "there is no such file" in capsys.readouterr().err
    assert main(["app", "--timm", "resnet18"]) == 1
    assert "give --checkpoint" in capsys.readouterr().err


def test_without_streamlit_one_sentence_says_what_to_install() -> None:
    uri = "http://bob:hunter2@127.0.0.1:1"
    command = [sys.executable, "-c", _BLOCKED, "app", "--tracking-uri", uri]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert done.stderr == 'The app needs Streamlit: pip install "sing-monitor[app]"\n'
    assert done.stdout == ""


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is another signal there")
def test_the_app_starts_and_ends_quietly_with_ctrl_c(tmp_path: Path) -> None:
    pytest.importorskip("streamlit")
    port = free_port()
    uri = "http://bob:hunter2@127.0.0.1:1"
    command = [sys.executable, "-c", _RUN, "app", "--port", str(port), "--host", "127.0.0.1"]
    command += ["--tracking-uri", uri]
    log = tmp_path / "log"
    # Streamlit opens no browser where it finds none to open.
    environment = {**os.environ, "STREAMLIT_SERVER_HEADLESS": "true"}
    with (
        log.open("wb") as out,
        subprocess.Popen(
            command, stdout=out, stderr=out, cwd=tmp_path, env=environment, process_group=0
        ) as process,
    ):
        try:
            wait_for(f"http://127.0.0.1:{port}/_stcore/health", process, log)
            # As a terminal does: to the command and to what it started.
            os.killpg(process.pid, signal.SIGINT)
            assert process.wait(timeout=30) == 0
        finally:
            process.kill()
    said = log.read_text()
    assert "Traceback" not in said
    assert "hunter2" not in said
    with pytest.raises(URLError):
        urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=5)
