"""A real Orthanc with DICOMweb, as a process of its own on free ports."""

import contextlib
import json
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.support.waiting import ANSWER_S

_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
_START_S = 30
_STOP_S = 30
_GIVEN: set[int] = set()


@dataclass(frozen=True, kw_only=True)
class Orthanc:
    """A running Orthanc."""

    http_port: int
    dicom_port: int
    ae_title: str = "ORTHANC"

    @property
    def url(self) -> str:
        """Address of the REST interface."""
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def dicomweb_root(self) -> str:
        """Address of the DICOMweb origin."""
        return f"{self.url}/dicom-web"

    def upload(self, path: Path) -> None:
        """Store a DICOM file over the REST interface."""
        httpx.post(f"{self.url}/instances", content=path.read_bytes(), timeout=60).raise_for_status()

    def instances(self, study_uid: str) -> list[dict[str, object]]:
        """Return the tags of each instance of a study, by keyword."""
        wanted = {"Level": "Instance", "Query": {"StudyInstanceUID": study_uid}, "Expand": True}
        answer = httpx.post(f"{self.url}/tools/find", json=wanted, timeout=60).raise_for_status()
        return [found["MainDicomTags"] for found in answer.json()]


class OrthancProcess:
    """An Orthanc that can be stopped and started again on the same ports and data.

    Parameters
    ----------
    folder
        Empty folder for its configuration, database and log.
    modalities
        AE title to host and port of each peer that may store, find and echo.
    options
        Further settings of Orthanc's own configuration.
    """

    def __init__(self, folder: Path, modalities: Mapping[str, tuple[str, int]], options: Mapping[str, object]) -> None:
        self.orthanc = Orthanc(http_port=free_port(), dicom_port=free_port())
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        settings = {**_configuration(self.orthanc, folder, modalities), **options}
        (folder / "orthanc.json").write_text(json.dumps(settings, indent=2), encoding="utf-8")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, and wait until it answers."""
        with (self._folder / "orthanc.log").open("ab") as log:
            command = [_program(), str(self._folder / "orthanc.json")]
            self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        _wait(self.orthanc, self._process, self._folder)

    def stop(self) -> None:
        """Stop, and wait until its files are closed."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


@contextlib.contextmanager
def running_orthanc(
    folder: Path, modalities: Mapping[str, tuple[str, int]] | None = None, **options: object
) -> Iterator[Orthanc]:
    """Start Orthanc, wait until it answers, and stop it at the end; see `OrthancProcess`."""
    process = OrthancProcess(folder, modalities or {}, options)
    try:
        process.start()
        yield process.orthanc
    finally:
        process.stop()


def free_port() -> int:
    """Return a port below those given to connecting sockets, so that nobody takes it before, or between two starts."""
    for port in random.SystemRandom().sample(range(20000, 30000), 1000):
        with socket.socket() as probe, contextlib.suppress(OSError):
            if port not in _GIVEN:
                probe.bind(("127.0.0.1", port))
                _GIVEN.add(port)
                return port
    message = "none of a thousand ports is free"
    raise OSError(message)


def _program() -> str:
    found = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin:/usr/local/sbin")
    if found is None or not _PLUGIN.is_file():
        message = "Orthanc or its DICOMweb plug-in is not installed (Debian packages orthanc and orthanc-dicomweb)"
        raise FileNotFoundError(message)
    return found


def _configuration(orthanc: Orthanc, folder: Path, modalities: Mapping[str, tuple[str, int]]) -> dict[str, object]:
    allowed = {"AllowEcho": True, "AllowStore": True, "AllowFind": True, "AllowMove": True}
    return {
        "Name": "tests",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "HttpPort": orthanc.http_port,
        "DicomPort": orthanc.dicom_port,
        "DicomAet": orthanc.ae_title,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomAlwaysAllowEcho": False,
        "DicomAlwaysAllowStore": False,
        "UnknownSopClassAccepted": True,
        "Plugins": [str(_PLUGIN)],
        "DicomModalities": {
            ae_title: {"AET": ae_title, "Host": host, "Port": port, **allowed}
            for ae_title, (host, port) in modalities.items()
        },
        "DicomWeb": {
            "Enable": True,
            "Root": "/dicom-web/",
            "EnableWado": True,
            "WadoRoot": "/wado",
            "StudiesMetadata": "Full",
            "SeriesMetadata": "Full",
        },
    }


def _wait(orthanc: Orthanc, process: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            answer = httpx.get(f"{orthanc.url}/system", timeout=ANSWER_S)
            if answer.status_code in (httpx.codes.OK, httpx.codes.UNAUTHORIZED):
                return
        time.sleep(0.05)
    log = (folder / "orthanc.log").read_text(encoding="utf-8", errors="replace")
    message = f"Orthanc did not start: {log[-2000:]}"
    raise TimeoutError(message)
