"""axe-core on a page: what people who use a keyboard, a screen reader or a poor display would stumble over."""

from functools import lru_cache

from playwright.sync_api import Page

from dicom_node.web.npm_package import NpmPackage, cache_folder, install_package

__all__ = ["serious_faults"]

AXE = NpmPackage(
    title="axe-core",
    name="axe-core",
    version="4.14.1",
    integrity="sha512-FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==",
    folder="",
    only=("axe.min.js",),
    megabytes=1,
)
"""A judge of tests alone (MPL-2.0); the product does not carry it."""

_RUN = """async () => {
  const found = await axe.run(document, { resultTypes: ['violations'] });
  return found.violations.filter(one => ['serious', 'critical'].includes(one.impact))
    .map(one => `${one.id}: ${one.help}: ${one.nodes.map(node => node.html).slice(0, 3).join(' | ')}`);
}"""


@lru_cache
def _script() -> str:
    folder = cache_folder(f"axe-{AXE.version}")
    install_package(AXE, folder)
    return (folder / "axe.min.js").read_text("utf-8")


def serious_faults(page: Page) -> list[str]:
    """Return the serious and critical faults of a page, each with the first of its places."""
    page.evaluate(_script())
    faults: list[str] = page.evaluate(_RUN)
    return faults
