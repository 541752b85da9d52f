"""Finds the instances that an object made from others refers to: a segmentation or a structured report."""

from collections.abc import Iterable, Iterator

from pydicom import Dataset

from conversion.values import identifier, items

__all__ = ["frame_sources", "header_references", "referenced_instances"]


def referenced_instances(ds: Dataset) -> Iterator[str]:
    """Yield every instance that a segmentation or a report refers to, some more than once.

    Those that its header names (Common Instance Reference, PS3.3 C.12.2), those that its evidence names (PS3.3 C.17.2)
    and the sources of its frames.
    """
    yield from header_references(ds)
    for keyword in ("CurrentRequestedProcedureEvidenceSequence", "PertinentOtherEvidenceSequence"):
        for study in items(ds, keyword):
            for series in items(study, "ReferencedSeriesSequence"):
                yield from _uids(items(series, "ReferencedSOPSequence"))
    yield from frame_sources(ds)


def header_references(ds: Dataset) -> Iterator[str]:
    """Yield the instances that the header names (Common Instance Reference, PS3.3 C.12.2)."""
    for series in items(ds, "ReferencedSeriesSequence"):
        yield from _uids(items(series, "ReferencedInstanceSequence"))


def frame_sources(ds: Dataset) -> Iterator[str]:
    """Yield the source images of the frames (Derivation Image, PS3.3 C.7.6.16.2.6)."""
    groups = (*items(ds, "SharedFunctionalGroupsSequence"), *items(ds, "PerFrameFunctionalGroupsSequence"))
    for group in groups:
        for derivation in items(group, "DerivationImageSequence"):
            yield from _uids(items(derivation, "SourceImageSequence"))


def _uids(references: Iterable[Dataset]) -> Iterator[str]:
    for reference in references:
        if uid := identifier(reference, "ReferencedSOPInstanceUID"):
            yield uid
