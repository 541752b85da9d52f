"""OHIF's configuration and links."""

import json
from typing import Any
from urllib.parse import parse_qs

from viewer_integration.largest_slice import LargestSlice
from viewer_integration.ohif import (
    CONTENT_SECURITY_POLICY,
    OHIF_INTEGRITY,
    DataSource,
    FirstView,
    app_config,
    first_view_path,
    open_link,
    study_link,
    with_notice,
)
from viewer_integration.side_by_side import Place, Reformat


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


def test_a_line_takes_the_place_of_tour_and_dialog() -> None:
    script = app_config(DataSource(title='Say "GlioNode"'))
    assert _settings(script)["investigationalUseDialog"] == {"option": "never"}
    assert _settings(script)["customizationService"] == {"ohif.tours": {"$set": []}}
    assert r'"Say \"GlioNode\""' in script
    page = with_notice("<body><div id='root'></div></body></html>")
    assert page.startswith("<body><div id='root'></div><style>")
    assert page.endswith(">Research use only. Not a medical device.</div>\n</body></html>")
    assert with_notice("no body").startswith("no body<style>")


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
    assert open_link("http://h:8041/", "a1b2") == "http://h:8041/open/a1b2"
    assert open_link("http://h:8041", "a1b2", to_correct=True) == "http://h:8041/correct/a1b2"


def test_a_study_is_corrected_in_the_mode_for_segmentations() -> None:
    view = FirstView(study_uid="1.2", reference="1.3")
    assert first_view_path(view, to_correct=True) == first_view_path(view).replace("/viewer?", "/segmentation?")


def _query(view: FirstView) -> dict[str, list[str]]:
    path, query = first_view_path(view).split("?")
    assert path == "/viewer"
    return parse_qs(query, strict_parsing=True)


def test_the_first_view_names_series_and_slice() -> None:
    at = LargestSlice(
        series_uid="1.3", sop_instance_uid="1.4", centre_mm=(-1.25, 2.0, 30.5), frame_of_reference_uid="1.5"
    )
    assert _query(FirstView(study_uid="1.2", reference="1.3", overlay="1.6", beside="1.7", at=at)) == {
        "StudyInstanceUIDs": ["1.2"],
        "hangingProtocolId": ["glionode"],
        "reference": ["1.3"],
        "overlay": ["1.6"],
        "beside": ["1.7"],
        "initialSOPInstanceUID": ["1.4"],
        "at": ["-1.250,2.000,30.500"],
        "frame": ["1.5"],
    }


def test_the_first_view_names_the_series_that_is_reformatted_and_the_plane() -> None:
    cut = Reformat(place=Place.BESIDE, row=(1.0, 0.0, 0.0), column=(0.0, 0.95, -0.3122499))
    query = _query(FirstView(study_uid="1.2", reference="1.3", beside="1.7", reformat=cut))
    assert query["reformat"] == ["beside"]
    assert query["plane"] == ["1.000000,0.000000,0.000000,0.000000,0.950000,-0.312250"]


def test_the_first_view_leaves_out_what_there_is_not() -> None:
    assert _query(FirstView(study_uid="1.2")) == {"StudyInstanceUIDs": ["1.2"]}
    expected = {"StudyInstanceUIDs": ["1.2"], "hangingProtocolId": ["glionode"], "reference": ["1.3"]}
    assert _query(FirstView(study_uid="1.2", reference="1.3")) == expected
