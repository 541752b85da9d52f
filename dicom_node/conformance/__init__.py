"""The DICOM Conformance Statement (PS3.2 Annex N), made from the live configuration."""
