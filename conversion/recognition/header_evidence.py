"""Evidence from the header of a series: image type, sequence, geometry, times and words."""

import re
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from conversion.decision import Evidence
from conversion.recognition.derivation_evidence import REFORMAT_WEIGHT, derivation_evidence, derived_reformat
from conversion.recognition.geometry_evidence import geometry_evidence
from conversion.recognition.text_evidence import MADE, folded, text_evidence
from conversion.recognition.timing_evidence import LONG_ECHO_MS, timing_evidence
from conversion.sequences import REFORMAT, pulse_family
from conversion.study import Acquisition, Series

__all__ = ["header_evidence", "reformat_evidence"]

DIFFUSION_WEIGHT = 7.0
"""Weight of a b-value above zero: only diffusion has one."""

COLOUR_WEIGHT = 40.0
"""Weight of coloured pixels: a picture, whatever else the header states."""

_IMAGE_TYPES: Mapping[str, str] = MappingProxyType(
    {word: kind for kind, words in (
        ("ADC", ("ADC", "EADC", "ADC_UNSPECIFIED", "EXP_ADC")),
        ("DWI", ("DIFFUSION", "TRACEW", "DWI", "CALC_BVALUE", "ISOTROPIC", "DIFFUSION_ANISO")),
        ("map", ("FA", "TENSOR", "TENSOR_B0", "T1_MAP", "T1 MAP", "T2_MAP", "T2 MAP", "T2_STAR MAP", "T2* MAP",
                 "R2_STAR", "R2* MAP", "R2 MAP", "R1 MAP", "B1", "RFMAP", "QUANTITY", "COLFA", "DIVISION",
                 "STD_DEVIATION")),
        ("perfusion", ("PERFUSION", "ASL", "MTT", "TTP", "NRBV", "RCBV", "RCBF", "RELCBV", "RELCBF", "CBV", "CBF",
                       "PBP", "GBP", "TMAX")),
        ("SWI", ("SWI", "SWI_M")),
        ("phase", ("PHASE", "PHASE MAP", "PHASE_MAP", "VELOCITY MAP")),
        ("projection", ("MNIP", "MIP", "MINIP", "MIN IP", "MAX IP", "MIN_IP", "MAX_IP", "MEAN_IP", "MAXIMUM", "MINIMUM",
                        "MIN_INTENSITY", "VRT", "3D RENDERING")),
        ("subtraction", ("SUBTRACTION", "SUBTRACT", "SUBTRACTED", "SUB")),
        ("functional", ("FMRI", "T_MAP", "TTEST", "BOLD")),
        ("fat image", ("FAT", "DIXON_FAT", "OUT_PHASE", "OPP_PHASE")),
        ("localizer", ("LOCALIZER",)),
        ("picture", ("SCREEN SAVE", "SCREENSHOT", "SCREEN_SAVE", "GRAPH")),
        ("spectroscopy", ("SPECTROSCOPY", "SPECTRO", "SPECTRO_MAP")),
        ("angiography", ("ANGIO", "TOF", "FLOW_ENCODED", "VELOCITY")),
    ) for word in words}
)  # fmt: skip
"""Values of ImageType and FrameType (PS3.3 C.8.13.3.1; for calculated enhanced images C.8.16.1.4; the vendors'
conformance statements)."""

_ALSO_SOURCES = ("SWI", "DWI")
"""Kinds whose image type is also written into maps, projections and phase images computed from them."""

_REFORMATTED = {
    "PROJECTION IMAGE",
    "MPR",
    "CSA MPR",
    "CSAMPR",
    "CSAPARALLEL",
    "REFORMATTED",
    "RESAMPLED",
    "CURVED",
    "MPR_THICK",
}
"""Image types of reformatted volumes: Philips writes the first, GE writes REFORMATTED, Siemens the others."""

_ENHANCED: Mapping[str, tuple[str, float]] = MappingProxyType(
    {
        "T1": ("T1", 4.0), "T2": ("T2", 4.0), "FLUID_ATTENUATED": ("FLAIR", 5.0), "PROTON_DENSITY": ("PD", 5.0),
        "DIFFUSION": ("DWI", 7.0), "PERFUSION": ("perfusion", 7.0), "STIR": ("STIR", 6.0), "T2_STAR": ("T2*", 5.0),
        "TOF": ("angiography", 7.0), "FLOW_ENCODED": ("angiography", 6.0), "TAGGING": ("map", 5.0),
        "T1_STAR": ("map", 3.0), "TEMPERATURE": ("map", 6.0), "SPECTROSCOPY": ("spectroscopy", 7.0),
    }
)  # fmt: skip
"""AcquisitionContrast of enhanced MR (PS3.3 C.8.13.3.1.4)."""

_SEQUENCES = (
    ("DWI", 6.0, r"ep_c?b|ep2d_?diff|dwi|resolve|re_b\d|calc_b"),
    ("localizer", 6.0, r"_cal\b|calibration|localizer|aahead"),
    ("spectroscopy", 7.0, r"svs|csi|\bpress\b|\bsteam\b|probe"),
    ("perfusion", 6.0, r"tgse|asl"),
    ("perfusion", 2.5, r"epfid|feepi|ep2d_?perf"),
    ("functional", 2.0, r"epfid|feepi|ep2d_?bold"),
    ("SWI", 5.0, r"swi|swan"),
    ("angiography", 5.0, r"tof|\bpca\b|qflow|_pc[23]d|venc"),
    ("field map", 4.5, r"field"),
    ("steady state", 5.0, r"ci3d|ciss|fiesta|b-?ffe|b-?tfe|tfi[23]d|truefi"),
    ("T1", 3.5, r"t1_?flair|cubet1"),
    ("FLAIR", 4.0, r"(?<!t1)(?<!t1_)flair|spcir"),
    ("T2", 3.0, r"spcr|frfse|ssfse|haste|t2tse|h_?fse"),
    ("T1", 3.0, r"tfl3d|mprage|bravo|spgr|efgre3d(?!_cal)|t1tfe|t1tse|t1se"),
    ("T1", 1.5, r"t1_?ffe|fl3d_?vibe|vibe"),
)
"""Names in SequenceName (Siemens), PulseSequenceName (enhanced, GE) and Philips' scanning technique."""


def header_evidence(series: Series, siblings: Sequence[Series] = ()) -> tuple[Evidence, ...]:
    """Return the evidence in the header on the kind of a series, without contrast agent and reformatting.

    Parameters
    ----------
    siblings
        The other volumes of the same DICOM series.
    """
    return (
        *_image_type(series),
        *derivation_evidence(series.acquisition.derivation),
        *_sequence(series),
        *_diffusion(series, siblings),
        *geometry_evidence(series, siblings),
        *timing_evidence(series),
        *text_evidence(series),
    )


def reformat_evidence(series: Series) -> tuple[Evidence, ...]:
    """Return the evidence that a volume was reformatted from another one."""
    values = series.acquisition.image_type
    found = [
        Evidence(source="image type", kind=REFORMAT, weight=REFORMAT_WEIGHT, says=f"ImageType {value}")
        for value in values
        if value in _REFORMATTED
    ][:1]
    found = found or [*derived_reformat(series.acquisition.derivation)]
    if not found and set(values) & {"DERIVED", "SECONDARY"}:
        found.append(Evidence(source="image type", kind=REFORMAT, weight=1.5, says=f"ImageType {' '.join(values[:2])}"))
    match = re.search(
        r"\bmpr\w{0,1}\b|reform|\brfmt|\breco?n(str)?\b|ricostr|rekonstr|reconstr|reslice",
        folded(_words(series.acquisition)),
    )
    if match:
        says = f"description contains '{match.group(0)}'"
        found.append(Evidence(source="description", kind=REFORMAT, weight=4.0, says=says))
    return tuple(found)


def _words(acquisition: Acquisition) -> str:
    return f"{acquisition.description} {acquisition.protocol}"


def _image_type(series: Series) -> Iterable[Evidence]:
    if any(image.colour for image in series.images):
        yield Evidence(source="image type", kind="colour", weight=COLOUR_WEIGHT, says="its pixels are coloured")
    for kind, value in _typed(series.acquisition).items():
        weight = 5.0 if kind in _ALSO_SOURCES else MADE
        yield Evidence(source="image type", kind=kind, weight=weight, says=f"ImageType {value}")


def _typed(acquisition: Acquisition) -> Mapping[str, str]:
    """Return the kinds that an image type names, each with the value that names it."""
    kinds: dict[str, str] = {}
    for value in acquisition.image_type:
        if value in _IMAGE_TYPES:
            kinds.setdefault(_IMAGE_TYPES[value], value)
    # A real part is an ordinary image only after an inversion, as in the signed T1 of some protocols.
    if acquisition.component in ("phase", "imaginary") or (
        acquisition.component == "real" and not acquisition.inversion_time_ms
    ):
        kinds.setdefault("phase", acquisition.component)
    if "F" in acquisition.image_type[2:]:
        kinds.setdefault("fat image", "F")
    # The last step counts: a map of diffusion images, a projection of a difference.
    for made, source in (("ADC", "DWI"), ("projection", "subtraction")):
        if made in kinds:
            kinds.pop(source, None)
    return kinds


def _sequence(series: Series) -> Iterable[Evidence]:
    acquisition = series.acquisition
    best: dict[str, Evidence] = {}
    for kind, weight, pattern in _SEQUENCES:
        match = re.search(pattern, acquisition.technique)
        if match and (kind not in best or best[kind].weight < weight):
            says = f"sequence {acquisition.technique}"
            best[kind] = Evidence(source="sequence", kind=kind, weight=weight, says=says)
    yield from best.values()
    contrast = acquisition.acquisition_contrast
    if contrast in _ENHANCED:
        kind, weight = _ENHANCED[contrast]
        yield Evidence(source="sequence", kind=kind, weight=weight, says=f"AcquisitionContrast {contrast}")
    if _inverts_without_time(series):
        says = "inversion recovery with a long echo; no inversion time is given"
        yield Evidence(source="sequence", kind="FLAIR", weight=5.0, says=says)
        yield Evidence(source="sequence", kind="STIR", weight=2.0, says=says)


def _inverts_without_time(series: Series) -> bool:
    acquisition = series.acquisition
    inverts = "IR" in acquisition.scanning_sequence or re.search(r"\btir|spcir", acquisition.technique) is not None
    long_echo = (acquisition.echo_time_ms or 0.0) >= LONG_ECHO_MS
    return inverts and long_echo and not acquisition.inversion_time_ms and pulse_family(series) == "SE"


def _diffusion(series: Series, siblings: Sequence[Series]) -> Iterable[Evidence]:
    own = series.acquisition.diffusion_b_value or 0.0
    highest = max([own, *(sibling.acquisition.diffusion_b_value or 0.0 for sibling in siblings)])
    if highest > 0:
        says = f"b-value {own:g} s/mm²" if own else f"its DICOM series has b-values up to {highest:g} s/mm²"
        yield Evidence(source="image type", kind="DWI", weight=DIFFUSION_WEIGHT, says=says)
