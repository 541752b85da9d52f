"""A running node computes an upload in its worker, beside nothing else to do."""

import io
import time
from pathlib import Path

import httpx
import numpy as np
from PIL import Image

from dicom_node.web.api_tokens import add_token
from dicom_node.web.uploads import UPLOAD_PATH
from tests.support.node import running_node
from tests.support.waiting import ANSWER_S

COMPUTED_S = 120.0


def test_a_worker_of_the_node_computes_what_a_program_sends(tmp_path: Path) -> None:
    row, column = np.indices((96, 96))
    pixels = np.where(np.hypot(row - 48, column - 48) < 44, 60, 0).astype(np.uint8)
    pixels[np.hypot(row - 40, column - 52) < 9] = 240
    picture = io.BytesIO()
    Image.fromarray(pixels).save(picture, "png")
    with running_node(tmp_path, environment={"GLIONODE_PROCESSING_ADMIT": "not_a_brain"}) as node:
        address = f"http://127.0.0.1:{node.settings.web.port}"
        node.wait_for_page(f"{address}/healthz")
        headers = {"Authorization": f"Bearer {add_token(node.database, 'program')}"}
        with httpx.Client(base_url=address, headers=headers, timeout=ANSWER_S) as program:
            job = program.post(UPLOAD_PATH, files={"flair": ("slice.png", picture.getvalue())}).json()
            deadline = time.monotonic() + COMPUTED_S
            while job["state"] in ("waiting", "running"):
                assert time.monotonic() < deadline, job
                time.sleep(0.2)
                job = program.get(job["links"]["status"]).json()
            assert (job["state"], job["reason"]) == ("done", "")
            assert program.get(job["links"]["result"]).content[:2] == b"PK"
