"""What the listener accepts and answers: SOP classes, transfer syntaxes, statuses and rejections, in one place.

The listener works by these tables, and the Conformance Statement (`dicom_node.conformance`) shows them.
"""

from collections.abc import Mapping
from types import MappingProxyType

from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)
from pynetdicom import DEFAULT_TRANSFER_SYNTAXES
from pynetdicom.presentation import AllStoragePresentationContexts
from pynetdicom.sop_class import StorageCommitmentPushModel  # type: ignore[attr-defined]

__all__ = [
    "ACCEPTED_SOP_CLASSES",
    "ACCEPTED_TRANSFER_SYNTAXES",
    "BUSY",
    "CALLED_UNKNOWN",
    "CALLING_UNKNOWN",
    "COMMITMENT",
    "DATA_SET_MISMATCH",
    "FULL",
    "MISMATCHES",
    "NOT_AUTHORISED",
    "NO_SUCH_INSTANCE",
    "OUT_OF_RESOURCES",
    "PROCESSING_FAILURE",
    "SUCCESS",
    "VERIFICATION",
    "accepted_contexts",
]

ACCEPTED_TRANSFER_SYNTAXES: tuple[UID, ...] = (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    DeflatedExplicitVRLittleEndian,
    JPEGLSLossless,
    JPEG2000Lossless,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEGLosslessSV1,
    JPEGLossless,
    RLELossless,
    ExplicitVRBigEndian,
    JPEG2000,
    HTJ2K,
    JPEGLSNearLossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
)
"""If a peer proposes several in one presentation context, the first of these that it proposes is accepted.

Uncompressed syntaxes come before compressed ones and lossy ones last, so no sender is asked for a lossy encoding that
it could avoid. Lossy syntaxes are accepted because an archive with a lossy image has no other version of it. A result
based on such images states this (`viewer_integration.source_header`). Pixels that no decoder reads are refused with a
reason when they are read.
"""

VERIFICATION = UID("1.2.840.10008.1.1")
COMMITMENT = UID(str(StorageCommitmentPushModel))

ACCEPTED_SOP_CLASSES: tuple[UID, ...] = tuple(UID(str(one.abstract_syntax)) for one in AllStoragePresentationContexts)
"""Storage SOP classes: every one that the standard defines, so that a study arrives as a whole."""


def accepted_contexts() -> Mapping[UID, tuple[UID, ...]]:
    """Return the accepted transfer syntaxes by SOP class, in the order of preference."""
    plain = tuple(UID(str(one)) for one in DEFAULT_TRANSFER_SYNTAXES)
    storage = dict.fromkeys(ACCEPTED_SOP_CLASSES, ACCEPTED_TRANSFER_SYNTAXES)
    return MappingProxyType({VERIFICATION: plain, COMMITMENT: plain, **storage})


SUCCESS = 0x0000
OUT_OF_RESOURCES = 0xA700
DATA_SET_MISMATCH = 0xA900
NOT_AUTHORISED = 0x0124
NO_SUCH_INSTANCE = 0x0112
"""Status codes of the Storage Service Class (PS3.4 B.2.3) and of N-EVENT-REPORT (PS3.7 10.1.1)."""

PROCESSING_FAILURE = 0x0110
"""Status code of N-EVENT-REPORT (PS3.7 10.1.1)."""

MISMATCHES = ("uid_mismatch", "sop_class_mismatch", "sop_class_missing")

BUSY = {"result": 0x02, "source": 0x03, "diagnostic": 0x01}
FULL = {"result": 0x02, "source": 0x03, "diagnostic": 0x02}
CALLING_UNKNOWN = {"result": 0x01, "source": 0x01, "diagnostic": 0x03}
CALLED_UNKNOWN = {"result": 0x01, "source": 0x01, "diagnostic": 0x07}
"""A-ASSOCIATE-RJ (PS3.8 9.3.4). Transient, by the presentation service provider: temporary congestion, local limit
exceeded. Permanent, by the service user: calling or called AE title not recognised."""
