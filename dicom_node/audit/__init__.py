"""Audit trail: who looked at or changed what, as DICOM messages (PS3.15 A.5) in a file that shows tampering."""
