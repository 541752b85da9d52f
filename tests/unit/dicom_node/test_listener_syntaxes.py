"""The listener over real sockets in every transfer syntax: which one wins, what is stored, and what is read of it."""

import subprocess
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
import sqlalchemy as sa
from pydicom.uid import (
    HTJ2K,
    MPEG2MPML,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    MRImageStorage,
    RLELossless,
    SegmentationStorage,
)
from pynetdicom import AE
from pynetdicom.presentation import AllStoragePresentationContexts

from conversion.reading import dicom_files, read_series, read_study
from dicom_node.database.engine import Database
from dicom_node.database.tables import InstanceRow, RefusalRow
from dicom_node.reception.identity import MAXIMUM_INFLATED_BYTES
from dicom_node.reception.listener import ACCEPTED_TRANSFER_SYNTAXES
from tests.support.dicom_series import axis_aligned, mr_slices
from tests.support.pacs import OpenSockets, echo, instance_of, instance_of_file, store
from tests.support.transfer_syntaxes import LOSSLESS, LOSSY, write_series
from viewer_integration.transport.association import RemoteEntity
from viewer_integration.transport.delivery import send_files

OLD_UID = "1.2.840.000113.07.04.2.0019"
"""As archives of the nineties hold them: numbers with leading zeros, which PS3.5 9.1 forbids."""


@pytest.fixture(autouse=True)
def _quiet_pydicom(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let pydicom take values that break the standard without a warning, as `configure_logs` has it in a real node."""
    monkeypatch.setattr(pydicom.config.settings, "reading_validation_mode", pydicom.config.IGNORE)
    monkeypatch.setattr(pydicom.config.settings, "writing_validation_mode", pydicom.config.IGNORE)


def _rows(database: Database) -> list[InstanceRow]:
    with database.session() as session:
        return list(session.scalars(sa.select(InstanceRow)))


def _refusals(database: Database) -> list[tuple[str, str]]:
    with database.session() as session:
        return [(row.code, row.reason) for row in session.scalars(sa.select(RefusalRow))]


def _accepted(port: int, proposed: list[list[str]], sop_class: str = MRImageStorage) -> list[str | None]:
    """Propose presentation contexts of one SOP class and return what the listener took of each."""
    entity = AE(ae_title="SENDER")
    for syntaxes in proposed:
        entity.add_requested_context(sop_class, syntaxes)
    sockets = OpenSockets()
    assoc = entity.associate("127.0.0.1", port, ae_title="GLIONODE", evt_handlers=[sockets.handler])
    try:
        assert assoc.is_established
        taken = {context.context_id: str(context.transfer_syntax[0]) for context in assoc.accepted_contexts}
        return [taken.get(2 * k + 1) for k in range(len(proposed))]
    finally:
        assoc.release()
        assoc.join(30)
        sockets.close()


def test_the_syntaxes_are_those_that_are_tested() -> None:
    assert set(ACCEPTED_TRANSFER_SYNTAXES) == {*LOSSLESS, *LOSSY}
    assert len(ACCEPTED_TRANSFER_SYNTAXES) == len(set(ACCEPTED_TRANSFER_SYNTAXES)) == 16


@pytest.mark.parametrize("sop_class", [MRImageStorage, SegmentationStorage])
def test_each_syntax_is_accepted_where_it_is_offered_alone(port: int, sop_class: str) -> None:
    every = [str(syntax) for syntax in ACCEPTED_TRANSFER_SYNTAXES]
    assert _accepted(port, [[syntax] for syntax in every], sop_class) == every


def test_every_storage_class_is_accepted_in_every_syntax(port: int) -> None:
    classes = [str(context.abstract_syntax) for context in AllStoragePresentationContexts]
    assert len(classes) > 128
    for sop_class in classes[::12]:
        for syntax in ACCEPTED_TRANSFER_SYNTAXES[-3:]:
            assert _accepted(port, [[syntax]], sop_class) == [syntax]


@pytest.mark.parametrize(
    ("offered", "wins"),
    [
        ([ImplicitVRLittleEndian, ExplicitVRLittleEndian], ExplicitVRLittleEndian),
        ([JPEGBaseline8Bit, JPEGExtended12Bit, ImplicitVRLittleEndian], ImplicitVRLittleEndian),
        ([JPEGLSNearLossless, JPEGBaseline8Bit, JPEGLosslessSV1], JPEGLosslessSV1),
        ([JPEGExtended12Bit, ExplicitVRBigEndian], ExplicitVRBigEndian),
        ([ExplicitVRBigEndian, RLELossless], RLELossless),
        (list(reversed(ACCEPTED_TRANSFER_SYNTAXES)), ExplicitVRLittleEndian),
        ([MPEG2MPML, JPEGLSLossless], JPEGLSLossless),
    ],
)
def test_of_several_in_one_context_nothing_that_loses_wins(port: int, offered: list[str], wins: str) -> None:
    assert _accepted(port, [offered]) == [wins]


def test_a_film_is_not_taken(port: int) -> None:
    assert _accepted(port, [[MPEG2MPML], [ExplicitVRLittleEndian]]) == [None, ExplicitVRLittleEndian]


@pytest.mark.dcmtk
@pytest.mark.parametrize("syntax", ACCEPTED_TRANSFER_SYNTAXES, ids=lambda syntax: syntax.name.partition(" (")[0])
def test_a_series_of_any_syntax_is_stored_as_it_came_and_read(
    port: int, folder: Path, database: Database, tmp_path: Path, syntax: pydicom.uid.UID
) -> None:
    kind = {JPEGBaseline8Bit: "u8", HTJ2K: "u16"}.get(syntax, "u12" if syntax in LOSSY else "s12")
    paths, pixels = write_series(tmp_path / "sent", syntax, kind)
    sent = [instance_of_file(path) for path in paths]
    assert store(sent, port) == [0x0000] * len(sent)
    rows = _rows(database)
    assert {row.transfer_syntax_uid for row in rows} == {syntax}
    stored = {row.sop_instance_uid: (folder / row.path).read_bytes() for row in rows}
    assert all(stored[one.sop_instance_uid].endswith(one.data_set) for one in sent)
    (series,) = read_study(dicom_files(folder / "inbox")).series
    if syntax != JPEGExtended12Bit:
        off = np.abs(read_series(series).voxels - pixels.astype(np.float64))
        assert off.max() <= LOSSY.get(syntax, 0)


@pytest.mark.dcmtk
@pytest.mark.parametrize("agreed", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless])
@pytest.mark.parametrize("syntax", [syntax for syntax in LOSSLESS if not syntax.is_deflated], ids=lambda s: s.name)
def test_what_is_not_in_the_syntax_that_was_agreed_is_read_as_it_is(
    port: int, folder: Path, tmp_path: Path, syntax: pydicom.uid.UID, agreed: str
) -> None:
    paths, pixels = write_series(tmp_path / "sent", syntax)
    sent = [replace(instance_of_file(path), transfer_syntax_uid=agreed) for path in paths]
    assert store(sent, port) == [0x0000] * len(sent)
    (series,) = read_study(dicom_files(folder / "inbox")).series
    assert np.array_equal(read_series(series).voxels, pixels)


@pytest.mark.dcmtk
@pytest.mark.parametrize(
    ("option", "syntax", "kind"),
    [
        ("-xi", ImplicitVRLittleEndian, "s16"),
        ("-xb", ExplicitVRBigEndian, "s12"),
        ("-xd", DeflatedExplicitVRLittleEndian, "u12"),
        ("-xs", JPEGLosslessSV1, "u16"),
        ("-xy", JPEGBaseline8Bit, "u8"),
        ("-xx", JPEGExtended12Bit, "u12"),
        ("-xv", JPEG2000Lossless, "u12"),
        ("-xt", JPEGLSLossless, "s16"),
        ("-xu", JPEGLSNearLossless, "u12"),
        ("-xr", RLELossless, "u16"),
    ],
)
def test_dcmtk_sends_what_it_proposes(
    port: int, database: Database, tmp_path: Path, option: str, syntax: str, kind: str
) -> None:
    paths, _ = write_series(tmp_path / "sent", pydicom.uid.UID(syntax), kind)
    command = ["storescu", option, "-R", "-aet", "SENDER", "-aec", "GLIONODE", "127.0.0.1", str(port)]
    subprocess.run([*command, *map(str, paths)], check=True, timeout=60)
    assert [row.transfer_syntax_uid for row in _rows(database)] == [syntax] * len(paths)


def test_a_damaged_deflated_data_set_stays_with_the_sender(port: int, database: Database, tmp_path: Path) -> None:
    paths, _ = write_series(tmp_path, DeflatedExplicitVRLittleEndian)
    whole = instance_of_file(paths[0])
    cut = [replace(whole, data_set=content) for content in (whole.data_set[:-300], b"\xff" * 400)]
    assert store(cut, port) == [0xC000, 0xC000]
    assert {code for code, _ in _refusals(database)} == {"unreadable_data_set"}
    assert _rows(database) == []
    assert store([whole], port) == [0x0000]


def test_a_deflated_data_set_that_would_fill_the_memory_is_refused(
    port: int, database: Database, tmp_path: Path
) -> None:
    paths, _ = write_series(tmp_path, DeflatedExplicitVRLittleEndian)
    deflater = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    block = deflater.compress(bytes(2**20)) + deflater.flush(zlib.Z_FULL_FLUSH)
    bomb = block * (MAXIMUM_INFLATED_BYTES // 2**20 + 1)
    assert len(bomb) < MAXIMUM_INFLATED_BYTES // 500
    assert store([replace(instance_of_file(paths[0]), data_set=bomb)], port) == [0xC000]
    ((code, reason),) = _refusals(database)
    assert code == "unreadable_data_set"
    assert "larger than 1024 MiB" in reason
    assert echo(port)


PLAIN = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian)


@pytest.mark.parametrize("syntax", PLAIN, ids=lambda syntax: syntax.name)
def test_a_plain_data_set_that_is_called_deflated_is_taken_as_it_is(
    port: int, folder: Path, database: Database, tmp_path: Path, syntax: pydicom.uid.UID
) -> None:
    paths, pixels = write_series(tmp_path / "sent", syntax)
    sent = [replace(instance_of_file(one), transfer_syntax_uid=DeflatedExplicitVRLittleEndian) for one in paths]
    assert store(sent, port) == [0x0000] * len(sent)
    headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in paths]
    identities = {(ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID) for ds in headers}
    rows = _rows(database)
    assert {(row.study_uid, row.series_uid, row.sop_instance_uid) for row in rows} == identities
    (series,) = read_study(dicom_files(folder / "inbox")).series
    assert np.array_equal(read_series(series).voxels, pixels)


@pytest.mark.parametrize("called", PLAIN, ids=lambda syntax: syntax.name)
def test_a_deflated_data_set_that_is_called_plain_is_taken_as_it_is(
    port: int, folder: Path, database: Database, tmp_path: Path, called: pydicom.uid.UID
) -> None:
    paths, pixels = write_series(tmp_path / "sent", DeflatedExplicitVRLittleEndian)
    sent = [replace(instance_of_file(one), transfer_syntax_uid=called) for one in paths]
    assert store(sent, port) == [0x0000] * len(sent)
    assert len(_rows(database)) == len(sent)
    (series,) = read_study(dicom_files(folder / "inbox")).series
    assert np.array_equal(read_series(series).voxels, pixels)


def _large_slices() -> list[pydicom.Dataset]:
    """Return slices of more than 1 MiB of noise each, of which deflated about every other one has an odd length."""
    noise = np.random.default_rng(7).integers(0, 4096, (6, 800, 900), dtype=np.uint16)
    return mr_slices(noise, axis_aligned("axial"), "large")


def test_the_pad_byte_behind_a_large_deflated_data_set_is_let_be(port: int, database: Database) -> None:
    (plain, *_) = (instance_of(ds) for ds in _large_slices())
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    deflated = deflater.compress(plain.data_set) + deflater.flush()
    padded = replace(plain, transfer_syntax_uid=str(DeflatedExplicitVRLittleEndian), data_set=deflated + b"\0")
    assert store([padded], port) == [0x0000]
    assert len(_rows(database)) == 1


@pytest.mark.dcmtk
def test_dcmtk_sends_large_images_deflated(port: int, database: Database, tmp_path: Path) -> None:
    images, sent = _large_slices(), tmp_path / "sent"
    sent.mkdir()
    for number, ds in enumerate(images):
        ds.save_as(sent / f"{number}.dcm", enforce_file_format=True)
    command = ["storescu", "-xd", "+sd", "-aet", "SENDER", "-aec", "GLIONODE", "127.0.0.1", str(port), str(sent)]
    subprocess.run(command, check=True, timeout=60)
    assert [row.transfer_syntax_uid for row in _rows(database)] == [DeflatedExplicitVRLittleEndian] * len(images)


def test_uids_with_leading_zeros_are_taken_as_they_are(port: int, folder: Path, database: Database) -> None:
    study, series = f"{OLD_UID}.00", f"{OLD_UID}.01"
    slices = mr_slices(np.full((4, 5, 6), 7, np.uint16), axis_aligned("axial"), "old")
    for number, ds in enumerate(slices):
        ds.StudyInstanceUID, ds.SeriesInstanceUID = study, series
        ds.SOPInstanceUID = f"{OLD_UID}.02.{number}"
    assert store([instance_of(ds) for ds in slices], port) == [0x0000] * 4
    rows = _rows(database)
    assert {(row.study_uid, row.series_uid) for row in rows} == {(study, series)}
    assert {row.sop_instance_uid for row in rows} == {f"{OLD_UID}.02.{number}" for number in range(4)}
    assert {(folder / row.path).parent for row in rows} == {folder / "inbox" / study / series}
    (found,) = read_study(dicom_files(folder / "inbox")).series
    assert read_series(found).grid.shape == (4, 5, 6)


def test_a_uid_with_a_leading_zero_is_another_than_the_one_without(port: int, database: Database) -> None:
    (first,), (second,) = (mr_slices(np.full((1, 5, 6), 7, np.uint16), axis_aligned("axial"), "old") for _ in range(2))
    first.SOPInstanceUID, second.SOPInstanceUID = "1.2.3.04", "1.2.3.4"
    assert store([instance_of(first), instance_of(second)], port) == [0x0000, 0x0000]
    assert sorted(row.sop_instance_uid for row in _rows(database)) == ["1.2.3.04", "1.2.3.4"]
    assert all(row.current for row in _rows(database))


@pytest.mark.dcmtk
@pytest.mark.parametrize("syntax", ACCEPTED_TRANSFER_SYNTAXES, ids=lambda syntax: syntax.name.partition(" (")[0])
def test_the_node_sends_on_what_it_stored(port: int, folder: Path, tmp_path: Path, syntax: pydicom.uid.UID) -> None:
    """By `glionode send`, and by delivery: from one node's inbox to another listener, pixel for pixel."""
    paths, _ = write_series(tmp_path / "sent", syntax, "u8" if syntax == JPEGBaseline8Bit else "u16")
    node = RemoteEntity(name="node", ae_title="GLIONODE", host="127.0.0.1", port=port)
    receipts = list(send_files(paths, node, "SENDER"))
    assert [(receipt.accepted, receipt.reason) for receipt in receipts] == [(True, "")] * len(paths)
    sent, stored = (
        {str(ds.SOPInstanceUID): ds for ds in map(pydicom.dcmread, files)}
        for files in (paths, dicom_files(folder / "inbox"))
    )
    assert sent.keys() == stored.keys()
    for uid, ds in sent.items():
        assert stored[uid].file_meta.TransferSyntaxUID == syntax
        assert stored[uid] == ds
