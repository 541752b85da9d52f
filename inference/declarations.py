"""What a model had to do without, said of every answer."""

from conversion.decision import Decision
from inference.manifest import ModelManifest

__all__ = ["declarations"]


def declarations(
    manifest: ModelManifest, present: tuple[str, ...], *, core_known: bool, learned: bool, turned: bool
) -> tuple[Decision, ...]:
    """Return what is to be said of an answer.

    Parameters
    ----------
    present
        The sequences that the study has.
    core_known, learned
        Whether the core is told, and whether the networks learned it at all.
    turned
        Whether the networks were shown the axes of an atlas.
    """
    missing = _missing(manifest.channels, present)
    return (*missing, *_core(core_known, learned), *_axes(manifest.space, turned))


def _missing(channels: tuple[str, ...], present: tuple[str, ...]) -> list[Decision]:
    """Name the sequences that the model would take and the study lacks."""
    return [
        Decision(code="missing_sequence", subject=name, reason=f"no {name} in the study; the model ran without it")
        for name in channels
        if name not in present
    ]


def _core(core_known: bool, learned: bool) -> list[Decision]:  # noqa: FBT001 - two facts, one place of use
    """Say why nothing but the whole tumour is told."""
    if core_known:
        return []
    without = "without T1 after contrast, necrosis and enhancement cannot be told apart"
    reason = f"{without if learned else 'the networks for such an input learned no more'}: whole tumour only"
    return [Decision(code="whole_tumour_only", subject="regions", reason=reason)]


def _axes(space: str, turned: bool) -> list[Decision]:  # noqa: FBT001 - a fact, one place of use
    """Say that a model's axes could not be given to it."""
    if space == "native" or turned:
        return []
    reason = (
        "what was given could not be turned into the atlas' axes, which the model wants: the reference's were taken"
    )
    return [Decision(code="native_axes", subject="model", reason=reason)]
