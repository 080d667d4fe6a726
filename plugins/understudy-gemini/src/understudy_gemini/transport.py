"""The HTTP clients that are handed to Google's SDK. Imported with the SDK, at the first request.

With clients of our own the same library carries sync and async calls, whatever else is installed (the SDK would take
aiohttp where it finds it, which retries on its own); redirects are not followed, so the key goes nowhere else; nothing
for this machine goes through a proxy; and a stream reaches us as bytes.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from functools import cache
from typing import Any

import httpx2

from understudy_toolkit.clients import close_half_open, is_this_machine


class StreamOpened(Exception):
    """Takes the open response of a stream past the SDK's own reader.

    That reader gives up the whole answer for one field or value that it does not know, and says nothing where a stream
    breaks off; ours (streaming.py) reads the same bytes.
    """

    def __init__(self, response: httpx2.Response) -> None:
        super().__init__()
        self.response = response


class Client(httpx2.Client):
    """A client whose streams are opened but not read, and whose timeout bounds a whole reply."""

    def send(self, request: httpx2.Request, *, stream: bool = False, **options: Any) -> httpx2.Response:
        """Send a request.

        Raises:
            StreamOpened: a stream has begun.
        """
        deadline = time.monotonic() + request.extensions["timeout"]["read"]
        response = super().send(request, stream=True, **options)
        if stream and response.status_code == 200:
            raise StreamOpened(response)
        try:
            assert isinstance(response.stream, httpx2.SyncByteStream)
            response.stream = _Until(response.stream, deadline)
            response.read()
        except BaseException:
            response.close()
            raise
        return response


class AsyncClient(httpx2.AsyncClient):
    """A client whose streams are opened but not read; a whole reply is bounded by the caller, who can cancel it."""

    async def send(self, request: httpx2.Request, *, stream: bool = False, **options: Any) -> httpx2.Response:
        """Send a request.

        Raises:
            StreamOpened: a stream has begun.
        """
        await close_half_open(request)
        response = await super().send(request, stream=stream, **options)
        if stream and response.status_code == 200:
            raise StreamOpened(response)
        return response


class _Until(httpx2.SyncByteStream):
    """The bytes of a reply until a deadline: the library's own timeout begins anew with every piece."""

    def __init__(self, stream: httpx2.SyncByteStream, deadline: float) -> None:
        self._stream, self._deadline = stream, deadline

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._stream:
            yield piece
            if time.monotonic() > self._deadline:
                raise httpx2.ReadTimeout("the reply was not complete in time")

    def close(self) -> None:
        self._stream.close()


def options_for(base_url: str) -> dict[str, Any]:
    """Return what a client for this address is made with."""
    return {"verify": tls(base_url), "trust_env": not is_this_machine(base_url), "follow_redirects": False}


def tls(base_url: str) -> ssl.SSLContext:
    """Return the TLS context for this address, one for the whole process: loading certificates takes longest."""
    if base_url.startswith("http://") and is_this_machine(base_url):
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # never used, so it trusts nobody
    return _certificates()


@cache
def _certificates() -> ssl.SSLContext:
    return httpx2.create_ssl_context()
