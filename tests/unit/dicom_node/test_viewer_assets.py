"""Fetching and unpacking OHIF, NiiVue and Swagger UI."""

import base64
import hashlib
import io
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from dicom_node.settings import read_settings
from dicom_node.web.npm_package import BundleError, NpmPackage, install_package
from dicom_node.web.viewer_assets import (
    NIIVUE,
    OHIF,
    SWAGGER,
    default_folder,
    main,
    niivue_folder,
    ohif_folder,
    swagger_folder,
)
from viewer_integration.ohif import OHIF_INTEGRITY, OHIF_VERSION

_MEMBERS = {
    "package/package.json": b"{}",
    "package/dist/index.html": b"<title>OHIF</title>",
    "package/dist/assets/logo.svg": b"<svg/>",
    "package/dist/app.js.map": b"{}",
    "package/dist/ort/big.wasm": b"big",
    "package/dist/dicom-microscopy-viewer/big.js": b"big",
    "package/dist/../../outside.txt": b"no",
}


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Make an archive like the real one."""
    path = tmp_path / "app.tgz"
    with tarfile.open(path, "w:gz") as file:
        for name, body in _MEMBERS.items():
            member = tarfile.TarInfo(name)
            member.size = len(body)
            file.addfile(member, io.BytesIO(body))
    return path


def _integrity(archive: Path) -> str:
    return "sha512-" + base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode("ascii")


def _like_ohif(archive: Path) -> NpmPackage:
    return replace(OHIF, integrity=_integrity(archive))


def _files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_only_what_is_needed_is_unpacked_and_only_once(archive: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "ohif"
    assert install_package(_like_ohif(archive), folder, archive)
    assert _files(folder) == {".integrity", "index.html", "assets/logo.svg"}
    assert not install_package(_like_ohif(archive), folder, archive)
    assert list(folder.parent.iterdir()) == [folder]


def test_an_incomplete_folder_is_replaced(archive: Path, tmp_path: Path) -> None:
    folder = tmp_path / "ohif"
    folder.mkdir()
    (folder / "old.js").touch()
    assert install_package(_like_ohif(archive), folder, archive)
    assert "old.js" not in _files(folder)


def test_an_archive_that_is_not_the_pinned_one_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "app.tgz"
    other.write_bytes(b"something else")
    with pytest.raises(BundleError, match="integrity"):
        install_package(OHIF, tmp_path / "ohif", other)
    assert not (tmp_path / "ohif").exists()


def test_the_command_does_nothing_where_the_page_is_already(tmp_path: Path) -> None:
    beside = {f"niivue-{NIIVUE.version}": NIIVUE.integrity, f"swagger-{SWAGGER.version}": SWAGGER.integrity}
    for name, integrity in {"ohif": OHIF_INTEGRITY, **beside}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / ".integrity").write_text(integrity, encoding="ascii")
    assert main(["--folder", str(tmp_path / "ohif")]) == 0
    assert _files(tmp_path) == {"ohif/.integrity", *(f"{name}/.integrity" for name in beside)}


def test_of_some_packages_named_files_alone_are_unpacked(archive: Path, tmp_path: Path) -> None:
    package = replace(NIIVUE, integrity=_integrity(archive), only=("index.html",))
    assert install_package(package, tmp_path / "niivue", archive)
    assert _files(tmp_path / "niivue") == {".integrity", "index.html"}


def test_of_a_package_without_a_folder_of_what_is_built_the_named_files_come_from_its_root(
    archive: Path, tmp_path: Path
) -> None:
    package = replace(SWAGGER, integrity=_integrity(archive), only=("package.json",))
    assert install_package(package, tmp_path / "swagger", archive)
    assert _files(tmp_path / "swagger") == {".integrity", "package.json"}


def test_the_command_says_in_one_line_what_failed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert main(["--folder", str(tmp_path / "file" / "ohif")]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_the_folder_is_the_setting_or_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "glionode" / f"ohif-{OHIF_VERSION}"
    settings = read_settings(environment={})
    assert ohif_folder(settings) == default_folder()
    placed = replace(settings, viewer=replace(settings.viewer, folder=str(tmp_path / "here")))
    assert ohif_folder(placed) == tmp_path / "here"
    assert niivue_folder(placed) == tmp_path / f"niivue-{NIIVUE.version}"
    assert swagger_folder(placed) == tmp_path / f"swagger-{SWAGGER.version}"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert default_folder().is_relative_to(Path.home() / ".cache")
