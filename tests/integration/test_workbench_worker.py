"""A running node computes an upload in its worker, beside nothing else to do, and stops one that was cancelled."""

import io
import os
from pathlib import Path

import httpx
import numpy as np
from PIL import Image

from dicom_node.access.tokens import add_token
from dicom_node.database.maintenance import set_maintenance
from dicom_node.web.uploads import UPLOAD_PATH
from dicom_node.workbench.jobs import input_folder
from tests.support.node import running_node
from tests.support.waiting import ANSWER_S, wait_until

COMPUTED_S = 120.0


def _picture() -> bytes:
    row, column = np.indices((96, 96))
    pixels = np.where(np.hypot(row - 48, column - 48) < 44, 60, 0).astype(np.uint8)
    pixels[np.hypot(row - 40, column - 52) < 9] = 240
    picture = io.BytesIO()
    Image.fromarray(pixels).save(picture, "png")
    return picture.getvalue()


def test_a_worker_of_the_node_computes_what_a_program_sends_and_stops_what_it_cancels(tmp_path: Path) -> None:
    with running_node(
        tmp_path, environment={"GLIONODE_PROCESSING_ADMIT": "not_a_brain", "GLIONODE_WORKBENCH_NICENESS": "0"}
    ) as node:
        address = f"http://127.0.0.1:{node.settings.web.port}"
        node.wait_for_page(f"{address}/healthz")
        headers = {"Authorization": f"Bearer {add_token(node.database, 'program')}"}
        with httpx.Client(base_url=address, headers=headers, timeout=ANSWER_S) as program:
            set_maintenance(node.database, "panel", on=True)  # no upload is begun
            held = program.post(UPLOAD_PATH, files={"flair": ("slice.png", _picture())}).json()["links"]["status"]
            stored = input_folder(node.settings.node.folder, held.rpartition("/")[2]) / "00000"
            stored.unlink()
            os.mkfifo(stored)  # the child that opens it waits for ever
            set_maintenance(node.database, "panel", on=False)
            wait_until(lambda: program.get(held).json()["step"] == "read", COMPUTED_S)
            job = program.post(UPLOAD_PATH, files={"flair": ("slice.png", _picture())}).json()
            assert program.delete(held).status_code == 202
            with program.stream("GET", job["links"]["events"], timeout=COMPUTED_S) as events:
                assert "".join(events.iter_text()).count('"state":"done"') == 1
            assert program.get(held).status_code == 404
            assert program.get(job["links"]["result"]).content[:2] == b"PK"
