"""What the Conformance Statement says is true: of a real listener, of real objects, and of the configuration now."""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner
from pydicom.uid import MPEG2MPML, MPEG4HP41, ExplicitVRLittleEndian
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import ModalityWorklistInformationFind  # type: ignore[attr-defined]

from dicom_node.cli.main import cli
from dicom_node.conformance.dicomweb_services import ENDPOINTS, STORE_ENDPOINTS
from dicom_node.conformance.document import Document, Table
from dicom_node.conformance.facts import read_facts
from dicom_node.conformance.html import as_html
from dicom_node.conformance.network import ACCEPTED_CONTEXTS, ACCEPTED_SYNTAXES
from dicom_node.conformance.pdf import as_pdf
from dicom_node.conformance.statement import as_json, statement
from dicom_node.database.engine import Database
from dicom_node.peers.peer import Peer
from dicom_node.peers.registry import put_peer, set_enabled
from dicom_node.reception.acceptor.line import MAXIMUM_PDU_BYTES
from dicom_node.reception.contract import ACCEPTED_TRANSFER_SYNTAXES
from dicom_node.reception.listener import Listener
from dicom_node.settings import Settings, read_settings
from dicom_node.studies.holdings import Holdings
from dicom_node.web.dicomweb_origin import DicomwebOrigin
from dicom_node.web.stow import store_routes
from tests.support.created_attributes import PLACE, created_objects
from tests.support.pacs import OpenSockets, instance_of, store
from tests.support.panel_client import logged_in
from tests.support.small_study import make_small_study
from tests.support.viewer_port import node_services

COMMITMENT = "1.2.840.10008.1.20.1"


@pytest.fixture
def settings(folder: Path) -> Settings:
    return read_settings(environment={"GLIONODE_NODE_FOLDER": str(folder), "GLIONODE_NODE_DICOM_PORT": "0"})


@pytest.fixture
def document(settings: Settings, database: Database) -> Document:
    return statement(read_facts(settings, database))


@pytest.fixture
def listener(settings: Settings, database: Database) -> Iterator[Listener]:
    put_peer(database, Peer(name="Sender", ae_title="SENDER"))
    running = Listener(settings, database)
    running.start()
    yield running
    running.stop()


def _stated(document: Document) -> set[tuple[str, str]]:
    """Return every accepted SOP class with each accepted transfer syntax, as the tables state them."""
    storage = [row[1] for row in document.table(ACCEPTED_SYNTAXES).rows]
    found = set()
    for _, uid, syntaxes, _ in document.table(ACCEPTED_CONTEXTS).rows:
        named = storage if syntaxes == "Table 7-4" else syntaxes.split(", ")
        found |= {(uid, syntax) for syntax in named}
    return found


def _accepted(port: int, pairs: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
    """Propose each pair in a presentation context of its own; return those that are accepted."""
    entity, sockets = AE(ae_title="SENDER"), OpenSockets()
    for sop_class, syntax in pairs:
        entity.add_requested_context(sop_class, syntax)
    roles = [build_role(COMMITMENT, scu_role=False, scp_role=True)] if any(p[0] == COMMITMENT for p in pairs) else []
    assoc = entity.associate(
        "127.0.0.1", port, ae_title="GLIONODE", ext_neg=roles, evt_handlers=[(evt.EVT_CONN_OPEN, sockets.handler[1])]
    )
    found = {(str(one.abstract_syntax), str(one.transfer_syntax[0])) for one in assoc.accepted_contexts}
    if assoc.is_established:
        assoc.release()
    sockets.close()
    return found


def test_a_listener_accepts_exactly_what_is_stated(listener: Listener, document: Document) -> None:
    """For each SOP class and transfer syntax, over real associations; and of two others nothing."""
    stated = _stated(document)
    assert len(stated) > 170 * 16
    foreign = (str(MPEG2MPML), str(MPEG4HP41))
    classes = {sop_class for sop_class, _ in stated}
    proposed = sorted(stated | {(sop_class, syntax) for sop_class in classes for syntax in foreign})
    proposed += [(str(ModalityWorklistInformationFind), str(ExplicitVRLittleEndian))]
    accepted: set[tuple[str, str]] = set()
    for begin in range(0, len(proposed), 128):
        accepted |= _accepted(listener.port, proposed[begin : begin + 128])
    assert accepted == stated


def test_the_order_of_preference_is_stated(document: Document) -> None:
    rows = document.table(ACCEPTED_SYNTAXES).rows
    assert [uid for _, uid in rows] == [str(uid) for uid in ACCEPTED_TRANSFER_SYNTAXES]


def test_the_association_says_what_is_stated_of_the_implementation(listener: Listener, document: Document) -> None:
    entity, sockets = AE(ae_title="SENDER"), OpenSockets()
    entity.add_requested_context("1.2.840.10008.1.1")
    handlers = [(evt.EVT_CONN_OPEN, sockets.handler[1])]
    assoc = entity.associate("127.0.0.1", listener.port, ae_title="GLIONODE", evt_handlers=handlers)
    general = dict(document.table("Table 7-1. General").rows)
    assert str(assoc.acceptor.implementation_class_uid) == general["Implementation class UID"]
    assert assoc.acceptor.implementation_version_name == general["Implementation version name"]
    announced = f"{assoc.acceptor.maximum_length} bytes"
    assert announced == general["Maximum PDU size announced as acceptor"] == f"{MAXIMUM_PDU_BYTES} bytes"
    assoc.release()
    sockets.close()


def test_status_codes_are_those_of_the_listener(listener: Listener, document: Document, database: Database) -> None:
    stated = {row[0] for row in document.table("Table 5-1. Status codes of Storage SCP").rows}
    image = make_small_study("status")[0]
    broken = instance_of(image)
    other = make_small_study("other")[0]
    mismatch = instance_of(other)
    answers = store([broken], listener.port)
    answers += store([type(mismatch)(**{**vars(mismatch), "sop_instance_uid": "1.2.3"})], listener.port)
    answers += store([type(mismatch)(**{**vars(mismatch), "data_set": b"no data set at all"})], listener.port)
    assert answers == [0x0000, 0xA900, 0xC000]
    assert {f"0x{answer or 0:04X}" for answer in answers} <= stated
    assert database


@pytest.mark.parametrize(("called", "calling"), [("OTHER", "SENDER"), ("GLIONODE", "STRANGER")])
def test_rejections_are_those_that_are_stated(
    listener: Listener, document: Document, called: str, calling: str
) -> None:
    rows = {tuple(int(cell.split()[0]) for cell in row[:3]) for row in document.table(_REJECTIONS).rows}
    entity, sockets = AE(ae_title=calling), OpenSockets()
    entity.add_requested_context("1.2.840.10008.1.1")
    answers = []
    handlers = [(evt.EVT_CONN_OPEN, sockets.handler[1]), (evt.EVT_PDU_RECV, lambda event: answers.append(event.pdu))]
    assert entity.associate("127.0.0.1", listener.port, ae_title=called, evt_handlers=handlers).is_rejected
    sockets.close()
    assert {(one.result, one.source, one.reason_diagnostic) for one in answers} <= rows


_REJECTIONS = "Table 7-2. Rejections (A-ASSOCIATE-RJ)"


def test_the_dicomweb_addresses_are_the_routes_of_the_viewer(database: Database, folder: Path) -> None:
    routes = {route.path for route in DicomwebOrigin(Holdings(database, folder)).routes()}
    assert {address for address, _, _ in ENDPOINTS} == routes
    storing = store_routes(node_services(database, folder).corrections)
    assert {address for address, _, _ in STORE_ENDPOINTS} == {route.path for route in storing}


def test_the_attributes_are_those_that_are_encoded() -> None:
    """Write them anew by ``python -m tests.support.created_attributes`` where the encoders changed."""
    assert json.loads(PLACE.read_text("utf-8")) == created_objects()


def test_a_changed_setting_or_peer_shows_at_once(database: Database, folder: Path) -> None:
    variables = {"GLIONODE_NODE_FOLDER": str(folder), "GLIONODE_NODE_AE_TITLE": "NEUROAI"}
    variables |= {"GLIONODE_NODE_DICOM_PORT": "10404", "GLIONODE_LISTENER_DIMSE_TIMEOUT_S": "77"}
    changed = read_settings(environment=variables)
    before = as_json(statement(read_facts(changed, database)))
    assert '"NEUROAI"' in before
    assert '"10404"' in before
    assert '"77 s"' in before
    assert "ARCHIVE" not in before
    put_peer(database, Peer(name="PACS", ae_title="ARCHIVE", host="10.1.2.3", port=104, is_destination=True))
    document = statement(read_facts(changed, database))
    remote = document.table("Table 6-2. Remote application entities").rows
    assert remote == (("PACS", "ARCHIVE", "10.1.2.3:104", "sends images, receives results"),)
    assert document.table("Table 5-3. What each destination gets").rows[0][0] == "PACS"
    set_enabled(database, "PACS", enabled=False)
    document = statement(read_facts(changed, database))
    assert document.table("Table 6-2. Remote application entities").rows[0][3] == "disabled"
    assert document.table("Table 5-3. What each destination gets").rows[0][0] == "no destination is configured"


def test_the_sections_are_those_of_the_template(document: Document) -> None:
    """PS3.2 Annex N; section 2 is the table of contents."""
    assert [(one.number, one.title) for one in document.sections] == [
        ("1", "Overview"),
        ("3", "Introduction"),
        ("4", "Implementation model"),
        ("5", "Service and interoperability description"),
        ("6", "Configuration"),
        ("7", "Network and media communication details"),
        ("8", "Security"),
        ("A.A", "Created objects"),
        ("A.B", "Structured report content"),
        ("A.C", "Security details"),
        ("A.D", "Mapping of attributes"),
        ("A.E", "Code set usage"),
    ]
    numbers = [section.number for _, section in document.walk()]
    assert len(numbers) == len(set(numbers))
    titles = [block.title for _, one in document.walk() for block in one.blocks if isinstance(block, Table)]
    assert len(titles) == len(set(titles))


def test_every_form_says_the_same(document: Document) -> None:
    page = as_html(document)
    for _, section in document.walk():
        assert f'id="{section.anchor}"' in page
    assert "<script" not in page
    pdf = as_pdf(document)
    assert pdf.startswith(b"%PDF-")
    assert len(re.findall(rb"/Type /Page\b", pdf)) > 20
    assert json.loads(as_json(document))["title"] == "DICOM Conformance Statement"


def test_names_of_peers_cannot_break_a_form(database: Database, settings: Settings) -> None:
    put_peer(database, Peer(name="PACS", ae_title="<b>&A", host="10.1.2.3", port=104, is_destination=True))
    document = statement(read_facts(settings, database))
    assert "&lt;b&gt;&amp;A" in as_html(document)
    assert as_pdf(document).startswith(b"%PDF-")


def test_the_panel_shows_it_for_the_configuration_of_the_moment(database: Database, folder: Path) -> None:
    with logged_in(database, folder) as client:
        page = client.get("/system/conformance")
        assert page.raise_for_status().text.count("ARCHIVE") == 0
        put_peer(database, Peer(name="PACS", ae_title="ARCHIVE", host="10.1.2.3", port=104))
        assert "ARCHIVE" in client.get("/system/conformance").text
        pdf = client.get("/system/conformance.pdf").raise_for_status()
        assert (pdf.headers["Content-Type"], pdf.content[:5]) == ("application/pdf", b"%PDF-")
        assert "attachment" in pdf.headers["Content-Disposition"]
        stated = client.get("/system/conformance.json").raise_for_status().json()
        assert "ARCHIVE" in json.dumps(stated)
        assert 'style="' not in page.text
        client.post("/logout")
        assert httpx.URL(client.get("/system/conformance").headers["Location"]).path == "/login"


@pytest.mark.parametrize(("form", "begin"), [("html", b"<!doctype html>"), ("pdf", b"%PDF-"), ("json", b"{")])
def test_the_command_writes_each_form(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, begin: bytes
) -> None:
    monkeypatch.setenv("GLIONODE_NODE_FOLDER", str(folder))
    out = tmp_path / "statement"
    written = CliRunner().invoke(cli, ["conformance", "--format", form, "--out", str(out)], prog_name="glionode")
    assert (written.exit_code, written.output) == (0, "")
    assert out.read_bytes().startswith(begin)
    printed = CliRunner().invoke(cli, ["conformance", "--format", form], prog_name="glionode")
    assert printed.stdout_bytes.startswith(begin)
