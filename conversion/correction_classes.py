"""SOP classes of what a person makes about a study in a viewer: segmentations and structured reports (PS3.4 B.5)."""

from pydicom.uid import (
    UID,
    BasicTextSRStorage,
    Comprehensive3DSRStorage,
    ComprehensiveSRStorage,
    EnhancedSRStorage,
    ExtensibleSRStorage,
    SegmentationStorage,
)

__all__ = ["CORRECTIONS", "REPORTS", "SEGMENTATIONS"]

SEGMENTATIONS = (SegmentationStorage, UID("1.2.840.10008.5.1.4.1.1.66.7"))
"""Segmentation, and Label Map Segmentation, which pydicom's dictionary lacks."""

REPORTS = (
    BasicTextSRStorage,
    EnhancedSRStorage,
    ComprehensiveSRStorage,
    Comprehensive3DSRStorage,
    ExtensibleSRStorage,
)
CORRECTIONS = (*SEGMENTATIONS, *REPORTS)
