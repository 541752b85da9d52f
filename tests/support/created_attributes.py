"""The attributes of the objects that the node makes, from objects that it has made.

``python -m tests.support.created_attributes`` writes `created_objects.json` of `dicom_node/conformance`
anew; a test fails where the encoders write something else.
"""

import io
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import dcmread
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from conversion.decision import Decision
from tests.support.hand_made_run import Run, make_run
from viewer_integration import codes
from viewer_integration.profile import ResultProfile, SegForm
from viewer_integration.provenance import PredecessorDocument
from viewer_integration.result import encode_results

__all__ = ["PLACE", "created_objects", "objects_of_runs"]

PLACE = Path(__file__).parents[2] / "dicom_node" / "conformance" / "created_objects.json"

_AFFINE = np.array([[0, 0, 4.0, -80], [0, 4.0, 0, -96], [11.0, 0, 0, 0], [0, 0, 0, 1]], float)
_PATIENTS = (
    {"PatientID": "77", "PatientName": "One^Test", "PatientBirthDate": "19700101", "PatientSex": "F", "StudyID": "1"}
    | {"AccessionNumber": "A1", "StudyDate": "20240101", "StudyTime": "101010", "StudyDescription": "Brain"}
    | {"ReferringPhysicianName": "Dr^A", "PatientAge": "050Y", "Manufacturer": "Vendor A"},
    {"PatientID": "78", "PatientName": "Two^Test", "PatientBirthDate": "19800202", "PatientSex": "M", "StudyID": "2"}
    | {"AccessionNumber": "A2", "StudyDate": "20240202", "StudyTime": "111111", "StudyDescription": "Head"}
    | {"ReferringPhysicianName": "Dr^B", "PatientAge": "040Y", "Manufacturer": "Vendor B"},
)
_OF_THE_SOURCE = (
    *("Rows", "Columns", "NumberOfFrames", "LossyImageCompression", "SeriesNumber", "SeriesDescription"),
    *("ReferencedSOPClassUID", "SoftwareVersions", "ReferencedSegmentNumber", "SegmentNumber"),
)
"""The same in all these runs, but not in those of other images or destinations."""

_NOT_EXPANDED = ("ContentSequence",)
"""The content tree of a report is described by its templates, not by its attributes."""


def _labels(whole: bool) -> Any:  # noqa: ANN401, FBT001 - an array
    labels = np.zeros((6, 24, 20), np.uint8)
    labels[1:5, 6:16, 6:16] = 5 if whole else 2
    if not whole:
        labels[2:4, 8:12, 8:12] = 3
        labels[3, 9:11, 9:11] = 1
    return labels


def _runs(folder: Path) -> Iterator[Run]:
    predecessor = PredecessorDocument(
        sop_class_uid="1.2.840.10008.5.1.4.1.1.88.34", sop_instance_uid="1.2.3", series_uid="1.2.4", study_uid="1.2.5"
    )
    role = Decision(code="role", subject="series 1", reason="T1 after contrast", series_uid="1.2.6")
    for number, patient in enumerate(_PATIENTS):
        for whole in (False, True):
            run = make_run(folder / f"{number}-{whole}", _labels(whole), _AFFINE, **patient)
            model = replace(run.segmentation.model, name=f"model {number}", version=f"{number}.0")
            origin = {"station": f"STATION{number}", "software_version": f"0.{number}.0"}
            provenance = replace(run.provenance, **origin)
            run = replace(run, segmentation=replace(run.segmentation, model=model), provenance=provenance)
            yield replace(run, selection=(role,))
    yield replace(run, provenance=replace(run.provenance, predecessor=predecessor))


def objects_of_runs(form: SegForm) -> list[tuple[Dataset, Dataset, Dataset]]:
    """Return SEG, SR and a source header of each of several runs."""
    made = []
    with tempfile.TemporaryDirectory() as scratch:
        for run in _runs(Path(scratch)):
            provenance = replace(run.provenance, profile=ResultProfile(seg_form=form))
            results = encode_results(run.source, run.segmentation, run.findings, provenance, run.selection)
            seg, report = (dcmread(io.BytesIO(one.content)) for one in results.objects)
            made.append((seg, report, run.source.instances[0]))
    return made


def _walk(ds: Dataset, depth: int = 0, above: str = "") -> Iterator[tuple[str, int, DataElement]]:
    """Yield each attribute once, with its path and how deep it lies."""
    seen: set[str] = set()
    for element in ds:
        path = f"{above}/{element.tag:08X}"
        yield path, depth, element
        if element.VR == "SQ" and element.keyword not in _NOT_EXPANDED:
            for item in element.value or ():
                for found in _walk(item, depth + 1, path):
                    if found[0] not in seen:
                        seen.add(found[0])
                        yield found


def _rows(objects: Sequence[Dataset], headers: Sequence[Dataset]) -> list[dict[str, Any]]:
    walked = [{path: (depth, element) for path, depth, element in _walk(ds)} for ds in objects]
    order = dict.fromkeys(sorted({path for one in walked for path in one}))
    rows = []
    for path in order:
        found = [(one[path][1], header) for one, header in zip(walked, headers, strict=True) if path in one]
        depth = next(one[path][0] for one in walked if path in one)
        element = found[0][0]
        parent = path.rpartition("/")[0]
        always = len(found) == sum(parent in one or not parent for one in walked)
        empty = all(each.is_empty for each, _ in found)
        presence = "EMPTY" if empty else "ALWAYS" if always else "ANAP"
        source, value = _source(found, element, depth)
        row = {"depth": depth, "tag": f"{element.tag:08X}"[:8], "keyword": element.keyword, "name": element.name}
        rows.append(row | {"vr": str(element.VR), "presence": presence, "source": source, "value": value})
    return rows


def _source(found: Sequence[tuple[DataElement, Dataset]], element: DataElement, depth: int) -> tuple[str, str]:
    values = {str(one.value) for one, _ in found}
    if element.keyword in _OF_THE_SOURCE:
        return "AUTO", ""
    if element.VR == "SQ" or element.is_empty:
        return "", ""
    is_varied = len(values) > 1 or element.VR == "UI"
    if is_varied and depth == 0 and all(_is_copied(one, header) for one, header in found):
        return "COPIED", ""
    generated = ("UI", "DA", "TM", "DT", "OB", "OW", "UL", "FD", "DS")
    if len(values) == 1 and element.VR not in generated and len(next(iter(values))) <= 64:
        several = element.value if element.VM > 1 else [element.value]
        return "FIXED", "\\".join(str(one) for one in several)
    if element.VR == "UI" and len(values) == 1 and element.keyword.endswith("ClassUID"):
        return "FIXED", next(iter(values))
    return "AUTO", ""


def _is_copied(element: DataElement, header: Dataset) -> bool:
    return element.tag in header and str(header[element.tag].value) == str(element.value)


def created_objects() -> dict[str, Any]:
    """Return what the statement says of the objects."""
    binary, labelmap = objects_of_runs(SegForm.BINARY), objects_of_runs(SegForm.LABELMAP)
    kinds = {
        "SEG as BINARY": ([one[0] for one in binary], [one[2] for one in binary]),
        "SEG as LABELMAP": ([one[0] for one in labelmap], [one[2] for one in labelmap]),
        "Comprehensive 3D SR": ([one[1] for one in binary], [one[2] for one in binary]),
    }
    return {
        "objects": [
            {"kind": kind, "sop_class_uid": str(objects[0].SOPClassUID), "attributes": _rows(objects, headers)}
            for kind, (objects, headers) in kinds.items()
        ],
        "codes": sorted(_codes(), key=lambda code: (code["system"], code["code"])),
    }


def _codes() -> list[dict[str, str]]:
    """Return every coded concept of `viewer_integration.codes`."""
    found = {}
    named = [getattr(codes, name) for name in codes.__all__]
    named += [one.property_type for one in codes.SEGMENTS.values()]
    named += [concept for _, concept in codes.REGION_CONCEPTS.values()]
    for one in named:
        if hasattr(one, "scheme_designator"):
            code = {"code": str(one.value), "system": str(one.scheme_designator), "meaning": str(one.meaning)}
            found[code["system"], code["code"]] = code
    return list(found.values())


if __name__ == "__main__":
    PLACE.write_text(json.dumps(created_objects(), indent=0, ensure_ascii=False) + "\n", "utf-8")
