"""The sequence that a file's name or folder tells, with names of the public sets and of hospitals."""

import pytest

from conversion.sequences import Role
from dicom_node.workbench.role_names import guess_role, guess_role_by_path, is_ground_truth

_NAMES = {
    Role.T1: (
        "Brats18_2013_11_1_t1.nii.gz",
        "BraTS-GLI-00000-000-t1n.nii.gz",
        "sub-01_T1w.nii.gz",
        "t1_mprage_sag.nii",
        "3DT1.nii",
        "MPRAGE.nii.gz",
        "Sag FSPGR.nii",
        "t1 nativ.nii",
        "T1_nativ_tra.nii.gz",
        "T1 ohne KM.png",
        "t1_vor_km.nii",
        "T1w_pre_contrast.nii",
        "t1_precontrast.nii.gz",
        "T1_non-contrast.nii",
        "T1 without contrast.nii",
        "T1_unenhanced.nii",
        "T1 pre Gd.nii",
        "t1_cor.nii",
        "t1_cube.nii.gz",
        "AX T1 FLAIR.nii",
        "t1_postop.nii",
        "T1_post_op.nii",
    ),
    Role.T1CE: (
        "BraTS20_Training_001_t1ce.nii",
        "BraTS2021_00000_t1ce.nii.gz",
        "BraTS-GLI-00000-000-t1c.nii.gz",
        "UPENN-GBM-00001_11_T1GD.nii.gz",
        "sub-01_ce-gadolinium_T1w.nii.gz",
        "t1_mprage_sag_km.nii",
        "t1_tse_tra_nach_KM.nii",
        "T1 mit KM.nii",
        "T1_Kontrastmittel.nii",
        "T1w_post_contrast.nii.gz",
        "T1 with contrast.nii",
        "T1 enhanced.nii",
        "AX T1 +C.dcm",
        "AX T1 C+.dcm",
        "AXT1POST.nii",
        "T1_GD.PNG",
        "CET1.nii",
        "T1wCE.nii",
        "post_T1.nii.gz",
        "mprage_gd.nii",
        "3D BRAVO +C.nii",
    ),
    Role.T2: (
        "BraTS19_CBICA_AAB_1_t2.nii.gz",
        "BraTS-GLI-00000-000-t2w.nii.gz",
        "sub-01_T2w.nii.gz",
        "t2_tse_tra.nii",
        "T2 fs.jpeg",
        "T2_postcontrast.nii",
        "ax_t2_propeller.tiff",
    ),
    Role.FLAIR: (
        "BraTS2021_00000_flair.nii.gz",
        "BraTS-GLI-00000-000-t2f.nii.gz",
        "sub-01_FLAIR.nii.gz",
        "FLAIR_dark_fluid.nii",
        "t2_tirm_tra_dark-fluid.nii",
        "t2_space_dark-fluid_sag.nii",
        "t2_spc_da-fl_sag.nii",
        "T2-weighted FLAIR.nii",
        "t2flair.nii",
        "FLAIR post contrast.nii",
        "tirm.nii",
    ),
}


@pytest.mark.parametrize(("name", "role"), [(name, role) for role, names in _NAMES.items() for name in names])
def test_a_name_tells_the_sequence_that_a_radiologist_reads_in_it(name: str, role: Role) -> None:
    assert guess_role(name) is role


@pytest.mark.parametrize(
    "name",
    [
        "scan1.nii.gz",
        "image.png",
        "IMG_0001.jpg",
        "12.nii.gz",
        "patient1.nii",
        "patient12.nii",
        "part2.nii",
        "t10.nii",
        "DWI_b1000.nii",
        "t2star.nii",
        "gd.nii",
        "post_contrast.nii",
        "BRATS_001.nii.gz",
        "BRATS_001_0002.nii.gz",  # the order of channels differs between sets that are named so
        ".nii.gz",
        "",
    ],
)
def test_a_name_that_tells_nothing_is_not_guessed(name: str) -> None:
    assert guess_role(name) is None


@pytest.mark.parametrize(
    "name",
    [
        "BraTS20_Training_001_seg.nii.gz",
        "BraTS-GLI-00000-000-seg.nii.gz",
        "TCGA_CS_4941_19960909_1_mask.tif",
        "labels.nii",
        "tumor segmentation.nii.gz",
        "GT.png",
        "ground-truth.nii",
        "ROI.nii",
    ],
)
def test_names_of_ground_truths(name: str) -> None:
    assert is_ground_truth(name)


@pytest.mark.parametrize(
    "name", ["flair.nii", "t1_segmented_brain.nii.gz", "unmasked_t1.nii", "segments.png", "weight.nii"]
)
def test_names_of_images_are_none(name: str) -> None:
    assert not is_ground_truth(name)


@pytest.mark.parametrize(
    ("path", "role"),
    [
        ("flair/img.nii.gz", Role.FLAIR),
        ("T1ce/vol.nii", Role.T1CE),
        ("case/anat/t2.nii", Role.T2),
        ("T1_post_contrast/scans/0001.nii", Role.T1CE),
        ("T1/t2w/vol.nii", Role.T2),
        ("flair/t1.nii.gz", Role.T1),
        ("/t1/vol.nii", Role.T1),
        ("t1/t1_and_t2/vol.nii", Role.T1),
        ("T2 FLAIR/vol.nii", Role.FLAIR),
        ("t1_t2_flair/vol.nii", None),
        ("case/anat/vol.nii", None),
        ("vol.nii", None),
        ("", None),
        ("/", None),
    ],
)
def test_the_nearest_folder_tells_what_the_name_does_not(path: str, role: Role | None) -> None:
    assert guess_role_by_path(path) is role
