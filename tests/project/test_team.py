"""The files for a team fit together; what they start is tried by hand, as docs/team.md says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "team"


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]
    return found


def test_every_image_is_named_with_its_version(services: dict[str, Any]) -> None:
    images = [service["image"] for service in services.values()]
    base = re.findall(r"^FROM (\S+)", (FOLDER / "Dockerfile").read_text(), re.MULTILINE)
    assert len(images) == 6
    assert all(re.search(r":(RELEASE\.)?\d", image) for image in images + base)


def test_every_variable_is_one_that_people_fill_in(services: dict[str, Any]) -> None:
    used = set(re.findall(r"\$\{(\w+)", (FOLDER / "compose.yaml").read_text()))
    given = set(re.findall(r"^(\w+)=", (FOLDER / "env.example").read_text(), re.MULTILINE))
    assert used == given


def test_only_the_proxy_is_reached_from_outside_and_finds_the_others(
    services: dict[str, Any],
) -> None:
    assert [name for name, service in services.items() if "ports" in service] == ["proxy"]
    proxied = re.findall(r"proxy_pass http://(\w+):(\d+)", (FOLDER / "nginx.conf").read_text())
    app = services["app"]["command"]
    assert dict(proxied) == {
        "mlflow": services["mlflow"]["environment"]["MLFLOW_PORT"],
        "app": app[app.index("--port") + 1],
    }


def test_every_service_that_another_waits_for_exists(services: dict[str, Any]) -> None:
    for service in services.values():
        assert {*service.get("depends_on", {})} <= {*services}
        for name, state in service.get("depends_on", {}).items():
            if state["condition"] == "service_healthy":
                assert "healthcheck" in services[name]


def test_no_secret_is_written_down(services: dict[str, Any]) -> None:
    for service in services.values():
        for name, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|ACCESS_KEY", name):
                assert value.startswith("${")
