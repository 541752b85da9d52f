"""What answers in the place of Orthanc's REST API and is none ends in one clear sentence."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dicom_node.database.engine import Database
from dicom_node.peers.orthanc import OrthancTarget, connect_orthanc, disconnect_orthanc
from dicom_node.settings import read_settings
from tests.support.web_source import WebSource, serving_web

SYSTEM = b'{"Version": "1.12.0", "DicomAet": "ORTHANC", "DicomPort": 4242}'


@pytest.fixture
def web() -> Iterator[WebSource]:
    with serving_web() as running:
        yield running


def _url(web: WebSource) -> str:
    return web.root.removesuffix("/dicom-web")


@pytest.mark.parametrize("body", [b"<html>", b"[" * 100_000, b"7", b"null", b'{"glionode": 1}', b'"glionode"'])
def test_modalities_that_are_no_list_are_said(database: Database, web: WebSource, body: bytes) -> None:
    web.answers("/system", [SYSTEM], "application/json")
    web.answers("/modalities", [body], "application/json")
    (check,) = disconnect_orthanc(OrthancTarget(url=_url(web)), database)
    assert (check.ok, check.detail) == (
        False,
        f"Something answers at {_url(web)}, but it is not Orthanc's REST API.",
    )


@pytest.mark.parametrize("body", [b"<html>", b"[" * 100_000, b"7", b"[]", SYSTEM.replace(b"4242", b"1e999")])
def test_a_system_that_is_none_is_said(database: Database, tmp_path: Path, web: WebSource, body: bytes) -> None:
    web.answers("/system", [body], "application/json")
    settings = read_settings(environment={"GLIONODE_NODE_FOLDER": str(tmp_path)})
    (check,) = connect_orthanc(OrthancTarget(url=_url(web)), settings, database)
    assert (check.ok, check.detail) == (
        False,
        f"Something answers at {_url(web)}, but it is not Orthanc's REST API.",
    )


@pytest.mark.parametrize("body", [b"[" * 100_000, b"[1]", b"{}"])
def test_a_refusal_in_strange_words_is_a_refusal(database: Database, web: WebSource, body: bytes) -> None:
    web.answers("/system", [body], "application/json", 500)
    (check,) = disconnect_orthanc(OrthancTarget(url=_url(web)), database)
    assert check.detail.startswith(f"Orthanc at {_url(web)} answered 500: {body[:20].decode()}")
