"""Draws the pictures of the panel's page Help: one slice of the synthetic head of ``glionode demo``.

Run ``python -m benchmarks.help_pictures``. It made the committed pictures in ``dicom_node/web/static/help``, which it
replaces: the four sequences, each region alone on the sequence that shows it best, and all regions in one picture. The
same phantom gives the same pictures.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from dicom_node.phantom.anatomy import Tissue
from dicom_node.phantom.contrast import SEQUENCES, signal
from dicom_node.phantom.phantom import DEMO_PLAN, make_phantom
from inference.regions import Label
from viewer_integration.codes import SEGMENTS

FOLDER = Path(__file__).parents[1] / "dicom_node" / "web" / "static" / "help"
HEIGHT = 290
OVERVIEW_HEIGHT = 440
MARGIN = 6
SHADES = 51
"""Grey levels: one palette of 256 colours holds them alone and under each of four colours."""

WHITE = 99.7
HEADROOM = 1.2
"""White is this multiple of a percentile of the brain."""

SOFTNESS = 0.8
TINT = 0.4
"""Share of a region's colour inside its outline; the image stays visible."""

PARTS = (Label.NCR, Label.ED, Label.ET)
REGIONS = {
    "ncr": ("T1CE", (Label.NCR,)),
    "ed": ("FLAIR", (Label.ED,)),
    "et": ("T1CE", (Label.ET,)),
    "tc": ("T1CE", (Label.NCR, Label.ET)),
    "wt": ("FLAIR", (Label.WHOLE_TUMOUR,)),
}
"""File name to the sequence under the region and what is coloured on it."""

Plane = NDArray[np.uint8]
Image2D = NDArray[np.float32]


def main() -> None:
    """Draw and write every picture."""
    phantom = make_phantom(DEMO_PLAN)
    labels = phantom.tumour.labels
    index = int((labels > 0).sum(axis=(1, 2)).argmax())
    window = _around(phantom.head.tissue[index] > 0)
    brain = phantom.head.tissue[index][window] == Tissue.BRAIN
    zoom = HEIGHT / (window[0].stop - window[0].start)
    drawn = _zoomed_labels(labels[index][window], zoom)
    images = {}
    for role in SEQUENCES:
        image = signal(role, phantom.head, phantom.tumour, DEMO_PLAN.seed)[index][window]
        images[role] = image / (
            HEADROOM * np.percentile(image[brain], WHITE)
        )  # by the brain: fat is brighter, and means nothing
    grey = {role: _grey(image, zoom) for role, image in images.items()}
    FOLDER.mkdir(exist_ok=True)
    for role, image in grey.items():
        _write(role.lower(), image, drawn)
    whole = np.where(drawn > 0, np.uint8(Label.WHOLE_TUMOUR), np.uint8(0))
    for name, (role, coloured) in REGIONS.items():
        _write(name, grey[role], whole if Label.WHOLE_TUMOUR in coloured else drawn, coloured)
    closer = _around(labels[index][window] > 0, 14)
    zoom = OVERVIEW_HEIGHT / (closer[0].stop - closer[0].start)
    _write("all", _grey(images["T1CE"][closer], zoom), _zoomed_labels(labels[index][window][closer], zoom), PARTS)


def _around(mask: NDArray[np.bool_], margin: int = MARGIN) -> tuple[slice, slice]:
    """Return the box around a mask, which margins may enlarge up to the edge of the slice."""
    rows, columns = ndimage.find_objects(mask.astype(np.uint8))[0]
    return tuple(  # type: ignore[return-value]  # two slices
        slice(max(part.start - margin, 0), min(part.stop + margin, length))
        for part, length in zip((rows, columns), mask.shape, strict=True)
    )


def _grey(image: Image2D, zoom: float) -> Plane:
    """Return an enlarged image with grey levels 0 to `SHADES` - 1, of which the last is 1 and more."""
    return np.asarray(np.clip(ndimage.zoom(image, zoom) * (SHADES - 1), 0, SHADES - 1).round(), np.uint8)


def _zoomed_labels(labels: Plane, zoom: float) -> Plane:
    """Enlarge each label by itself, softened, and take the strongest, so that outlines have no steps."""
    soft = (ndimage.gaussian_filter((labels == value).astype(np.float32), SOFTNESS) for value in (0, *PARTS))
    return np.asarray(np.argmax([ndimage.zoom(weight, zoom, order=1) for weight in soft], axis=0), np.uint8)


def _write(name: str, grey: Plane, drawn: Plane, coloured: Sequence[Label] = ()) -> None:
    """Write a picture: tinted inside of what is coloured, with an outline in the colour that a SEG recommends."""
    shades = np.repeat(np.linspace(0, 255, SHADES)[:, np.newaxis], 3, axis=1)
    colours = [np.asarray([SEGMENTS[label].rgb], np.float64) for label in coloured]
    palette = [shades, *((1 - TINT) * shades + TINT * colour for colour in colours), *colours]
    picture = grey.copy()
    for number, label in enumerate(coloured):
        inside = drawn == label
        edge = inside & ~ndimage.binary_erosion(inside, iterations=2)
        picture[inside] += (number + 1) * SHADES
        picture[edge] = (len(coloured) + 1) * SHADES + number
    image = Image.fromarray(picture)
    image.putpalette(np.concatenate(palette).round().astype(np.uint8).tobytes())
    image.save(FOLDER / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
