"""Measures how long a radiologist waits, from the last image of a real study to its objects in Orthanc, step by step.

Run ``python -m benchmarks.latency --study DIR`` with nothing else running. It writes ``benchmarks/latency.md``. It
starts a node with the shipped model and a real Orthanc. storescu sends the study, first as it is and then with other
UIDs, when the worker process is already running. A reference load is measured in the same run, so that figures of
different machines can be compared.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
import numpy as np
import pydicom
from pydicom.uid import generate_uid

from conversion.reading import dicom_files
from dicom_node.database.states import StudyState
from dicom_node.peers.peer import Peer
from dicom_node.runs.step import Step
from tests.support.node import POLL_S, SENDER, Node, orthanc_destination, running_node
from tests.support.orthanc import Orthanc, running_orthanc
from tests.support.waiting import ANSWER_S

TABLE = Path(__file__).with_suffix(".md")
BAR_S = 25.0
"""Target on two idle cores, from the last image to the objects."""

LIMIT_S, LOGGED_S = 1200.0, 30.0
SHIPPED = {"GLIONODE_PROCESSING_MODEL": "glioma", "GLIONODE_PROCESSING_THREADS": "0"}
STORESCU = Peer(name="dcmtk", ae_title="STORESCU", may_send=True, is_destination=False)
SIZE, PRODUCTS = 2048, 20
"""The reference load: products of square matrices in single precision, on all cores."""


@dataclass(frozen=True, kw_only=True)
class Waited:
    """Seconds of one study by step. Their sum is the time from the last image to the objects."""

    parts: dict[str, float]

    @property
    def total_s(self) -> float:
        """Time from the last image to the objects."""
        return sum(self.parts.values())


def main() -> None:
    """Send the study twice, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", type=Path, required=True, help="folder with the DICOM files of one study")
    study = parser.parse_args().study
    before_s = reference_s()
    with tempfile.TemporaryDirectory() as kept:
        folder = Path(kept)
        again = _under_other_uids(study, folder / "again")
        with running_orthanc(folder / "orthanc", {"GLIONODE": ("127.0.0.1", 104)}) as orthanc:
            peers = (SENDER, STORESCU, orthanc_destination(orthanc))
            with running_node(folder / "node", peers, SHIPPED) as node:
                _introduce(node, orthanc)
                waited = [_wait_for(node, orthanc, one) for one in (study, again)]
    text = "\n".join(_report(study, waited, (before_s + reference_s()) / 2)) + "\n"
    sys.stdout.write(text)
    TABLE.write_text(text, encoding="utf-8")


def reference_s() -> float:
    """Return the duration of the reference load."""
    one = np.random.default_rng(1).standard_normal((SIZE, SIZE), np.float32)
    one @ one  # starts the threads
    begun = time.perf_counter()
    for _ in range(PRODUCTS):
        one @ one
    return time.perf_counter() - begun


def _introduce(node: Node, orthanc: Orthanc) -> None:
    """Register the node in Orthanc, as a site does: Orthanc sends the result of a storage commitment there."""
    place = ["GLIONODE", "127.0.0.1", node.settings.node.dicom_port]
    httpx.put(f"{orthanc.url}/modalities/GLIONODE", json=place, timeout=ANSWER_S).raise_for_status()


def _under_other_uids(study: Path, folder: Path) -> Path:
    """Write a copy of the study with other UIDs."""
    folder.mkdir()
    for number, path in enumerate(dicom_files(study)):
        ds = pydicom.dcmread(path)
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID"):
            if keyword in ds:
                ds[keyword].value = generate_uid(entropy_srcs=["latency", str(ds[keyword].value)])
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        ds.save_as(folder / f"{number:05d}.dcm")
    return folder


def _wait_for(node: Node, orthanc: Orthanc, study: Path) -> Waited:
    """Send a study, and wait until Orthanc has its objects."""
    known = len(node.events())
    command = ["/usr/bin/storescu", "+sd", "+r", "-aet", "STORESCU", "-aec", "GLIONODE", "127.0.0.1"]
    subprocess.run([*command, str(node.settings.node.dicom_port), str(study)], check=True)  # noqa: S603 - DCMTK
    last = datetime.now(UTC)
    study_uid = str(pydicom.dcmread(dicom_files(study)[0], stop_before_pixels=True).StudyInstanceUID)
    node.wait_for_state(study_uid, {StudyState.DELIVERED}, LIMIT_S)
    held = {str(tags["SOPInstanceUID"]) for tags in orthanc.instances(study_uid)}
    results = node.study(study_uid)
    if results is None or held != {uid for _, uid, _ in results.results}:
        sys.exit("Orthanc does not have the objects that were delivered")
    deadline = time.monotonic() + LOGGED_S  # the state in the database changes a moment before the log line
    while not any(one["event"] == "step_done" and one["step"] == Step.DELIVER for one in node.events()[known:]):
        if time.monotonic() > deadline:
            sys.exit("the log contains no line about the delivery of the objects")
        time.sleep(POLL_S)
    return Waited(parts=dict(_parts(node, known, last)))


def _parts(node: Node, known: int, last: datetime) -> Iterator[tuple[str, float]]:
    """Yield each step after the last image, and its duration."""
    events = node.events()[known:]
    done = {str(one["step"]): one for one in events if one["event"] == "step_done"}
    ready = next(one for one in events if one["event"] == "study_ready")
    for what, event in (("the study is recognised as complete", ready), *((step, done[step]) for step in Step)):
        end = datetime.fromisoformat(event["timestamp"])
        yield what, (end - last).total_seconds()
        last = end


def _report(study: Path, waited: list[Waited], reference: float) -> Iterator[str]:
    yield "# Latency"
    yield ""
    count, rate = len(dicom_files(study)), 2e-9 * PRODUCTS * SIZE**3 / reference
    yield f"Time from the last image of `{study.name}` ({count} images) to its SEG and SR in Orthanc,"
    yield f"{os.cpu_count()} CPU cores, Python {platform.python_version()}. Made by `python -m benchmarks.latency`."
    yield f"The reference load of the same run, {PRODUCTS} products of {SIZE} x {SIZE} matrices, took {reference:.2f} s"
    yield f"({rate:.0f} GFLOP/s)."
    yield ""
    yield "| step | first study after a start (s) | next study (s) | next study in reference loads |"
    yield "|---|---|---|---|"
    for what in waited[0].parts:
        first, further = (one.parts[what] for one in waited)
        yield f"| {what} | {first:.1f} | {further:.1f} | {further / reference:.1f} |"
    first, further = (one.total_s for one in waited)
    yield f"| **total** | {first:.1f} | {further:.1f} | {further / reference:.1f} |"
    yield ""
    met = "met" if further <= BAR_S else "**missed**"
    yield f"Target: at most {BAR_S:g} s on two idle cores: {met}."


if __name__ == "__main__":
    main()
