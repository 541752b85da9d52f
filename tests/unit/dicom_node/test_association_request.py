"""Requests for association, byte by byte: what is written anew is what pynetdicom reads, whatever came."""

import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pynetdicom.pdu import A_ASSOCIATE_RQ

from dicom_node.reception.acceptor.association_request import BLANK_TITLE, BadRequest, mend_request
from tests.support.pdu_fuzz import spoilt
from tests.support.raw_request import EXPLICIT, MR, associate_request, context_item, item, user_item

NAME = item(0x10, b"1.2.840.10008.3.1.1.1")


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
