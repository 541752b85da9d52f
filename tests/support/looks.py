"""Looks at pages as people with different screens do: pictures, faults by axe-core, and what is too wide."""

import os
import time
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page

from tests.support.axe import serious_faults

__all__ = ["DESK", "PHONE", "Looks"]

DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
_QUALITY = 82  # a third of the size of a PNG, and the colours of the regions stay


class Looks:
    """Takes a picture of each page on a desk and on a phone, and collects what axe finds.

    Parameters
    ----------
    folder
        Where the pictures go.
    kept
        Folder in the repository for the pictures that are shown in its manuals. They are renewed only while the
        variable ``GLIONODE_UPDATE_SCREENSHOT`` is set, so that a test changes nothing.
    """

    def __init__(self, folder: Path, kept: Path | None = None) -> None:
        self._folder = folder
        self._kept = kept if os.environ.get("GLIONODE_UPDATE_SCREENSHOT") else None
        self.faults: list[str] = []

    def at(self, page: Page, name: str) -> None:
        """Look at a whole page."""
        page.wait_for_load_state()
        for size in (PHONE, DESK):
            page.set_viewport_size(size)
            # Once the browser has laid the page out anew: it does so some time after its window has another size.
            deadline = time.monotonic() + 10
            while page.evaluate("document.documentElement.scrollWidth") > size["width"]:
                assert time.monotonic() < deadline, f"{name} is wider than {size['width']}"
                page.wait_for_timeout(50)
            self.faults += [f"{name}: {fault}" for fault in serious_faults(page)]
            page.screenshot(path=self._folder / f"{name}_{size['width']}.png", full_page=True)

    def keep(self, page: Page, name: str) -> None:
        """Look at what a window shows, and keep the picture for the manuals; ``name`` is that of the file."""
        taken = self._folder / f"{name}.png"
        page.screenshot(path=taken)
        if self._kept is not None:
            self._kept.mkdir(exist_ok=True)
            with Image.open(taken) as picture:
                kept = (self._kept / name).with_suffix(".jpg")
                picture.convert("RGB").save(kept, quality=_QUALITY, subsampling=1, optimize=True)
