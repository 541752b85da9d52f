"""Peers: what is a valid one, and what the tables hold."""

from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_node.database.engine import Database, open_database
from dicom_node.peers.peer import Peer, PeerError, UnknownPeer
from dicom_node.peers.registry import (
    accepted_calling_ae_titles,
    add_peer,
    destinations,
    export_peers,
    get_peer,
    list_peers,
    may_send,
    put_peer,
    remove_peer,
    seed_peers,
    set_enabled,
    sources,
    urgent_ae_titles,
)
from dicom_node.settings import config_folder
from dicom_node.web.peer_models import PeerModel, PeerSettings

PACS = Peer(name="PACS", ae_title="PACS", host="127.0.0.1", port=104, is_destination=True)
SCANNER = Peer(name="Scanner", ae_title="MR1")


def _problem_fields(**values: object) -> list[str]:
    with pytest.raises(PeerError) as caught:
        Peer(**{"name": "A", "ae_title": "A", **values})  # type: ignore[arg-type]
    return [problem.field for problem in caught.value.problems]


@pytest.mark.parametrize("title", ["", " ", "SEVENTEENLETTERS1", "A\\B", "A\tB", "Ä"])
def test_an_ae_title_that_dicom_does_not_allow_is_refused(title: str) -> None:
    assert _problem_fields(ae_title=title) == ["ae_title"]


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E, exclude_characters="\\"), min_size=1, max_size=16))
def test_every_ae_title_of_the_standard_is_kept_without_surrounding_spaces(title: str) -> None:
    if title.strip(" "):
        assert Peer(name="A", ae_title=title).ae_title == title.strip(" ")


@pytest.mark.parametrize("name", ["", "a/b", "x" * 65, "..", "a\nb"])
def test_a_name_that_no_link_can_carry_is_refused(name: str) -> None:
    assert _problem_fields(name=name) == ["name"]


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_a_host_needs_a_port(port: int) -> None:
    assert _problem_fields(host="pacs", port=port) == ["port"]


def test_a_port_needs_a_host() -> None:
    assert _problem_fields(port=104) == ["host"]


def test_a_host_has_no_spaces() -> None:
    assert _problem_fields(host="my pacs", port=104) == ["host"]


def test_a_destination_needs_an_address() -> None:
    assert _problem_fields(is_destination=True) == ["host"]


def test_every_problem_is_told_at_once() -> None:
    assert _problem_fields(name="", ae_title="", host="a b", port=0) == ["name", "ae_title", "host", "port"]


def test_peers_are_listed_by_name(database: Database) -> None:
    add_peer(database, SCANNER)
    add_peer(database, PACS)
    assert list_peers(database) == [PACS, SCANNER]


def test_a_name_is_given_once(database: Database) -> None:
    add_peer(database, PACS)
    with pytest.raises(PeerError, match="already"):
        add_peer(database, PACS)


def test_a_peer_can_be_put_again(database: Database) -> None:
    put_peer(database, SCANNER)
    moved = Peer(name="Scanner", ae_title="MR2")
    put_peer(database, moved)
    assert list_peers(database) == [moved]


def test_a_disabled_peer_may_not_send_and_receives_nothing(database: Database) -> None:
    add_peer(database, PACS)
    add_peer(database, SCANNER)
    assert accepted_calling_ae_titles(database) == {"PACS", "MR1"}
    assert destinations(database) == [PACS]
    set_enabled(database, "PACS", enabled=False)
    assert accepted_calling_ae_titles(database) == {"MR1"}
    assert destinations(database) == []
    set_enabled(database, "PACS", enabled=True)
    assert destinations(database) == [PACS]


def test_a_peer_that_only_receives_may_not_send(database: Database) -> None:
    add_peer(database, Peer(name="Viewer", ae_title="VIEWER", may_send=False))
    assert accepted_calling_ae_titles(database) == frozenset()


def test_a_peer_can_be_removed(database: Database) -> None:
    add_peer(database, PACS)
    remove_peer(database, "PACS")
    assert list_peers(database) == []


def test_an_unknown_peer_is_said_to_be_unknown(database: Database) -> None:
    with pytest.raises(PeerError, match="No peer is called 'Ghost'"):
        remove_peer(database, "Ghost")
    with pytest.raises(PeerError, match="No peer is called 'Ghost'"):
        set_enabled(database, "Ghost", enabled=False)


def test_the_shipped_example_seeds_an_empty_table_once(database: Database) -> None:
    example = config_folder() / "site.example.toml"
    assert seed_peers(database, example) == 3
    assert [peer.name for peer in destinations(database)] == ["PACS"]
    assert accepted_calling_ae_titles(database) == {"PACS", "MR1"}
    assert seed_peers(database, example) == 0


def test_what_is_exported_seeds_another_node(database: Database, tmp_path: Path) -> None:
    quoted = Peer(name="Odd", ae_title='A "B" ~')
    beyond = replace(PACS, name="Beyond", ae_title="BEYOND", dicomweb_url="https://pacs.example.org/\U0001f9e0")
    for peer in (PACS, SCANNER, quoted, beyond):
        add_peer(database, peer)
    exported = tmp_path / "site.toml"
    exported.write_text(export_peers(database), encoding="utf-8")
    other = open_database(f"sqlite:///{tmp_path / 'other.sqlite'}")
    seed_peers(other, exported)
    assert list_peers(other) == list_peers(database)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[[peer]]\nname = 'A'\n", "peer 1: ae_title must be given"),
        ("[[peer]]\nname = 'A'\nae_title = 'A'\nport = '104'\n", "port = '104', but must be of type int"),
        ("[[peer]]\nname = 'A'\nae_title = 'A'\ncolour = 'red'\n", "unknown key 'colour'"),
        ("[[peer]]\nname = 'A'\nae_title = 'A'\nhost = 'a'\n", "peer 1: A host needs its port"),
        ("[[peer]]\nname = 'A'\nae_title = 'A'\n" * 2, "two peers have the same name"),
        ("[node]\nfolder = 'x'\n", "only [[peer]] tables are allowed here, not node"),
        ("[peer]\nname = 'A'\n", "not this form"),
        ("peer = [1]\n", "peer 1: must be a table"),
        ("[[peer", "Site file"),
    ],
)
def test_a_site_file_that_cannot_be_used_says_why(database: Database, tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "site.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(PeerError) as caught:
        seed_peers(database, path)
    assert sentence in str(caught.value)
    assert list_peers(database) == []


def test_a_missing_site_file_is_said_to_be_missing(database: Database, tmp_path: Path) -> None:
    with pytest.raises(PeerError, match="No such file"):
        seed_peers(database, tmp_path / "none.toml")


def test_a_destination_that_is_asked_for_commitment_may_answer(database: Database) -> None:
    silent: dict[str, Any] = {"may_send": False, "is_destination": True}
    by_web: dict[str, Any] = {"dicomweb_url": "https://pacs.example.org/dicom-web", "send_by": "stow-rs"}
    add_peer(database, Peer(name="Auto", ae_title="AUTO", host="127.0.0.1", port=104, **silent))
    add_peer(database, Peer(name="Sure", ae_title="SURE", host="127.0.0.1", port=104, proof="commitment", **silent))
    add_peer(database, Peer(name="Query", ae_title="QUERY", host="127.0.0.1", port=104, proof="query", **silent))
    add_peer(database, Peer(name="Web", ae_title="WEB", **silent, **by_web))
    assert accepted_calling_ae_titles(database) == {"AUTO", "SURE"}


@pytest.mark.parametrize(
    ("origin", "address", "is_shown"),
    [
        ("https://pacs.example.org", "https://pacs.example.org:443/dicom-web", True),
        ("https://PACS.example.org:8443/", "https://pacs.example.org:8443/x", True),
        ("", "https://pacs.example.org/dicom-web", False),
        ("pacs.example.org", "https://pacs.example.org/dicom-web", False),
        ("https://pacs.example.org", "http://pacs.example.org/dicom-web", False),
        ("https://pacs.example.org", "https://pacs.example.org:8443/dicom-web", False),
        ("https://pacs.example.org", "https://pacs.example.org.evil.example/dicom-web", False),
        ("https://pacs.example.org:none", "https://pacs.example.org:none/dicom-web", False),
    ],
)
def test_a_secret_is_shown_to_its_own_origin_alone(
    monkeypatch: pytest.MonkeyPatch, origin: str, address: str, *, is_shown: bool
) -> None:
    monkeypatch.setenv("GLIONODE_DICOMWEB_AUTHORIZATION_MY_PACS", "Bearer secret")
    monkeypatch.setenv("GLIONODE_DICOMWEB_ORIGIN_MY_PACS", origin)
    peer = Peer(name="Web", ae_title="MY-PACS", dicomweb_url=address)
    assert peer.web_headers == ({"Authorization": "Bearer secret"} if is_shown else {})
    assert ("set GLIONODE_DICOMWEB_ORIGIN_MY_PACS to" in peer.withheld_secret) is not is_shown
    assert "secret" not in peer.withheld_secret


def test_a_peer_is_found_by_its_name_with_every_setting(database: Database) -> None:
    whole = Peer(
        name="Whole", ae_title=" WHOLE ", host=" pacs ", port=104, may_send=False, is_destination=True, is_urgent=True,
        is_source=True, dicomweb_url="https://pacs.example.org/web/", send_by="stow-rs", objects=" sr ,seg",
        transfer_syntax="deflated", seg_form="labelmap", seg_series=1, sr_series=2**31 - 1, proof="none", enabled=False,
    )  # fmt: skip
    add_peer(database, whole)
    assert get_peer(database, "Whole") == whole
    assert (whole.ae_title, whole.host, whole.dicomweb_url) == ("WHOLE", "pacs", "https://pacs.example.org/web")
    assert (whole.kinds, whole.profile.key) == (frozenset({"SEG", "SR"}), f"labelmap-1-{2**31 - 1}")
    with pytest.raises(UnknownPeer, match="No peer is called 'whole'"):
        get_peer(database, "whole")


def test_the_sender_of_a_study_is_the_first_source(database: Database) -> None:
    for name in ("A", "B", "C"):
        add_peer(database, Peer(name=name, ae_title=f"{name}{name}", host="h", port=104, is_source=True))
    add_peer(database, Peer(name="Off", ae_title="OFF", host="h", port=104, is_source=True, enabled=False))
    add_peer(database, SCANNER)
    asked = {title: [peer.name for peer in sources(database, title)] for title in ("", "BB", "OFF", "MR1")}
    assert asked == {"": ["A", "B", "C"], "BB": ["B", "A", "C"], "OFF": ["A", "B", "C"], "MR1": ["A", "B", "C"]}


def test_who_is_urgent_and_who_may_send_is_asked_by_ae_title(database: Database) -> None:
    add_peer(database, Peer(name="Emergency", ae_title="MR2", is_urgent=True))
    add_peer(database, Peer(name="Off", ae_title="OFF", is_urgent=True, enabled=False))
    add_peer(database, Peer(name="Deaf", ae_title="DEAF", may_send=False))
    add_peer(database, SCANNER)
    assert urgent_ae_titles(database) == {"MR2"}
    allowed = [title for title in ("MR1", "MR2", "OFF", "DEAF", "mr1", "MR1 ", "") if may_send(database, title)]
    assert allowed == ["MR1", "MR2"]


@pytest.mark.parametrize(
    ("values", "fields"),
    [
        ({"send_by": "stow-rs", "is_destination": True}, ["dicomweb_url"]),
        ({"is_source": True}, ["host"]),
        ({"is_source": True, "dicomweb_url": "https://pacs.example.org"}, []),
        ({"dicomweb_url": "ftp://pacs.example.org"}, ["dicomweb_url"]),
        ({"dicomweb_url": "https://user:secret@pacs.example.org"}, ["dicomweb_url"]),
        ({"dicomweb_url": "https://pacs.example.org/web?x=1"}, ["dicomweb_url"]),
        ({"host": "fe80::1%eth0", "port": 65535}, []),
        ({"objects": ""}, ["objects"]),
        ({"objects": "SEG,PDF"}, ["objects"]),
        ({"seg_series": 0, "sr_series": 2**31}, ["seg_series", "sr_series"]),
        ({"send_by": "ftp", "proof": "trust", "seg_form": ""}, ["send_by", "seg_form", "proof"]),
    ],
)
def test_the_settings_of_a_peer_are_checked_for_its_roles(values: dict[str, Any], fields: list[str]) -> None:
    if fields:
        assert _problem_fields(**values) == fields
    else:
        assert Peer(name="A", ae_title="A", **values)


def test_the_api_takes_what_a_peer_has_with_the_same_defaults() -> None:
    """Only the name, which the address states, and whether it is used have places of their own."""
    own = {one.name: one.default for one in fields(Peer) if one.name not in ("name", "enabled")}
    api = {name: one.default for name, one in PeerSettings.model_fields.items()}
    missing = {name for name, one in PeerSettings.model_fields.items() if one.is_required()}
    assert missing == {name for name, default in own.items() if default is MISSING} == {"ae_title"}
    assert {name: default for name, default in api.items() if name not in missing} == {
        name: default for name, default in own.items() if name not in missing
    }
    assert set(PeerModel.model_fields) == {one.name for one in fields(Peer)}
