"""Decisions that state with every result what the model had to do without."""

from conversion.decision import Decision
from inference.manifest import ModelManifest

__all__ = ["declarations"]


def declarations(
    manifest: ModelManifest, present: tuple[str, ...], *, core_known: bool, trained: bool, atlas_axes: bool
) -> tuple[Decision, ...]:
    """Return the decisions that state the limits of a result.

    Parameters
    ----------
    present
        The sequences that the study has.
    core_known, trained
        Whether the core is segmented, and whether the networks were trained on it at all.
    atlas_axes
        Whether the images were reoriented to the axes of the atlas.
    """
    missing = _missing(manifest.channels, present)
    return (*missing, *_core(core_known, trained), *_axes(manifest.space, atlas_axes))


def _missing(channels: tuple[str, ...], present: tuple[str, ...]) -> list[Decision]:
    """Name the sequences that the model can use and the study lacks."""
    return [
        Decision(code="missing_sequence", subject=name, reason=f"no {name} in the study; the model ran without it")
        for name in channels
        if name not in present
    ]


def _core(core_known: bool, trained: bool) -> list[Decision]:  # noqa: FBT001 - two facts, one place of use
    """State why only the whole tumour is segmented."""
    if core_known:
        return []
    without = "without T1 after contrast, necrosis and enhancement cannot be told apart"
    untrained = "the networks for such images were not trained on its parts"
    reason = f"only the whole tumour is segmented: {without if trained else untrained}"
    return [Decision(code="whole_tumour_only", subject="regions", reason=reason)]


def _axes(space: str, atlas_axes: bool) -> list[Decision]:  # noqa: FBT001 - a fact, one place of use
    """State that the images could not be reoriented to the axes that the model expects."""
    if space == "native" or atlas_axes:
        return []
    reason = (
        "the images could not be reoriented to the axes of the atlas, which the model expects; the axes of the "
        "reference were used"
    )
    return [Decision(code="native_axes", subject="model", reason=reason)]
