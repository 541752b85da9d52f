"""The configured DICOM peers of the node: what they may do, and the requests that the node sends them."""
