"""SOP classes of what a person makes about a study in a viewer: segmentations and structured reports (PS3.4 B.5)."""

from pydicom.uid import (
    BasicTextSRStorage,
    Comprehensive3DSRStorage,
    ComprehensiveSRStorage,
    EnhancedSRStorage,
    ExtensibleSRStorage,
)

from conversion.segmentation_reading import SEGMENTATIONS

__all__ = ["CORRECTIONS", "REPORTS"]

REPORTS = (
    BasicTextSRStorage,
    EnhancedSRStorage,
    ComprehensiveSRStorage,
    Comprehensive3DSRStorage,
    ExtensibleSRStorage,
)
CORRECTIONS = (*SEGMENTATIONS, *REPORTS)
