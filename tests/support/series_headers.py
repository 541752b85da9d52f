"""Series by their headers alone, as `conversion.reading` makes them, for tests that need no pixels."""

from pathlib import Path
from typing import Any

from conversion.errors import ConversionReason, UnreadableSeries
from conversion.recognition.recognise import Recognition, recognise
from conversion.recognition.site_rules import SiteRule
from conversion.study import Acquisition, ImageHeader, Series, SeriesUID, Study, StudyUID, Vector
from conversion.volume import ImageVolume

__all__ = ["headers_of", "kinds_of", "no_pixels", "recognised", "series_of", "study_of"]

_PLANES: dict[str, tuple[Vector, Vector, Vector]] = {
    "axial": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    "sagittal": ((0.0, 1.0, 0.0), (0.0, 0.0, -1.0), (-1.0, 0.0, 0.0)),
    "coronal": ((1.0, 0.0, 0.0), (0.0, 0.0, -1.0), (0.0, 1.0, 0.0)),
}
"""Row direction, column direction and the direction of the slices, in LPS."""

_SHORT = {
    "tr": "repetition_time_ms", "te": "echo_time_ms", "ti": "inversion_time_ms", "flip": "flip_angle_deg",
    "dims": "dimensions", "seq": "scanning_sequence", "tech": "technique", "itype": "image_type",
    "b": "diffusion_b_value", "agent": "contrast_agent", "at": "acquired_at", "maker": "manufacturer",
}  # fmt: skip


def headers_of(**header: Any) -> Acquisition:  # noqa: ANN401 - any field of Acquisition
    """Return a header from its fields, some under the short names that radiographers use."""
    fields = {_SHORT.get(key, key): value for key, value in header.items()}
    for key in ("scanning_sequence", "image_type"):
        if isinstance(fields.get(key), str):
            fields[key] = tuple(fields[key].split("\\"))
    fields.setdefault("image_type", ("ORIGINAL", "PRIMARY", "M"))
    text = f"{fields.get('description', '')} {fields.get('protocol', '')}".lower().replace("_", " ")
    return Acquisition(**({"text": text} | fields))


def series_of(
    number: int = 1,
    *,
    slices: int = 24,
    voxel_mm: float = 1.0,
    distance_mm: float = 6.0,
    plane: str = "axial",
    part: str = "",
    colour: bool = False,
    **header: Any,  # noqa: ANN401
) -> Series:
    """Return a series of a plane; `header` are fields of its `Acquisition`."""
    row, column, along = _PLANES[plane]
    images = tuple(
        ImageHeader(
            path=Path(f"{number}-{k}"),
            sop_instance_uid=f"1.{number}.{k}",
            instance_number=k + 1,
            rows=8,
            columns=8,
            position_mm=(along[0] * k * distance_mm, along[1] * k * distance_mm, along[2] * k * distance_mm),
            row_direction=row,
            column_direction=column,
            row_spacing_mm=voxel_mm,
            column_spacing_mm=voxel_mm,
            colour=colour,
        )
        for k in range(slices)
    )
    return Series(
        series_uid=SeriesUID(f"1.{number}"),
        part=part,
        number=number,
        sop_class_uid="1",
        frame_of_reference_uid="1.2.3",
        acquisition=headers_of(**header),
        images=images,
    )


def study_of(*series: Series) -> Study:
    """Return a study of series."""
    return Study(study_uid=StudyUID("1.2"), series=series, decisions=())


def no_pixels(series: Series) -> ImageVolume:
    """Refuse to read pixels, as for a series whose files are damaged."""
    raise UnreadableSeries(ConversionReason.UNREADABLE_PIXELS, f"{series.name}: no pixels")


def recognised(*series: Series, rules: tuple[SiteRule, ...] = ()) -> dict[int, Recognition]:
    """Return what series of one study are by their headers alone, by number."""
    return {r.series.number: r for r in recognise(study_of(*series), no_pixels, rules)}


def kinds_of(*series: Series, rules: tuple[SiteRule, ...] = ()) -> dict[int, str]:
    """Return the kinds of series of one study by their headers alone, by number."""
    return {number: recognition.kind for number, recognition in recognised(*series, rules=rules).items()}
