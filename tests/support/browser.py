"""OHIF in headless Chromium: opening a study, and what can be seen of it."""

import contextlib
import io
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
from PIL import Image
from playwright.sync_api import Browser, Error, FloatRect, Page, sync_playwright

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
_SHOWN_IMAGES = """() => {
  const services = window.services;
  const ids = [...services.viewportGridService.getState().viewports.keys()];
  return ids.map(id => services.cornerstoneViewportService.getCornerstoneViewport(id).getCurrentImageId());
}"""
_SHOWN_PLANES = """() => {
  const services = window.services;
  const ids = [...services.viewportGridService.getState().viewports.keys()];
  return ids.map(id => {
    const viewport = services.cornerstoneViewportService.getCornerstoneViewport(id);
    const {focalPoint, viewPlaneNormal, viewUp} = viewport.getCamera();
    return [focalPoint, viewPlaneNormal, viewUp];
  });
}"""
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


@dataclass(kw_only=True)
class Watched:
    """What a page has done since it was opened: the hosts that it asked, and its errors."""

    hosts: set[str] = field(default_factory=set)
    errors: list[str] = field(default_factory=list)

    def watch(self, page: Page) -> None:
        """Begin to watch a page."""
        page.on("request", lambda request: self.hosts.add(urlsplit(request.url).hostname or ""))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda line: self.errors.extend([line.text] if line.type == "error" else []))


def open_study(
    browser: Browser,
    link: str,
    *,
    segments: int = 0,
    timeout_s: float = 120,
    watched: Watched | None = None,
    cookies: Mapping[str, str] = MappingProxyType({}),
) -> Page:
    """Open a study link and wait until its images, and as many segments as expected, are shown.

    Parameters
    ----------
    browser
        A running browser.
    link
        What `viewer_integration.ohif.study_link` returned, with the SEG's series for segments, or the SR's for a
        report; or a one-time link to the panel that leads on to the viewer.
    segments
        How many segments the active viewport must show.
    timeout_s
        Deadline in seconds.
    watched
        Collects what the page does.
    cookies
        Of a session, by name.
    """
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    where = {"domain": urlsplit(link).hostname or "", "path": "/"}
    context.add_cookies([{"name": name, "value": value, **where} for name, value in cookies.items()])
    page = context.new_page()
    page.set_default_timeout(timeout_s * 1000)
    if watched is not None:
        watched.watch(page)
    page.goto(link)
    if "/login?token=" in link:
        page.get_by_role("button", name="Open the panel").click()
    if segments:
        await_segments(page, segments, timeout_s=timeout_s)
    return page


def await_segments(page: Page, segments: int, *, timeout_s: float = 120) -> None:
    """Wait until the active viewport of OHIF shows as many segments."""
    _poll(page, lambda: len(page.evaluate(_SEGMENTS_SHOWN)) >= segments, timeout_s, "the segments are not shown")


def segment_labels(page: Page) -> list[str]:
    """Return the labels of the segments that the page has loaded."""
    labels: list[str] = page.evaluate(_SEGMENT_LABELS)
    return labels


def shown_images(page: Page, expected: Sequence[str], *, timeout_s: float = 30) -> list[str]:
    """Return the SOP instance UIDs that the viewports show, from the left, once they are as expected or it is late."""
    shown: list[str] = []

    def as_expected() -> bool:
        nonlocal shown
        shown = [str(image).partition("/instances/")[2].partition("/")[0] for image in page.evaluate(_SHOWN_IMAGES)]
        return shown == list(expected)

    with contextlib.suppress(TimeoutError):
        _poll(page, as_expected, timeout_s, "other images are shown")
    return shown


def shown_planes(page: Page, expected: Sequence[float], *, timeout_s: float = 30) -> npt.NDArray[np.float64]:
    """Return a point, the normal and the upward direction of the plane that each viewport shows, from the left (LPS).

    Parameters
    ----------
    page
        A page that `open_study` returned.
    expected
        How far, in mm, the planes lie along their normals; they are returned once this is so, or it is late.
    timeout_s
        Deadline in seconds.
    """
    planes = np.zeros((0, 3, 3))

    def as_expected() -> bool:
        nonlocal planes
        planes = np.array(page.evaluate(_SHOWN_PLANES))
        along = (planes[:, 0] * planes[:, 1]).sum(axis=1)
        return len(along) == len(expected) and np.allclose(along, expected, atol=0.01)

    with contextlib.suppress(TimeoutError):
        _poll(page, as_expected, timeout_s, "other planes are shown")
    return planes


def turn_wheel(page: Page, viewport: int, notches: int) -> None:
    """Turn the mouse wheel over a viewport, as a user does who scrolls towards the end of its images."""
    page.locator(_CANVAS).nth(viewport).hover()
    page.mouse.wheel(0, 100 * notches)


def box_of(page: Page, selector: str) -> FloatRect:
    """Return where an element lies on the page, in pixels."""
    box = page.locator(selector).bounding_box()
    if box is None:
        message = f"{selector} is not shown"
        raise AssertionError(message)
    return box


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
    page: Page, colour: tuple[int, int, int], *, expected: bool = True, timeout_s: float = 60, viewport: int = 0
) -> npt.NDArray[np.bool_]:
    """Return which pixels of a viewport carry a segment's colour.

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
    viewport
        Number of the viewport, 0 the first.
    """
    deadline = time.monotonic() + timeout_s
    previous = -1
    while True:
        mask = _coloured(page.locator(_CANVAS).nth(viewport).screenshot(), colour)
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


def _poll(page: Page, condition: Callable[[], bool], timeout_s: float, message: str) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        with contextlib.suppress(Error):  # a service of the page that is not there yet
            if condition():
                return
        page.wait_for_timeout(100)
    raise TimeoutError(message)
