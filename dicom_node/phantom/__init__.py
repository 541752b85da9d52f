"""The synthetic study: a head with a tumour known to the voxel, and the DICOM files of its series."""
