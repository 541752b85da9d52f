"""Records the queries that this node sends to other nodes; the same one now and then, not each repetition."""

from collections.abc import Mapping
from urllib.parse import urlencode

from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import ImplicitVRLittleEndian

from dicom_node.audit.codes import Role
from dicom_node.audit.events import SearchAsked, remote_node
from dicom_node.audit.trail import AuditTrail

__all__ = ["record_query"]

_STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"


def record_query(trail: AuditTrail, ae_title: str, address: str, keys: Mapping[str, str], *, by_web: bool) -> None:
    """Record a query.

    Parameters
    ----------
    ae_title, address
        Of the node that was asked.
    keys
        What was asked for, by keyword; UIDs and the Patient ID, never a name.
    by_web
        Whether by QIDO-RS rather than by C-FIND.
    """
    if by_web:
        search = SearchAsked(text=urlencode(keys).encode(), what="QIDO-RS")
    else:
        transfer_syntax = {"TransferSyntax": str(ImplicitVRLittleEndian)}
        search = SearchAsked(text=_encoded(keys), sop_class=_STUDY_ROOT_FIND, details=transfer_syntax)
    asked = remote_node(ae_title, address, Role.DESTINATION, is_requestor=False)
    message = trail.report.asked(trail.report.itself(Role.SOURCE, is_requestor=True), asked, search)
    trail.record_once(("query", ae_title, address, tuple(keys.items())), message)


def _encoded(keys: Mapping[str, str]) -> bytes:
    """Return a query as C-FIND encodes it, in Implicit VR Little Endian."""
    ds = Dataset()
    ds.QueryRetrieveLevel = "STUDY"
    ds.SpecificCharacterSet = "ISO_IR 192"
    for keyword, value in keys.items():
        setattr(ds, keyword, value)
    stream = DicomBytesIO()
    stream.is_implicit_VR, stream.is_little_endian = True, True
    write_dataset(stream, ds)
    return stream.getvalue()
