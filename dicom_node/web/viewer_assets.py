"""Fetches programs that pages consist of, OHIF, NiiVue and Swagger UI: ``python -m dicom_node.web.viewer_assets``."""

import argparse
import sys
from pathlib import Path

from dicom_node.settings import Settings, read_settings
from dicom_node.web.npm_package import BundleError, NpmPackage, cache_folder, install_package
from viewer_integration.ohif import OHIF_INTEGRITY, OHIF_PACKAGE, OHIF_VERSION

__all__ = ["NIIVUE", "OHIF", "SWAGGER", "default_folder", "main", "niivue_folder", "ohif_folder", "swagger_folder"]

OHIF = NpmPackage(
    title="OHIF",
    name=OHIF_PACKAGE,
    version=OHIF_VERSION,
    integrity=OHIF_INTEGRITY,
    left_out=("ort", "dicom-microscopy-viewer"),  # neural networks and slide microscopy: not used here, 150 MB
    megabytes=50,
)

NIIVUE = NpmPackage(
    title="NiiVue",
    name="@niivue/niivue",
    version="0.69.0",
    integrity="sha512-YMjQvJgD1W2b7DuoxkwlC4VxbrgIePRJ5qyQzXKxi2v2MBVg285P/CIQyg46oDDGDIcaNlbd+MhtO/edMbXJkA==",
    only=("index.js",),
    megabytes=7,
)
"""The viewer of the workbench (BSD-2-Clause)."""

SWAGGER = NpmPackage(
    title="Swagger UI",
    name="swagger-ui-dist",
    version="5.35.0",
    integrity="sha512-U06rpMtW9V3XPGOBeamTUSr0Z09jMX4IJuANpE/EZbAhw0G8CgwrzU4YmXkn/h0wCDNsXdGarTNNHC3sU8yVUQ==",
    folder="",
    only=("LICENSE", "NOTICE", "swagger-ui-bundle.js", "swagger-ui-bundle.js.LICENSE.txt", "swagger-ui.css"),
    megabytes=4,
)
"""The documentation of the API (Apache-2.0)."""


def default_folder() -> Path:
    """Return the folder in the user's cache to which OHIF is unpacked."""
    return cache_folder(f"ohif-{OHIF_VERSION}")


def ohif_folder(settings: Settings) -> Path:
    """Return the folder of the built OHIF: setting ``viewer.folder``, or the user's cache."""
    return Path(settings.viewer.folder) if settings.viewer.folder else default_folder()


def niivue_folder(settings: Settings) -> Path:
    """Return the folder of NiiVue, beside that of OHIF."""
    return _beside(ohif_folder(settings), "niivue", NIIVUE)


def swagger_folder(settings: Settings) -> Path:
    """Return the folder of Swagger UI, beside that of OHIF."""
    return _beside(ohif_folder(settings), "swagger", SWAGGER)


def _beside(ohif: Path, name: str, package: NpmPackage) -> Path:
    return ohif.parent / f"{name}-{package.version}"


def main(arguments: list[str] | None = None) -> int:
    """Install them for this user and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m dicom_node.web.viewer_assets", description=__doc__)
    parser.add_argument(
        "--folder", type=Path, help="folder for OHIF (default: setting viewer.folder, or a cache folder)"
    )
    options = parser.parse_args(arguments)
    folder = options.folder or ohif_folder(read_settings())
    try:
        install_package(OHIF, folder)
        install_package(NIIVUE, _beside(folder, "niivue", NIIVUE))
        install_package(SWAGGER, _beside(folder, "swagger", SWAGGER))
    except (BundleError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
