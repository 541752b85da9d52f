"""A certificate that expires soon is told on the page System, in the metrics and by `glionode check-config`."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from dicom_node.access.certificate import certificate_warning
from dicom_node.cli.main import cli
from dicom_node.database.engine import Database
from dicom_node.settings import Settings, read_settings
from dicom_node.web.app import panel_app
from tests.support.certificate import make_certificate
from tests.support.panel_client import log_in
from tests.support.viewer_port import served
from tests.support.waiting import ANSWER_S


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Make a certificate that expires in two days."""
    return make_certificate(tmp_path_factory.mktemp("certificate"))


def _settings(folder: Path, certificate: str = "", key: str = "") -> Settings:
    files = {"GLIONODE_WEB_CERTIFICATE": certificate, "GLIONODE_WEB_KEY": key}
    return read_settings(environment={"GLIONODE_NODE_FOLDER": str(folder), **files})


@pytest.mark.parametrize(
    ("days", "says"),
    [(0, "expires in 1 days"), (3, "has expired"), (-27, "expires in 28 days"), (-29, ""), (-40, "")],
)
def test_a_certificate_that_expires_soon_is_told(
    tmp_path: Path, certificate: tuple[str, str], days: int, says: str
) -> None:
    settings = _settings(tmp_path, *certificate)
    warning = certificate_warning(settings.web, datetime.now(UTC) + timedelta(days=days))
    assert (says in warning, bool(warning)) == (True, bool(says))
    assert certificate_warning(_settings(tmp_path).web) == ""
    assert certificate_warning(_settings(tmp_path, certificate[1], "x").web) == ""


def test_the_page_system_the_metrics_and_check_config_warn_of_it(
    database: Database, tmp_path: Path, certificate: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = _settings(tmp_path, *certificate)
    with served(panel_app(settings, database)) as url, httpx.Client(base_url=url, timeout=ANSWER_S) as client:
        log_in(client, database)
        assert "The certificate in web.certificate expires in 1 days" in client.get("/system").text
        metrics = client.get("/metrics").text
    (until,) = re.findall(r"^glionode_certificate_expiry_timestamp_seconds (\S+)$", metrics, re.MULTILINE)
    assert 86_400 < float(until) - datetime.now(UTC).timestamp() <= 2 * 86_400
    monkeypatch.setenv("GLIONODE_NODE_FOLDER", str(tmp_path))
    monkeypatch.setenv("GLIONODE_WEB_CERTIFICATE", certificate[0])
    monkeypatch.setenv("GLIONODE_WEB_KEY", certificate[1])
    assert "# The certificate in web.certificate expires" in CliRunner().invoke(cli, ["check-config"]).stdout
