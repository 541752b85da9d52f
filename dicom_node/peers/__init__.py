"""DICOM applications that the node knows: what they may do, and what they are asked."""
