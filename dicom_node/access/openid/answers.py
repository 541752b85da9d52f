"""What a provider answers over HTTP: by HTTPS, in time, not too large, and JSON."""

import time
from collections.abc import Iterator, Mapping

import httpx

from dicom_node.access.openid.problems import Problem, ProviderLoginRefused
from dicom_node.oidc_settings import is_safe_address

__all__ = ["MOST_BYTES", "json_object", "provider_client"]

MOST_BYTES = 256 * 1024
"""Of an answer. What providers say of themselves takes a few KiB, their keys the same."""

_SILENCE_S = 5.0
_ANSWER_S = 10.0
_AS_IT_IS = ("", "identity")


def provider_client() -> httpx.Client:
    """Return a client that follows no redirect, and raises `ProviderLoginRefused` for an answer beyond the limits."""
    hooks = {"request": [_check_address], "response": [_limit]}
    headers = {"Accept": "application/json", "Accept-Encoding": "identity"}  # nothing unpacks to more than it is
    return httpx.Client(timeout=_SILENCE_S, event_hooks=hooks, headers=headers)  # type: ignore[arg-type]


def json_object(answer: httpx.Response) -> Mapping[str, object]:
    """Return the JSON object of an answer.

    Raises
    ------
    ProviderLoginRefused
        When it is none.
    """
    try:
        content = answer.json()
    except (ValueError, RecursionError) as error:
        raise ProviderLoginRefused(Problem.UNUSABLE) from error
    if not isinstance(content, dict):
        raise ProviderLoginRefused(Problem.UNUSABLE)
    return content


def _check_address(request: httpx.Request) -> None:
    if not is_safe_address(str(request.url)):
        raise ProviderLoginRefused(Problem.UNUSABLE)


def _limit(answer: httpx.Response) -> None:
    packed = answer.headers.get("content-encoding", "").strip().lower() not in _AS_IT_IS
    if packed or not isinstance(answer.stream, httpx.SyncByteStream):
        raise ProviderLoginRefused(Problem.UNUSABLE)
    answer.stream = _Limited(answer.stream)


class _Limited(httpx.SyncByteStream):
    """The content of an answer as far as the limits allow."""

    def __init__(self, content: httpx.SyncByteStream) -> None:
        self._content = content

    def __iter__(self) -> Iterator[bytes]:
        received, end = 0, time.monotonic() + _ANSWER_S
        for piece in self._content:
            received += len(piece)
            if received > MOST_BYTES:
                raise ProviderLoginRefused(Problem.UNUSABLE)
            if time.monotonic() > end:
                raise ProviderLoginRefused(Problem.UNREACHABLE)
            yield piece

    def close(self) -> None:
        """Close the connection."""
        self._content.close()
