"""WADO-RS from sources that are broken or hostile, over real sockets: what can be taken is, and the rest is named."""

import itertools
import json
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian

from dicom_node.database.engine import Database
from dicom_node.database.tables import InstanceRow
from dicom_node.peers.peer import Peer
from dicom_node.peers.query import QueryFailed
from dicom_node.peers.web_source import WebLimits
from dicom_node.reception import identity, intake
from dicom_node.retrieval import wado
from dicom_node.retrieval.fetch import Fetcher
from dicom_node.settings import Settings, read_settings
from tests.support.small_study import SLICES, make_small_study
from tests.support.web_source import BOUNDARY, WebSource, file_of, multipart, serving_web

_IMAGES = make_small_study("wanted", roles=["FLAIR"])
_STUDY = str(_IMAGES[0].StudyInstanceUID)
_FILES = [file_of(ds) for ds in _IMAGES]
_HASTY = WebLimits(first_s=20.0, whole_s=20.0, window_s=0.2, slowest_bytes_s=10_000.0)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return read_settings(environment={"GLIONODE_NODE_FOLDER": str(tmp_path)})


@pytest.fixture
def web() -> Iterator[WebSource]:
    with serving_web() as running:
        yield running


@pytest.fixture
def fetcher(database: Database, settings: Settings, web: WebSource) -> Fetcher:
    return Fetcher(settings, database, _peer(web.root), web_limits=_HASTY)


def _peer(root: str) -> Peer:
    return Peer(name="Web", ae_title="WEB", dicomweb_url=root, is_source=True)


def _held(database: Database) -> int:
    with database.session() as session:
        return session.scalar(sa.select(sa.func.count()).select_from(InstanceRow)) or 0


def test_a_study_is_fetched_part_by_part(fetcher: Fetcher, web: WebSource, database: Database, tmp_path: Path) -> None:
    web.answers(_STUDY, [b"A preamble for readers of mail.\r\n", *multipart(_FILES), b"and an epilogue"])
    (done,) = fetcher.fetch(_STUDY)
    assert (done.instances, done.failed, done.problems, done.complete) == (SLICES, 0, (), True)
    assert _held(database) == SLICES
    stored = {path.read_bytes() for path in (tmp_path / "inbox").rglob("*") if path.is_file()}
    assert stored == set(_FILES)


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_boundaries_may_lie_across_packets(fetcher: Fetcher, web: WebSource, size: int) -> None:
    message = b"".join(multipart(_FILES[:2]))
    pieces = [message[at : at + size] for at in range(0, len(message), size)] if size > 1 else [message]
    web.answers(_STUDY, pieces)
    (done,) = fetcher.fetch(_STUDY)
    assert (done.instances, done.complete) == (2, True)


def test_a_file_without_group_length_is_read(fetcher: Fetcher, web: WebSource, database: Database) -> None:
    without = _FILES[0][:132] + _FILES[0][144:]
    assert without[132:134] == b"\x02\x00"
    assert without[134:136] != b"\x00\x00"
    lying = _FILES[1][:140] + (7).to_bytes(4, "little") + _FILES[1][144:]
    web.answers(_STUDY, multipart([without, lying, *_FILES[2:]]))
    (done,) = fetcher.fetch(_STUDY)
    assert (done.instances, done.failed) == (SLICES, 0)
    with database.session() as session:
        found = session.scalars(sa.select(InstanceRow.sha256)).all()
    web.answers(_STUDY, multipart(_FILES))
    assert fetcher.fetch(_STUDY)[0].instances == SLICES
    with database.session() as session:  # the same data sets under other meta information are the same versions
        assert sorted(session.scalars(sa.select(InstanceRow.sha256))) == sorted(found)


def test_what_cannot_be_read_is_named_and_the_rest_kept(fetcher: Fetcher, web: WebSource, database: Database) -> None:
    cut = _FILES[3][:140]
    web.answers(_STUDY, multipart([_FILES[0], b"no DICOM", _FILES[1], cut, b"", *_FILES[2:]]))
    (done,) = fetcher.fetch(_STUDY)
    assert (done.instances, done.failed, done.complete) == (SLICES, 3, True)
    assert sorted(done.problems) == ["1 unreadable (part 2)", "1 unreadable (part 4)", "1 unreadable (part 5)"]
    assert _held(database) == SLICES
    assert "10 instances by WADO-RS, 3 failed (1 unreadable (part 2);" in done.sentence


def test_other_studies_than_asked_are_refused(fetcher: Fetcher, web: WebSource, database: Database) -> None:
    others = [file_of(ds) for ds in make_small_study("other", roles=["FLAIR"])]
    web.answers(_STUDY, multipart([*others[:3], *_FILES]))
    (done,) = fetcher.fetch(_STUDY)
    assert (done.instances, done.failed, done.problems) == (SLICES, 3, ("3 of another study",))
    assert _held(database) == SLICES
    web.answers(_STUDY, multipart(others))
    with pytest.raises(QueryFailed, match="Web sent nothing of the study; 10 of another study"):
        fetcher.fetch(_STUDY)


def test_what_came_before_an_answer_broke_off_is_kept(fetcher: Fetcher, web: WebSource, database: Database) -> None:
    web.answers(_STUDY, multipart(_FILES[:4], end=False))
    (done,) = fetcher.fetch(_STUDY)
    assert (done.instances, done.complete) == (3, False)  # whether the fourth is whole nobody knows
    assert done.problems == ("incomplete: the answer of Web ended before its last boundary",)
    web.answers(_STUDY, multipart(_FILES[:4], end=False), Content_Length="99999999")
    assert fetcher.fetch(_STUDY)[0].problems == (
        "incomplete: Web broke off its answer to WADO-RS (RemoteProtocolError)",
    )
    assert _held(database) == 3


def _drip(piece: bytes) -> Iterator[bytes]:
    for _ in range(1000):
        time.sleep(0.01)  # what a slow source does
        yield piece


def test_a_drip_is_not_waited_for(fetcher: Fetcher, web: WebSource) -> None:
    web.answers(_STUDY, itertools.chain(multipart(_FILES[:2], end=False), _drip(b"x")))
    (done,) = fetcher.fetch(_STUDY)
    assert (done.instances, done.complete) == (1, False)
    assert "too slowly" in done.problems[0]


@pytest.mark.parametrize("limits", [WebLimits(first_s=0.3), WebLimits(whole_s=0.3)])
def test_an_answer_has_to_come_to_an_end(
    settings: Settings, database: Database, web: WebSource, limits: WebLimits
) -> None:
    """Its headers drip, or its body does, each packet well before the time for one packet is over."""
    headers = limits.first_s < 1

    def reply(handler: object) -> None:
        send = handler.wfile.write  # type: ignore[attr-defined]
        kind = f"Content-Type: multipart/related; boundary={BOUNDARY}".encode()
        send(b"HTTP/1.1 200 OK\r\n" + (b"" if headers else kind + b"\r\nContent-Length: 99999999\r\n\r\n"))
        for piece in _drip(b"X: y\r\n"):
            send(piece)

    web.replies[_STUDY] = reply
    with pytest.raises(QueryFailed, match="Web did not finish its answer to WADO-RS in time"):
        Fetcher(settings, database, _peer(web.root), web_limits=limits).fetch(_STUDY)


@pytest.mark.parametrize(
    ("kind", "code", "headers", "sentence"),
    [
        ("text/html", 200, {}, "the WADO-RS answer of Web is not multipart/related with a boundary"),
        ("multipart/related", 200, {}, "is not multipart/related with a boundary"),
        ('multipart/related; boundary="' + "x" * 5000 + '"', 200, {}, "breaks the rules of multipart messages"),
        ("", 200, {"Content_Encoding": "gzip"}, "compressed its answer to WADO-RS although not asked to"),
        ("", 302, {"Location": "http://127.0.0.1:1/elsewhere"}, "answered 302 to WADO-RS: enter the address"),
        ("", 500, {}, "answered 500 to WADO-RS"),
        ("", 204, {}, "sent nothing of the study"),
    ],
)
def test_an_answer_that_is_none_is_refused_with_a_sentence(
    fetcher: Fetcher, web: WebSource, kind: str, code: int, headers: dict[str, str], sentence: str
) -> None:
    web.answers(_STUDY, [] if code == 204 else [zlib.compress(bytes(2**20))], kind, code, **headers)
    with pytest.raises(QueryFailed, match=sentence):
        fetcher.fetch(_STUDY)
    assert [headers["Accept-Encoding"] for _, headers in web.asked] == ["identity"]


@pytest.mark.parametrize(
    "body",
    [
        [b"no boundary at all" * 10_000],
        [f"--{BOUNDARY}\r\nX: ".encode(), b"y" * 10_000],
        [f"--{BOUNDARY}\r\n".encode(), b"X: y\r\n" * 100],
        [f"--{BOUNDARY}\r\nno header\r\n\r\n".encode()],
        [],
    ],
)
def test_what_breaks_the_rules_of_multipart_is_refused(fetcher: Fetcher, web: WebSource, body: list[bytes]) -> None:
    web.answers(_STUDY, body)
    with pytest.raises(QueryFailed, match=r"the answer of Web (breaks|ended|does not begin)"):
        fetcher.fetch(_STUDY)


def test_parts_of_other_kinds_are_counted(fetcher: Fetcher, web: WebSource) -> None:
    web.answers(_STUDY, multipart(_FILES, kind="application/octet-stream"))
    with pytest.raises(QueryFailed, match="sent nothing of the study; 10 not application/dicom"):
        fetcher.fetch(_STUDY)


def test_neither_parts_nor_their_sizes_are_without_end(
    fetcher: Fetcher, web: WebSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "MOST_INSTANCES", 15)
    web.answers(_STUDY, multipart(itertools.islice(itertools.cycle(_FILES), 10_000)))
    (done,) = fetcher.fetch(_STUDY)
    assert (done.instances, done.complete) == (SLICES, False)
    assert "the source sent more than" in done.problems[0]
    monkeypatch.setattr(wado, "LARGEST_PART_BYTES", 2**20)
    web.answers(_STUDY, multipart([_FILES[0], bytes(2**21)]))
    assert "sent a part of more than" in fetcher.fetch(_STUDY)[0].problems[0]


def test_a_deflated_bomb_is_unreadable(fetcher: Fetcher, web: WebSource, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "MAXIMUM_INFLATED_BYTES", 2**20)
    ds: Dataset = make_small_study("wanted", roles=["FLAIR"])[0]
    ds.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    ds.DataSetTrailingPadding = bytes(2**24)
    web.answers(_STUDY, multipart([file_of(ds), *_FILES[1:]]))
    (done,) = fetcher.fetch(_STUDY)
    assert (done.instances, done.problems) == (SLICES - 1, ("1 not accepted (unreadable_data_set)",))


def test_nothing_is_fetched_onto_a_full_disk(database: Database, tmp_path: Path, web: WebSource) -> None:
    environment = {"GLIONODE_NODE_FOLDER": str(tmp_path), "GLIONODE_LIMITS_FREE_DISK_GIB": "1e9"}
    web.answers(_STUDY, multipart(_FILES))
    with pytest.raises(QueryFailed, match=r"GiB are free and limits\.free_disk_gib is 1e\+09"):
        Fetcher(read_settings(environment=environment), database, _peer(web.root)).fetch(_STUDY)
    assert _held(database) == 0


def test_a_secret_is_not_shown_to_where_a_source_redirects(
    fetcher: Fetcher, web: WebSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLIONODE_DICOMWEB_AUTHORIZATION_WEB", "Bearer secret")
    monkeypatch.setenv("GLIONODE_DICOMWEB_ORIGIN_WEB", web.root)
    with serving_web() as elsewhere:
        web.answers(_STUDY, [], code=307, Location=f"{elsewhere.root}/studies/{_STUDY}")
        with pytest.raises(QueryFailed, match="answered 307"):
            fetcher.fetch(_STUDY)
        assert [headers["Authorization"] for _, headers in web.asked] == ["Bearer secret"]
        assert elsewhere.asked == []


def test_a_secret_without_its_origin_is_shown_to_nobody_and_that_is_said(
    fetcher: Fetcher, web: WebSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLIONODE_DICOMWEB_AUTHORIZATION_WEB", "Bearer secret")
    web.answers(_STUDY, [], code=401)
    with pytest.raises(QueryFailed, match=r"answered 401 to WADO-RS; its .* set GLIONODE_DICOMWEB_ORIGIN_WEB to"):
        fetcher.fetch(_STUDY)
    assert [headers.get("Authorization") for _, headers in web.asked] == [None]


@pytest.mark.parametrize("uid", ["../1.2.3", "1.2.3/../../x", "", "1.2.²", "1" * 70])
def test_only_a_uid_becomes_part_of_an_address(fetcher: Fetcher, web: WebSource, uid: str) -> None:
    with pytest.raises(QueryFailed, match="a Study Instance UID consists of numbers separated by dots"):
        fetcher.fetch(uid)
    assert web.asked == []


def test_a_study_of_json_is_no_study(fetcher: Fetcher, web: WebSource) -> None:
    web.answers(_STUDY, [json.dumps([]).encode()], "application/dicom+json")
    with pytest.raises(QueryFailed, match="is not multipart/related"):
        fetcher.fetch(_STUDY)
