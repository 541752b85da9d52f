"""Words as they are searched: what a person types finds what a scanner wrote."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_node.studies.search_words import indexed_words, searched_words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("DOE^John^^Dr.", ("doe", "john", "dr")),
        ("Müller", ("muller",)),
        ("MULLER", ("muller",)),
        ("Mu\N{COMBINING DIAERESIS}ller", ("muller",)),
        ("Łódź Đặng Søren Ærø Straße", ("lodz", "dang", "soren", "aero", "strasse")),
        ("İSTANBUL", ("istanbul",)),
        ("O'Brien O\N{RIGHT SINGLE QUOTATION MARK}Brien", ("obrien", "obrien")),
        ("12-345/67.8", ("12", "345", "67", "8")),
        ("Yamada^Tarou=山田^太郎", ("yamada", "tarou", "山田", "太郎")),
        ("ﾔﾏﾀﾞ ヤマダ", ("ヤマタ", "ヤマタ")),
        ("김^철수", ("김", "철수")),
        ("50% a_b", ("50%", "a_b")),
        ("<script>", ("script",)),
        ("\0 ^=-", ()),
    ],
)
def test_case_diacritics_and_separators_do_not_matter(text: str, words: tuple[str, ...]) -> None:
    assert searched_words(text) == words


def test_a_name_with_an_underscore_is_found_by_each_of_its_parts() -> None:
    assert indexed_words("DOE_JOHN", "doe") == " doe_john doe john"


@given(st.text(), st.text())
def test_every_word_of_a_text_is_found_in_it(before: str, text: str) -> None:
    indexed = indexed_words(before, text)
    assert all(f" {word}" in indexed for word in searched_words(text))
    assert indexed.isprintable()
