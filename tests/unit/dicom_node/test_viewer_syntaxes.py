"""The viewer's origin over real HTTP: instances of every transfer syntax as a viewer can show them."""

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.utils import pixel_array
from pydicom.uid import (
    HTJ2K,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    RLELossless,
)

from dicom_node.database.engine import open_database
from dicom_node.database.tables import StudyRow
from dicom_node.reception.listener import ACCEPTED_TRANSFER_SYNTAXES
from dicom_node.studies.holdings import Holdings
from dicom_node.web.viewer import viewer_app
from tests.support.mislabelled import mislabel
from tests.support.transfer_syntaxes import LOSSY, write_series
from tests.support.viewer_port import served
from tests.support.viewer_study import instance_row
from viewer_integration.big_endian import little_endian_file, turn_little_endian, was_big_endian

pytestmark = pytest.mark.dcmtk

SYNTAXES = [syntax for syntax in ACCEPTED_TRANSFER_SYNTAXES if syntax != JPEGExtended12Bit]
Held = dict[UID, tuple[Dataset, NDArray[Any]]]
WORDS = np.arange(1, 700, dtype=np.uint16)
"""A look-up table, long enough to be given by reference."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("node")


@pytest.fixture(scope="module")
def held(folder: Path) -> Held:
    """Hold the first slice of a series of each syntax: its header, and the stored values that it was written from."""
    database = open_database(f"sqlite:///{folder / 'node.sqlite'}")
    found: Held = {}
    with database.session() as session:
        for number, syntax in enumerate(SYNTAXES):
            study = f"1.2.3.{number}"
            kind = {JPEGBaseline8Bit: "u8", HTJ2K: "u16"}.get(syntax, "u12" if syntax in LOSSY else "s12")
            words = WORDS.astype(">u2" if syntax == ExplicitVRBigEndian else "<u2").tobytes()
            table = Dataset()
            table.LUTDescriptor, table.LUTData = [len(WORDS), 0, 16], words
            table["LUTData"].VR = "OW"
            (path, *_), pixels = write_series(
                folder / str(number),
                syntax,
                kind,
                StudyInstanceUID=study,
                SOPInstanceUID=f"{study}.1",
                RedPaletteColorLookupTableData=words[:64],
                ModalityLUTSequence=[table],
            )
            session.add(StudyRow(study_uid=study, key=study))
            session.flush()
            ds = pydicom.dcmread(path)
            session.add(instance_row(ds, str(path.relative_to(folder))))
            found[syntax] = (ds, pixels[0])
    return found


@pytest.fixture(scope="module")
def client(held: Held, folder: Path) -> Iterator[httpx.Client]:
    assert held
    database = open_database(f"sqlite:///{folder / 'node.sqlite'}")
    ohif = folder / "ohif"
    ohif.mkdir()
    (ohif / "index.html").write_text("<title>OHIF</title>", encoding="utf-8")
    with (
        served(viewer_app(Holdings(database, folder), ohif, login=None)) as url,
        httpx.Client(base_url=url, timeout=60) as opened,
    ):
        yield opened


def _address(ds: Dataset) -> str:
    return f"/dicom-web/studies/{ds.StudyInstanceUID}/series/{ds.SeriesInstanceUID}/instances/{ds.SOPInstanceUID}"


def _part(answer: httpx.Response) -> tuple[str, bytes]:
    """Return the transfer syntax that the only part of a multipart message names, and the part."""
    boundary = answer.raise_for_status().headers["Content-Type"].partition("boundary=")[2].encode("ascii")
    header, _, body = answer.content.removeprefix(b"--" + boundary).partition(b"\r\n\r\n")
    return header.decode("ascii").partition("transfer-syntax=")[2], body.removesuffix(b"\r\n--" + boundary + b"--\r\n")


def _shown(ds: Dataset, syntax: str, frame: bytes) -> NDArray[Any]:
    """Decode a frame as a viewer does: by the syntax that its part names, and the metadata."""
    shown = Dataset()
    shown.update({tag: ds[tag] for tag in ds.group_dataset(0x0028).keys()})  # noqa: SIM118 - a data set
    shown.file_meta = FileMetaDataset()
    shown.file_meta.TransferSyntaxUID = UID(syntax)
    shown.PixelData = encapsulate([frame]) if UID(syntax).is_encapsulated else frame
    shown["PixelData"].VR = "OB" if UID(syntax).is_encapsulated else "OW"
    return pixel_array(shown)


def _same(shown: NDArray[Any], expected: NDArray[Any], syntax: UID) -> bool:
    return bool(np.abs(shown.astype(np.float64) - expected).max() <= LOSSY.get(syntax, 0))


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.name.partition(" (")[0])
def test_a_frame_is_given_in_a_syntax_that_viewers_read(client: httpx.Client, held: Held, syntax: UID) -> None:
    ds, expected = held[syntax]
    named, frame = _part(client.get(f"{_address(ds)}/frames/1", headers={"Accept": "multipart/related"}))
    assert named == (syntax if syntax.is_encapsulated else ExplicitVRLittleEndian)
    assert _same(_shown(ds, named, frame), expected, syntax)


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.name.partition(" (")[0])
def test_metadata_and_search_do_not_depend_on_the_syntax(client: httpx.Client, held: Held, syntax: UID) -> None:
    ds, _ = held[syntax]
    (answer,) = client.get(f"{_address(ds)}/metadata").raise_for_status().json()
    assert (answer["00280010"]["Value"], answer["00280011"]["Value"]) == ([ds.Rows], [ds.Columns])
    assert answer["00080018"]["Value"] == [ds.SOPInstanceUID]
    (found,) = client.get(f"/dicom-web/studies/{ds.StudyInstanceUID}/instances").raise_for_status().json()
    turned = syntax == ExplicitVRBigEndian
    assert found["00083002"]["Value"] == [ExplicitVRLittleEndian if turned else syntax]


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.name.partition(" (")[0])
def test_a_whole_instance_is_what_was_received(client: httpx.Client, held: Held, syntax: UID) -> None:
    ds, expected = held[syntax]
    named, body = _part(client.get(_address(ds), headers={"Accept": "multipart/related; type=application/dicom"}))
    names = {"studyUID": "StudyInstanceUID", "seriesUID": "SeriesInstanceUID", "objectUID": "SOPInstanceUID"}
    query = {name: str(ds[keyword].value) for name, keyword in names.items()}
    alone = client.get("/wado", params={"requestType": "WADO", **query}).raise_for_status().content
    assert alone == body
    whole = pydicom.dcmread(io.BytesIO(body))
    assert whole.file_meta.TransferSyntaxUID == named
    assert named == (ExplicitVRLittleEndian if syntax == ExplicitVRBigEndian else syntax)
    assert _same(whole.pixel_array, expected, syntax)
    assert [element.tag for element in whole] == [element.tag for element in ds]
    assert whole.EchoTime == ds.EchoTime


@pytest.mark.parametrize("label", ["", ImplicitVRLittleEndian, ExplicitVRLittleEndian, RLELossless])
@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.name.partition(" (")[0])
def test_a_file_that_is_not_encoded_as_it_says_is_shown_as_it_is(
    client: httpx.Client, held: Held, syntax: UID, label: str
) -> None:
    ds, expected = held[syntax]
    path = Path(str(ds.filename))
    original = path.read_bytes()
    try:
        mislabel(path, label)
        named, frame = _part(client.get(f"{_address(ds)}/frames/1", headers={"Accept": "multipart/related"}))
        assert _same(_shown(ds, named, frame), expected, syntax)
        named, body = _part(client.get(_address(ds), headers={"Accept": "multipart/related; type=application/dicom"}))
        whole = pydicom.dcmread(io.BytesIO(body))
        assert whole.file_meta.TransferSyntaxUID == named
        assert _same(whole.pixel_array, expected, syntax)
    finally:
        path.write_bytes(original)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_words_are_little_endian_inline_by_reference_and_in_sequences(
    client: httpx.Client, held: Held, syntax: UID
) -> None:
    ds, _ = held[syntax]
    (answer,) = client.get(f"{_address(ds)}/metadata").raise_for_status().json()
    inline = answer["00281201"]["InlineBinary"]
    assert np.array_equal(np.frombuffer(base64.b64decode(inline), "<u2"), WORDS[:32])
    reference = answer["00283000"]["Value"][0]["00283006"]["BulkDataURI"]
    _, body = _part(client.get(reference, headers={"Accept": "multipart/related"}))
    assert np.array_equal(np.frombuffer(body, "<u2"), WORDS)


def test_numbers_of_every_width_are_turned_once() -> None:
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    ds.SOPClassUID, ds.SOPInstanceUID, ds.Rows = "1.2.3", "1.2.4", 258
    for tag, vr, kind in ((0x7FE00008, "OF", "f4"), (0x7FE00009, "OD", "f8"), (0x00660129, "OL", "u4")):
        ds.add_new(tag, vr, np.arange(5).astype(f">{kind}").tobytes())
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    read = pydicom.dcmread(io.BytesIO(buffer.getvalue()))
    turn_little_endian(read)
    turn_little_endian(read)
    assert was_big_endian(read)
    again = pydicom.dcmread(io.BytesIO(little_endian_file(read)))
    assert not was_big_endian(again)
    assert (again.file_meta.TransferSyntaxUID, again.Rows) == (ExplicitVRLittleEndian, 258)
    for tag, kind in ((0x7FE00008, "f4"), (0x7FE00009, "f8"), (0x00660129, "u4")):
        assert np.array_equal(np.frombuffer(again[tag].value, f"<{kind}"), np.arange(5))
