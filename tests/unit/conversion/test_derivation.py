"""How an image was derived, read from the places of classic and enhanced headers, and joined over a volume."""

import pytest
from pydicom import Dataset
from pydicom.sequence import Sequence

from conversion.attributes import Attributes
from conversion.derivation import derivation_of, joined
from conversion.study import Derivation
from tests.support.raw_values import put_raw


def _code(value: str, meaning: str, scheme: str = "DCM") -> Dataset:
    ds = Dataset()
    ds.CodeValue, ds.CodingSchemeDesignator, ds.CodeMeaning = value, scheme, meaning
    return ds


def _derived(description: str, *named: Dataset) -> Dataset:
    ds = Dataset()
    ds.DerivationDescription, ds.DerivationCodeSequence = description, Sequence(named)
    return ds


def _enhanced() -> Dataset:
    """Return three frames: all are means; the first is a sum too, the second nothing else, the third two things."""
    ds, shared = _derived("made of others"), Dataset()
    shared.DerivationImageSequence = [_derived("mean", _code("113049", "Pixel by pixel mean"))]
    frames = [Dataset(), Dataset(), Dataset()]
    frames[0].DerivationImageSequence = [_derived("sum", _code("113043", "Pixel by pixel addition"))]
    frames[2].DerivationImageSequence = [
        _derived("minus", _code("113062", "Pixel by pixel subtraction")),
        _derived("MIP", _code("113078", "Maximum intensity projection")),
    ]
    ds.SharedFunctionalGroupsSequence, ds.PerFrameFunctionalGroupsSequence = [shared], frames
    return ds


def test_a_header_that_states_nothing_is_of_no_derivation() -> None:
    assert derivation_of(Dataset()) == Derivation(codes=(), words="", technique="")


def test_codes_of_other_schemes_give_their_words_alone() -> None:
    ds = _derived("", _code("113062", "Subtraction"), _code("113040", "Lossy Compression", "99OURS"))
    assert derivation_of(ds) == Derivation(codes=("113062",), words="Subtraction; Lossy Compression")


def test_the_name_of_the_scheme_is_read_in_any_case() -> None:
    assert derivation_of(_derived("", _code("113062", "", "dcm"))).codes == ("113062",)


def test_what_is_said_twice_is_kept_once_and_in_order() -> None:
    ds = _derived("mean", _code("113049", "mean"), _code("113062", "minus"), _code("113049", "mean"))
    assert derivation_of(ds) == Derivation(codes=("113049", "113062"), words="mean; minus")


@pytest.mark.parametrize(
    ("frame", "codes", "descriptions"),
    [
        (0, ("113043", "113049"), ["sum", "mean"]),
        (1, ("113049",), ["mean"]),
        (2, ("113062", "113078", "113049"), ["minus", "MIP", "mean"]),
        (9, ("113049",), ["mean"]),
    ],
)
def test_a_frame_has_its_own_derivations_before_those_of_all(
    frame: int, codes: tuple[str, ...], descriptions: list[str]
) -> None:
    found = derivation_of(_enhanced(), frame)
    assert found.codes == codes
    assert found.words.split("; ")[: 1 + len(descriptions)] == ["made of others", *descriptions]


def test_a_classic_header_has_no_functional_groups() -> None:
    assert derivation_of(_enhanced()) == Derivation(words="made of others")


@pytest.mark.parametrize(("written", "technique"), [("MAX_IP", "MAX_IP"), ("mpr", "MPR"), ("none", ""), ("", "")])
def test_a_technique_is_read_in_upper_case_and_none_is_none(written: str, technique: str) -> None:
    own = Dataset()
    put_raw(own, "VolumeBasedCalculationTechnique", "CS", written.encode())
    assert derivation_of(Dataset(), attributes=Attributes(own)).technique == technique
    assert derivation_of(own).technique == technique


def test_derivations_of_a_volume_are_joined_without_repeats() -> None:
    minus = Derivation(codes=("113062",), words="minus", technique="")
    both = Derivation(codes=("113062", "113078"), words="MIP", technique="MAX_IP")
    last = Derivation(codes=("113072",), words="minus", technique="MPR")
    assert joined([minus, both, minus, Derivation(), last]) == Derivation(
        codes=("113062", "113078", "113072"), words="minus; MIP", technique="MAX_IP"
    )
    assert joined([]) == joined([Derivation()]) == Derivation()
