"""The HTTP clients that are handed to Cohere's SDK. Imported with the SDK, at the first request.

They follow no redirection, so the key goes nowhere else; nothing for this machine goes through a proxy; and whatever
is no answer becomes its failure here, where the status, the headers and all the bytes are.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from functools import cache
from typing import Any

import httpx
from cohere import AsyncClientV2, ClientV2

from understudy import Timeout
from understudy_cohere.failures import PROVIDER, failure_of_reply
from understudy_toolkit.clients import close_half_open, is_this_machine

__all__ = ["AsyncClient", "AsyncClientV2", "Client", "ClientV2", "options_for", "read"]  # ClientV2 loads the SDK

CONNECT_TIMEOUT = 5.0  # seconds: a vendor that takes longer to say hello is not there


class Client(httpx.Client):
    """A client for sync calls, which raises the failure that a reply means."""

    def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        """Send a request.

        Raises:
            Failure: the reply has another status than 200.
        """
        seconds = _connect_soon(request)
        response = super().send(request, **options)
        if response.status_code == 200:
            return response
        try:
            content = read(response, time.monotonic() + seconds)
        finally:
            response.close()
        raise failure_of_reply(response.status_code, response.headers, content)


class AsyncClient(httpx.AsyncClient):
    """A client for async calls, which raises the failure that a reply means."""

    async def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        """Send a request; the caller bounds the time that reading an answer takes.

        Raises:
            Failure: the reply has another status than 200.
        """
        seconds = _connect_soon(request)
        await close_half_open(request)
        response = await super().send(request, **options)
        if response.status_code == 200:
            return response
        try:
            async with asyncio.timeout(seconds):
                content = await response.aread()
        finally:
            await response.aclose()
        raise failure_of_reply(response.status_code, response.headers, content)


def read(response: httpx.Response, until: float) -> bytes:
    """Return a reply's bytes.

    Args:
        response: an open reply.
        until: the last moment, by time.monotonic.

    Raises:
        Timeout: it was not complete in time: each read has its own timeout, and a trickle would pass them all.
    """
    pieces = []
    for piece in response.iter_bytes():
        pieces.append(piece)
        if time.monotonic() > until:
            raise Timeout("the answer came too slowly to be whole in time", provider=PROVIDER)
    return b"".join(pieces)


def options_for(base_url: str) -> dict[str, Any]:
    """Return what a client for this address is made with."""
    return {"verify": _tls(base_url), "trust_env": not is_this_machine(base_url), "follow_redirects": False}


def _connect_soon(request: httpx.Request) -> float:
    """Shorten the wait for a connection, and return the seconds that the request allows each other wait."""
    timeout = request.extensions["timeout"]
    seconds: float = timeout["read"]
    request.extensions["timeout"] = {**timeout, "connect": min(seconds, CONNECT_TIMEOUT)}
    return seconds


def _tls(base_url: str) -> ssl.SSLContext:
    """Return the TLS context for this address, one for the whole process: loading certificates takes longest."""
    if base_url.startswith("http://") and is_this_machine(base_url):
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # never used, so it trusts nobody
    return _certificates()


@cache
def _certificates() -> ssl.SSLContext:
    return httpx.create_ssl_context()
