"""OHIF in headless Chromium: opening a study, and what can be seen of it."""

import contextlib
import io
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from playwright.sync_api import Browser, Error, Page, sync_playwright

_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-dev-shm-usage",
)
_NO_TOUR = 'localStorage.setItem("shownTours", JSON.stringify(["basicViewerTour"]))'
_SEGMENTS_SHOWN = """() => {
  const services = window.services;
  const viewport = services.viewportGridService.getActiveViewportId();
  const shown = services.segmentationService.getSegmentationRepresentations(viewport);
  return shown.flatMap(one => Object.values(one.segments)).map(one => one.segmentIndex);
}"""
_SEGMENT_LABELS = """() => {
  const services = window.services;
  return services.segmentationService.getSegmentations().flatMap(
    one => Object.values(one.segments).map(segment => segment.label));
}"""
_SHOW_SLICE = """async fraction => {
  const services = window.services;
  const id = services.viewportGridService.getActiveViewportId();
  const viewport = services.cornerstoneViewportService.getCornerstoneViewport(id);
  const index = Math.round(fraction * (viewport.getNumberOfSlices() - 1));
  await viewport.setImageIdIndex(index);
  viewport.render();
  return viewport.getCurrentImageIdIndex() === index;
}"""
_CANVAS = "canvas.cornerstone-canvas"
_SATURATION = 24  # grey levels between the channels: images are grey, overlays are not
_LIKENESS = 0.97  # cosine between the colour of a pixel and that of a segment, both without their grey part


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Start Debian's Chromium without a window."""
    program = shutil.which("chromium")
    if program is None:
        message = "chromium is not installed (Debian package chromium)"
        raise FileNotFoundError(message)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(_FLAGS))
        try:
            yield browser
        finally:
            browser.close()


def open_study(browser: Browser, link: str, *, segments: int = 0, timeout_s: float = 120) -> Page:
    """Open a study link and wait until its images, and as many segments as expected, are shown.

    Parameters
    ----------
    browser
        A running browser.
    link
        What `viewer_integration.ohif.study_link` returned, with the SEG's series for segments, or the SR's for a
        report.
    segments
        How many segments the active viewport must show.
    timeout_s
        Deadline in seconds.
    """
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    context.add_init_script(_NO_TOUR)
    page = context.new_page()
    page.set_default_timeout(timeout_s * 1000)
    page.goto(link)
    page.get_by_role("button", name="Confirm and hide").click()
    if segments:
        _poll(page, lambda: len(page.evaluate(_SEGMENTS_SHOWN)) >= segments, timeout_s, "the segments are not shown")
    return page


def segment_labels(page: Page) -> list[str]:
    """Return the labels of the segments that the page has loaded."""
    labels: list[str] = page.evaluate(_SEGMENT_LABELS)
    return labels


def show_slice(page: Page, fraction: float, *, timeout_s: float = 60) -> None:
    """Show a slice of the active viewport: 0 is its first one, 1 its last.

    The viewport is replaced while a segmentation loads, so the jump is repeated until it holds.
    """
    held = 0

    def jump() -> bool:
        nonlocal held
        held = held + 1 if page.evaluate(_SHOW_SLICE, fraction) else 0
        return held >= 2

    _poll(page, jump, timeout_s, "the slice is not shown")


def overlay_mask(
    page: Page, colour: tuple[int, int, int], *, expected: bool = True, timeout_s: float = 60
) -> npt.NDArray[np.bool_]:
    """Return which pixels of the active viewport carry a segment's colour.

    Screenshots are taken until two in a row have as many, and while an overlay is expected until there is one.

    Parameters
    ----------
    page
        A page that `open_study` returned.
    colour
        The segment's recommended colour in sRGB, 0 to 255.
    expected
        Whether to wait for the overlay until the deadline; what is seen is returned in any case.
    timeout_s
        Deadline in seconds.
    """
    deadline = time.monotonic() + timeout_s
    previous = -1
    while True:
        mask = _coloured(page.locator(_CANVAS).first.screenshot(), colour)
        count = int(mask.sum())
        settled = count == previous and (count > 0 or not expected)
        if settled or time.monotonic() > deadline:
            return mask
        previous = count
        page.wait_for_timeout(200)


def overlay_pixels(page: Page, colour: tuple[int, int, int], *, expected: bool = True, timeout_s: float = 60) -> int:
    """Count the pixels that `overlay_mask` finds."""
    return int(overlay_mask(page, colour, expected=expected, timeout_s=timeout_s).sum())


def _coloured(png: bytes, colour: tuple[int, int, int]) -> npt.NDArray[np.bool_]:
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), dtype=np.float64)
    hue = pixels - pixels.mean(axis=-1, keepdims=True)
    wanted = np.asarray(colour, dtype=np.float64) - np.mean(colour)
    strength = np.linalg.norm(hue, axis=-1)
    likeness = hue @ wanted / np.maximum(strength * np.linalg.norm(wanted), 1e-9)
    return np.asarray((strength > _SATURATION) & (likeness > _LIKENESS))


def report_text(page: Page, awaited: str, *, timeout_s: float = 60) -> str:
    """Return the text of the page once it holds what is awaited, such as ``ml``; else as it is at the deadline."""
    with contextlib.suppress(TimeoutError):
        _poll(page, lambda: awaited in page.inner_text("body"), timeout_s, "the text is not shown")
    return page.inner_text("body")


def take_screenshot(page: Page, path: Path) -> None:
    """Save what the page shows as PNG."""
    page.screenshot(path=path)


def _poll(page: Page, condition: Callable[[], bool], timeout_s: float, message: str) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        with contextlib.suppress(Error):  # a service of the page that is not there yet
            if condition():
                return
        page.wait_for_timeout(100)
    raise TimeoutError(message)
