"""The Conformance Statement: all its sections, in the order and with the numbers of PS3.2 Annex N."""

import json
from dataclasses import asdict

from dicom_node.conformance.configuration import configuration
from dicom_node.conformance.document import Document
from dicom_node.conformance.facts import PRODUCT, Facts
from dicom_node.conformance.network import network
from dicom_node.conformance.objects import code_usage, created_objects, mapping, report_content
from dicom_node.conformance.overview import implementation_model, introduction, overview
from dicom_node.conformance.security import audit_details, security
from dicom_node.conformance.services import services

__all__ = ["as_json", "statement"]


def statement(facts: Facts) -> Document:
    """Return the statement of a configuration. Section 2 is the table of contents, which each form of it makes."""
    return Document(
        title="DICOM Conformance Statement",
        product=PRODUCT,
        version=facts.product_version,
        made_at=f"{facts.at:%Y-%m-%d %H:%M} UTC",
        sections=(
            overview(),
            introduction(facts),
            implementation_model(facts),
            services(facts),
            configuration(facts),
            network(facts),
            security(facts),
            created_objects(),
            report_content(),
            audit_details(facts),
            mapping(),
            code_usage(),
        ),
    )


def as_json(document: Document) -> str:
    """Return a statement as JSON."""
    return json.dumps(asdict(document), indent=1, ensure_ascii=False)
