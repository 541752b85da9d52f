"""Annexes A, B, D and E: the created objects, their content, and the codes in them; as encoded, held by a test."""

import functools
import json
from pathlib import Path
from typing import Any

from dicom_node.conformance.document import Bullets, Paragraph, Section, Table

__all__ = ["code_usage", "created_objects", "mapping", "report_content"]

_PLACE = Path(__file__).parent / "created_objects.json"


@functools.cache
def _created() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(_PLACE.read_text("utf-8"))
    return content


def created_objects() -> Section:
    """Return annex A."""
    text = (
        "Attributes within a sequence are marked by >. Series numbers, transfer syntax and the form of the SEG "
        "depend on the "
        "destination. No private attributes are written. UIDs are derived from the content, under the root 2.25."
    )
    parts = tuple(
        Section(number=f"A.A.{number}", title=one["kind"], blocks=(_attributes(number, one),))
        for number, one in enumerate(_created()["objects"], start=1)
    )
    return Section(number="A.A", title="Created objects", blocks=(Paragraph(text),), parts=parts)


def _attributes(number: int, one: dict[str, Any]) -> Table:
    rows = tuple(
        (
            ">" * row["depth"] + row["name"],
            f"({row['tag'][:4]},{row['tag'][4:]})",
            row["vr"],
            row["value"],
            row["presence"],
            row["source"],
        )
        for row in one["attributes"]
    )
    return Table(
        title=f"Table A.A-{number}. {one['kind']}, SOP class {one['sop_class_uid']}",
        columns=("Attribute", "Tag", "VR", "Value", "Presence", "Source"),
        rows=rows,
        widths=(34, 14, 6, 24, 12, 10),
    )


def report_content() -> Section:
    """Return annex B."""
    text = "The report follows TID 1500 (Measurement Report), with the title Oncology Measurement Report."
    tree = Bullets(
        (
            "Language, observer (device: the node, TID 1004), procedure reported: MRI.",
            (
                "Imaging measurements: for each region with a segment a group of TID 1411, which refers to the "
                "segment of the "
                "SEG by its tracking UID; for unions (tumor core, whole tumor) and regions that are empty, a "
                "group of TID 1501."
            ),
            (
                "In each group: tracking identifier and UID, finding, finding site (brain), and the volume in "
                "ml, rounded to a "
                "microlitre; its interval, where the model states one."
            ),
            "Qualitative evaluations: which series was used as which sequence, warnings, and why a result is withheld.",
            (
                "Every report states that it is for research use only. Completion flag COMPLETE, verification flag "
                "UNVERIFIED."
            ),
        )
    )
    return Section(number="A.B", title="Structured report content", blocks=(Paragraph(text), tree))


def mapping() -> Section:
    """Return annex D."""
    copied = tuple(
        sorted({row["name"] for one in _created()["objects"] for row in one["attributes"] if row["source"] == "COPIED"})
    )
    text = (
        "These attributes are copied from the source images. Where the PACS has corrected or merged the "
        "patient, Patient's "
        "Name, ID, Birth Date and Sex are those that a peer that is queried states at that moment."
    )
    return Section(number="A.D", title="Mapping of attributes", blocks=(Paragraph(text), Bullets(copied)))


def code_usage() -> Section:
    """Return annex E."""
    rows = tuple((one["code"], one["system"], one["meaning"]) for one in _created()["codes"])
    table = Table(
        title="Table A.E-1. Codes in created objects",
        columns=("Code", "Coding scheme", "Meaning"),
        rows=rows,
        widths=(30, 20, 50),
    )
    text = "99GLIONODE is the private scheme of this product, for concepts that no public scheme contains."
    return Section(number="A.E", title="Code set usage", blocks=(table, Paragraph(text)))
