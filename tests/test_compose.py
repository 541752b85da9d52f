"""The two-host layout: what `compose.yaml` calls and sets exists in the program. Docker itself is not run."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from dicom_node.cli.main import cli
from dicom_node.settings import read_settings

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]
    return found


def test_every_role_is_a_command_with_the_options_it_is_called_with(services: dict[str, Any]) -> None:
    commands = [service["command"] for service in services.values() if service["image"] == "glionode"]
    assert {command[0] for command in commands} == {"listen", "work", "web"}
    for role, *options in commands:
        told = CliRunner().invoke(cli, [role, "--help"]).output
        assert all(option in told for option in options if option.startswith("--"))


def test_every_setting_is_one_that_the_program_reads(services: dict[str, Any]) -> None:
    for service in services.values():
        if service["image"] == "glionode":
            settings = read_settings(environment=service["environment"])
            assert str(settings.node.folder) == "/data"
            assert settings.database_url.startswith("postgresql+psycopg://")
            known = {f"GLIONODE_{section}_{key}".upper() for section, keys in _defaults().items() for key in keys}
            assert set(service["environment"]) <= known


def test_two_hosts_share_one_folder_and_each_has_a_worker(services: dict[str, Any]) -> None:
    workers = {name: service for name, service in services.items() if service.get("command", [""])[0] == "work"}
    assert {profile for service in workers.values() for profile in service["profiles"]} == {"host-a", "host-b"}
    assert {volume for service in workers.values() for volume in service["volumes"]} == {"/srv/glionode:/data"}


def _defaults() -> dict[str, dict[str, Any]]:
    defaults: dict[str, dict[str, Any]] = tomllib.loads((ROOT / "config" / "default.toml").read_text(encoding="utf-8"))
    return defaults
