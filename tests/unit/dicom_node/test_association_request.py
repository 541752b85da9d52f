"""Requests for association, byte by byte: what is written anew is what pynetdicom reads, whatever came."""

import random
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pynetdicom.pdu import A_ASSOCIATE_RQ

from dicom_node.reception.acceptor.association_request import BLANK_TITLE, BadRequest, mend_request
from tests.support.pdu_fuzz import spoilt
from tests.support.raw_request import EXPLICIT, MR, associate_request, context_item, item, user_item

NAME, CONTEXT, USER = item(0x10, b"1.2.840.10008.3.1.1.1"), context_item(), user_item()


def _read(pdu: bytes) -> A_ASSOCIATE_RQ:
    read = A_ASSOCIATE_RQ()
    read.decode(pdu)
    read.to_primitive()
    return read


def test_what_is_right_stays_as_it_is() -> None:
    assert mend_request(associate_request()) == associate_request()


def test_what_fills_up_is_taken_away() -> None:
    context = context_item(1, [MR + b"\0"], [EXPLICIT + b" ", EXPLICIT])
    user = user_item(item(0x5F, b"?"), version=b"A VERY LONG VERSION NAME")
    read = _read(mend_request(associate_request(b"SENDER".ljust(16, b"\0"), items=[NAME, context, user])))
    (proposed,) = read.presentation_context
    assert (proposed.abstract_syntax, proposed.transfer_syntax) == (MR.decode(), [EXPLICIT.decode()])
    assert read.calling_ae_title == "SENDER"
    assert read.user_information is not None
    assert read.user_information.implementation_version_name == "A VERY LONG VERS"


def test_a_context_of_what_is_no_uid_is_answered_and_not_left_out() -> None:
    contexts = context_item(1, [b"1." * 40], [EXPLICIT]) + context_item(3, [MR], [b"no UID"])
    read = _read(mend_request(associate_request(items=[NAME, contexts, user_item()])))
    assert [context.context_id for context in read.presentation_context] == [1, 3]


@pytest.mark.parametrize("field", [b" " * 16, b"\0" * 16, b"\0NAME".ljust(16)])
def test_a_title_of_nothing_has_a_name(field: bytes) -> None:
    assert _read(mend_request(associate_request(called=field))).called_ae_title == BLANK_TITLE


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")  # a warning is an event in the node
@given(st.integers(0, 2**32), st.integers(1, 4))
@example(2072, 1)
def test_damage_is_refused_by_name_or_read_by_pynetdicom(seed: int, times: int) -> None:
    rng, pdu = random.Random(seed), associate_request()  # noqa: S311 - repeatable on purpose
    for _ in range(times):
        pdu = spoilt(rng, pdu)
    assert _is_refused_by_name_or_read(pdu)


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")  # a warning is an event in the node
@given(st.binary(max_size=300))
def test_noise_is_refused_by_name_or_read_by_pynetdicom(noise: bytes) -> None:
    assert _is_refused_by_name_or_read(noise)
    assert _is_refused_by_name_or_read(associate_request(items=[NAME, context_item(), item(0x50, noise)]))
    assert _is_refused_by_name_or_read(associate_request(items=[NAME, context_item(rest=noise), user_item()]))
    assert _is_refused_by_name_or_read(associate_request(noise[:16].ljust(16), noise[16:32].ljust(16)))


def _is_refused_by_name_or_read(pdu: bytes) -> bool:
    """Tell whether a request is refused in printable words, or mended to what pynetdicom reads and writes the same."""
    try:
        mended = mend_request(pdu)
    except BadRequest as bad:
        return bool(bad.rejection.reason) and (bad.rejection.reason + bad.calling_ae).isprintable()
    return mend_request(mended) == mended and bool(_read(mended).encode() == mended)


def _refused(pdu: bytes) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        mend_request(pdu)
    return caught.value


@pytest.mark.parametrize(
    ("pdu", "reason", "answer"),
    [
        (associate_request()[:73], "it ends within its fixed fields", (0, 0, 0)),
        (associate_request(version=2), "it does not support version 1 of the DICOM upper layer protocol", (1, 2, 2)),
        (associate_request(items=[item(0x10, b"1.2.3"), CONTEXT, USER]), "its application context is not", (1, 1, 2)),
        (associate_request(items=[NAME, USER]), "it proposes no presentation context", (0, 0, 0)),
        (associate_request(items=[NAME, CONTEXT, CONTEXT, USER]), "are not all odd and different", (0, 0, 0)),
        (associate_request(items=[NAME, context_item(2), USER]), "are not all odd and different", (0, 0, 0)),
        (associate_request(items=[NAME, item(0x20, b"\1"), USER]), "a presentation context is incomplete", (0, 0, 0)),
        (associate_request(items=[NAME, context_item(1, []), USER]), "exactly one abstract syntax", (0, 0, 0)),
        (associate_request(items=[NAME, context_item(1, [MR, MR]), USER]), "exactly one abstract syntax", (0, 0, 0)),
        (associate_request(items=[NAME, context_item(1, [MR], []), USER]), "at least one transfer syntax", (0, 0, 0)),
        (associate_request() + b"\x50\0", "an item is incomplete", (0, 0, 0)),
        (associate_request()[:-1], "an item is longer than the item that contains it", (0, 0, 0)),
    ],
)
def test_a_request_that_is_refused_is_answered_with_its_reason(
    pdu: bytes, reason: str, answer: tuple[int, int, int]
) -> None:
    """Results, sources and reasons of A-ASSOCIATE-RJ are those of PS3.8 9.3.4; without a result it is aborted."""
    bad = _refused(pdu)
    assert str(bad).startswith("the association request was refused: ")
    assert reason in str(bad)
    rejection = bad.rejection
    assert (rejection.result, rejection.source, rejection.diagnostic) == answer
    assert (rejection.code, bad.calling_ae) == ("bad_association_request", "SENDER" if len(pdu) > 73 else "")


@pytest.mark.parametrize(
    ("stated", "kept"), [(0, 0), (1, 256), (255, 256), (256, 256), (2**17, 2**17), (None, 16384), (b"\1", 16384)]
)
def test_a_maximum_length_that_no_answer_fits_is_raised(stated: int | bytes | None, kept: int) -> None:
    length = struct.pack(">I", stated) if isinstance(stated, int) else stated
    read = _read(mend_request(associate_request(items=[NAME, CONTEXT, user_item(length=length)])))
    assert read.user_information is not None
    assert read.user_information.maximum_length == kept


def _role(uid: bytes, flags: bytes) -> bytes:
    return item(0x54, struct.pack(">H", len(uid)) + uid + flags)


def test_of_the_roles_of_a_class_the_first_counts_and_one_that_is_none_is_left_out() -> None:
    roles = [_role(MR + b"\0", b"\0\1"), _role(MR, b"\1\0"), _role(b"1.9", b"\2\0"), _role(b"1.8", b"\1")]
    mended = mend_request(associate_request(items=[NAME, CONTEXT, user_item(*roles, item(0x54, b"\0"))]))
    assert mended.count(b"\x54\0\0") == 1
    assert _role(MR, b"\0\1") in mended


def test_a_title_shows_what_is_not_allowed_in_one_as_a_question_mark() -> None:
    read = _read(mend_request(associate_request("MÜ\\LLER\t".encode("latin-1").ljust(16))))
    assert read.calling_ae_title == "M??LLER?"
