"""OHIF's configuration and links."""

import json
from typing import Any

from viewer_integration.ohif import CONTENT_SECURITY_POLICY, OHIF_INTEGRITY, DataSource, app_config, study_link


def _settings(script: str) -> dict[str, Any]:
    text = script.removeprefix("window.config = ")
    found, _ = json.JSONDecoder().raw_decode(text)
    assert isinstance(found, dict)
    return found


def test_the_configuration_names_one_data_source_that_can_only_be_read() -> None:
    settings = _settings(app_config(DataSource()))
    (source,) = settings["dataSources"]
    configuration = source["configuration"]
    assert settings["defaultDataSourceName"] == source["sourceName"] == "glionode"
    assert (configuration["qidoRoot"], configuration["wadoRoot"]) == ("/dicom-web", "/dicom-web")
    assert configuration["wadoUriRoot"] == "/wado"
    assert not any(configuration[key] for key in ("supportsStow", "supportsReject", "dicomUploadEnabled"))
    assert configuration["loadMultiframeAsPart10"] is False


def test_both_notices_stay() -> None:
    script = app_config(DataSource(title='Say "GlioNode"'))
    assert _settings(script)["investigationalUseDialog"] == {"option": "always"}
    assert '"Research use only, not a medical device"' in script
    assert r'"Say \"GlioNode\""' in script


def test_roots_may_lie_elsewhere() -> None:
    source = DataSource(name="pacs", dicomweb_root="https://pacs/dicom-web", wado_root="https://pacs/wado")
    assert '"wadoRoot": "https://pacs/dicom-web"' in app_config(source)


def test_no_other_host_is_allowed_by_the_policy() -> None:
    assert "http" not in CONTENT_SECURITY_POLICY
    assert "default-src 'self'" in CONTENT_SECURITY_POLICY
    assert "object-src 'none'" in CONTENT_SECURITY_POLICY


def test_the_package_is_pinned_by_its_integrity() -> None:
    assert OHIF_INTEGRITY.startswith("sha512-")


def test_links_open_a_study_with_or_without_its_overlay() -> None:
    assert study_link("http://h:8041/", "1.2") == "http://h:8041/viewer?StudyInstanceUIDs=1.2"
    expected = "http://h:8041/viewer?StudyInstanceUIDs=1.2&initialSeriesInstanceUID=1.3"
    assert study_link("http://h:8041", "1.2", "1.3") == expected
