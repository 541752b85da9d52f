"""Deterministic UIDs: what they are today they are for ever."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from viewer_integration.identifiers import content_uid, tracking_uid

PARTS = st.lists(st.one_of(st.text(max_size=6), st.binary(max_size=6)), max_size=4)


def test_uids_of_known_content_never_change() -> None:
    assert content_uid("SEG", "1.2.3", b"\x00\x01") == "2.25.161155687619545882433001215012852739596"
    assert tracking_uid("1.2.3", "WT") == "2.25.146842159499060616043468485016965832381"


@given(st.sampled_from(["SEG", "SR", "SEG series"]), PARTS)
@settings(max_examples=25, deadline=None, derandomize=True)
def test_a_uid_is_valid_and_the_same_for_the_same_content(kind: str, parts: list[str | bytes]) -> None:
    uid = content_uid(kind, *parts)
    assert uid == content_uid(kind, *parts)
    assert uid.is_valid
    assert re.fullmatch(r"2\.25\.[1-9][0-9]{0,38}", uid)


@pytest.mark.parametrize(
    "other",
    [
        ("SR", "a", "bc"),
        ("SEG", "ab", "c"),
        ("SEG", "abc"),
        ("SEG", "a", "bc", ""),
        ("SEG", "bc", "a"),
        ("SEG", "a", "bd"),
    ],
)
def test_other_content_or_other_borders_make_another_uid(other: tuple[str, ...]) -> None:
    assert content_uid("SEG", "a", "bc") != content_uid(*other)


def test_text_and_its_utf8_bytes_are_the_same_part() -> None:
    assert content_uid("SEG", "山") == content_uid("SEG", "山".encode())


def test_a_region_is_tracked_within_its_study() -> None:
    uids = {tracking_uid(study, region) for study in ("1.2", "1.3") for region in ("WT", "ET")}
    assert len(uids) == 4
