"""Acceptances of other software, byte by byte as PS3.8 writes them, and what pynetdicom reads of them afterwards."""

import struct

import pytest
from pynetdicom.pdu import A_ASSOCIATE_AC
from pynetdicom.pdu_items import SCP_SCU_RoleSelectionSubItem, UserInformationItem

from tests.support.odd_scp import USER_ITEMS, item
from viewer_integration.transport.acceptance import ACCEPTED, as_pynetdicom_reads_it

MR = b"1.2.840.10008.5.1.4.1.1.4"
DICOM = b"1.2.840.10008.3.1.1.1"
IMPLICIT, EXPLICIT = b"1.2.840.10008.1.2", b"1.2.840.10008.1.2.1"


def _context(number: int, result: int, *syntaxes: bytes) -> bytes:
    """Return a presentation context of an A-ASSOCIATE-AC (PS3.8 table 9-18)."""
    return item(0x21, bytes([number, 0, result, 0]) + b"".join(item(0x40, syntax) for syntax in syntaxes))


def _acceptance(
    contexts: bytes = _context(1, 0, EXPLICIT), user: bytes = USER_ITEMS, titles: bytes = b"ODD".ljust(16) * 2
) -> bytes:
    """Return an A-ASSOCIATE-AC (PS3.8 table 9-17)."""
    items = item(0x10, DICOM) + contexts + item(0x50, user)
    return struct.pack(">BBIHH", 2, 0, 68 + len(items), 1, 0) + titles + bytes(32) + items


def _decoded(pdu: bytes) -> A_ASSOCIATE_AC:
    """Return what pynetdicom reads, once its length field was found to be right."""
    assert struct.unpack_from(">I", pdu, 2)[0] == len(pdu) - 6
    read = A_ASSOCIATE_AC()
    read.decode(pdu)
    return read


def _read(pdu: bytes) -> A_ASSOCIATE_AC:
    return _decoded(as_pynetdicom_reads_it(pdu))


def _contexts(read: A_ASSOCIATE_AC) -> list[tuple[int | None, int | None, str]]:
    return [(one.context_id, one.result, str(one.transfer_syntax)) for one in read.presentation_context]


def _user(read: A_ASSOCIATE_AC) -> UserInformationItem:
    assert read.user_information is not None
    return read.user_information


def _roles(user: bytes) -> list[tuple[str, int | None, int | None]]:
    found = _user(_read(_acceptance(user=user))).user_data
    return [(str(one.uid), one.scu, one.scp) for one in found if isinstance(one, SCP_SCU_RoleSelectionSubItem)]


def test_an_acceptance_to_the_letter_keeps_its_meaning() -> None:
    contexts = _context(1, 0, EXPLICIT) + _context(3, 3, IMPLICIT) + _context(5, 4, IMPLICIT)
    pdu = _acceptance(contexts, USER_ITEMS + item(0x55, b"ODD_1.0"))
    before, after = _decoded(pdu), _read(pdu)
    assert (
        _contexts(after)
        == _contexts(before)
        == [
            (1, 0, EXPLICIT.decode()),
            (3, 3, IMPLICIT.decode()),
            (5, 4, IMPLICIT.decode()),
        ]
    )
    assert (after.application_context_name, after.protocol_version) == (DICOM.decode(), 1)
    assert _user(after).maximum_length == 16384
    assert _user(after).implementation_class_uid == "1.2.3.4"
    assert _user(after).implementation_version_name == "ODD_1.0"


def test_what_was_rewritten_is_not_changed_again() -> None:
    once = as_pynetdicom_reads_it(_acceptance(_context(1, 0, EXPLICIT) + _context(3, 9), item(0x55, b"name" * 9)))
    assert as_pynetdicom_reads_it(once) == once
    assert once[0] == ACCEPTED == 2


@pytest.mark.parametrize("titles", [bytes(32), b"\xff" * 32, b" " * 32])
def test_titles_are_not_tested(titles: bytes) -> None:
    read = _read(_acceptance(titles=titles))
    assert (read.reserved_aet, read.reserved_aec) == ("ANY", "ANY")
    assert _contexts(read) == [(1, 0, EXPLICIT.decode())]


@pytest.mark.parametrize("syntax", [EXPLICIT + b"\0", EXPLICIT + b" ", b" " + EXPLICIT + b"\0\0"])
def test_padding_of_a_transfer_syntax_is_taken_away(syntax: bytes) -> None:
    assert _contexts(_read(_acceptance(_context(1, 0, syntax)))) == [(1, 0, EXPLICIT.decode())]


@pytest.mark.parametrize("syntax", [b"", b"\0", b"1..2", b"1.02", b"explicit", b"1." * 32 + b"1", b"1.2\n"])
def test_a_context_accepted_in_no_transfer_syntax_is_not_accepted(syntax: bytes) -> None:
    """Result 4: transfer syntaxes not supported (PS3.8 table 9-18)."""
    contexts = _context(1, 0, syntax) + _context(3, 0) + _context(5, 0, IMPLICIT)
    assert [(number, result) for number, result, _ in _contexts(_read(_acceptance(contexts)))] == [
        (1, 4),
        (3, 4),
        (5, 0),
    ]


def test_a_uid_may_have_64_characters() -> None:
    longest = b"1." * 31 + b"12"
    assert len(longest) == 64
    assert _contexts(_read(_acceptance(_context(1, 0, longest)))) == [(1, 0, longest.decode())]


@pytest.mark.parametrize(("result", "known"), [(1, 1), (2, 2), (3, 3), (4, 4), (5, 4), (255, 4)])
def test_a_result_that_the_standard_does_not_define_is_a_rejection(result: int, known: int) -> None:
    """The transfer syntax of a context that is not accepted "is not significant" (PS3.8 9.3.3.2)."""
    for syntax in (EXPLICIT, b"nonsense"):
        assert [one[:2] for one in _contexts(_read(_acceptance(_context(7, result, syntax))))] == [(7, known)]


def test_the_first_transfer_syntax_of_a_context_counts() -> None:
    read = _read(_acceptance(_context(1, 0, EXPLICIT, IMPLICIT)))
    assert _contexts(read) == [(1, 0, EXPLICIT.decode())]


def test_items_that_the_standard_does_not_define_are_left_out() -> None:
    contexts = item(0x77, b"what is this") + _context(1, 0, EXPLICIT) + item(0x20, b"\1\0\0\0")
    user = item(0x7E, b"odd") + USER_ITEMS + item(0x59, b"")
    read = _read(_acceptance(contexts, user))
    assert [kind.item_type for kind in read.variable_items] == [0x10, 0x21, 0x50]
    assert [one.item_type for one in _user(read).user_data] == [0x51, 0x52]


@pytest.mark.parametrize(
    ("value", "limit"),
    [
        (None, 0),
        (b"", 0),
        (b"\0\0\x40", 0),
        (b"\0\0\0\0", 0),
        (b"\0\0\0\7", 0),
        (b"\0\0\0\x08", 8),
        (b"\0\1\0\0", 65536),
        (b"\xff\xff\xff\xff", 2**32 - 1),
    ],
)
def test_a_maximum_length_that_is_none_means_no_limit(value: bytes | None, limit: int) -> None:
    """0 means no limit (PS3.8 D.1.1); a PDV needs six bytes of header and two of data."""
    user = (item(0x51, value) if value is not None else b"") + item(0x52, b"1.2.3.4")
    read = _read(_acceptance(user=user))
    assert _user(read).maximum_length == limit


def test_of_items_that_come_twice_the_first_counts() -> None:
    user = USER_ITEMS + item(0x51, struct.pack(">I", 99)) + item(0x52, b"9.9")
    read = _read(_acceptance(user=user))
    assert (_user(read).maximum_length, _user(read).implementation_class_uid) == (16384, "1.2.3.4")


def test_user_information_in_two_items_is_one() -> None:
    pdu = _acceptance(user=item(0x51, struct.pack(">I", 512)))
    pdu += item(0x50, item(0x52, b"1.2.3\0") + item(0x55, b"TWO"))
    read = _read(pdu)
    assert _user(read).maximum_length == 512
    assert _user(read).implementation_class_uid == "1.2.3"
    assert _user(read).implementation_version_name == "TWO"


@pytest.mark.parametrize(
    ("stated", "kept"),
    [
        (b"SIXTEEN_LETTERS_", "SIXTEEN_LETTERS_"),
        (b"MORE_THAN_SIXTEEN_LETTERS", "MORE_THAN_SIXTEE"),
        (b"  PADDED\0\0", "PADDED"),
        (b"BACK\\SLASH", "BACKSLASH"),
        (b"\xc3\x84RZTE", "RZTE"),
        (b"", None),
        (b" \0\n", None),
    ],
)
def test_a_version_name_is_cut_to_what_the_standard_allows(stated: bytes, kept: str | None) -> None:
    """1 to 16 characters of ISO 646 (PS3.7 D.3.3.2.4)."""
    read = _read(_acceptance(user=USER_ITEMS + item(0x55, stated)))
    assert _user(read).implementation_version_name == kept


@pytest.mark.parametrize("uid", [b"", b"\0", b"1.2.x", b"1.2.", b".1"])
def test_a_class_uid_that_is_none_is_left_out(uid: bytes) -> None:
    read = _read(_acceptance(user=item(0x52, uid) + item(0x55, b"NAME")))
    assert [one.item_type for one in _user(read).user_data] == [0x51, 0x55]


def test_every_role_selection_is_kept_with_its_roles() -> None:
    def role(uid: bytes, scu: int, scp: int) -> bytes:
        return item(0x54, struct.pack(">H", len(uid)) + uid + bytes([scu, scp]))

    user = USER_ITEMS + role(MR, 1, 0) + role(b"1.2.840.10008.1.20.1\0", 0, 1) + role(b"no uid", 1, 1)
    assert _roles(user) == [(MR.decode(), 1, 0), ("1.2.840.10008.1.20.1", 0, 1)]


@pytest.mark.parametrize("value", [b"\0\x05" + b"1.2.3", b"\0\x05" + b"1.2.3\1", b"\0\xff" + b"1.2.3\1\1"])
def test_a_role_selection_without_both_roles_is_left_out(value: bytes) -> None:
    assert _roles(USER_ITEMS + item(0x54, value)) == []


@pytest.mark.parametrize(
    "pdu",
    [
        _acceptance()[:-1],
        _acceptance() + b"\x50",
        _acceptance(user=USER_ITEMS + b"\x55\0\0\x09NAME"),
        _acceptance(item(0x21, b"\1\0")),
        _acceptance(item(0x21, b"\1\0\0\0" + b"\x40\0\0\x20" + EXPLICIT)),
    ],
    ids=["cut", "a byte more", "user item", "short context", "syntax"],
)
def test_lengths_that_do_not_add_up_are_left_as_they_are(pdu: bytes) -> None:
    assert as_pynetdicom_reads_it(pdu) == pdu


@pytest.mark.parametrize("length", [6, 40, 73])
def test_a_pdu_without_its_fixed_fields_is_left_as_it_is(length: int) -> None:
    short = _acceptance()[:length]
    assert as_pynetdicom_reads_it(short) == short
