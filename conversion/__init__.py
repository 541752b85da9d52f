"""DICOM in, true geometry out."""
