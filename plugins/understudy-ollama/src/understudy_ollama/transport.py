"""The SDK's clients with one call more, which gives a reply as it comes. Imported with the SDK, at the first request.

The SDK's own calls build models from a reply that drop what they do not know, cut a stream's lines at characters that
may stand inside JSON, and have no timeout of their own for a call. They follow no redirection here, so a key goes
nowhere else; nothing for this machine goes through a proxy; and the key is ours or none.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from functools import cache
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx
import ollama

from understudy import Secret
from understudy_toolkit.clients import close_half_open, is_this_machine

CONNECT_TIMEOUT = 5.0  # seconds, as httpx's own default
NOTHING_CAME = httpx.ReadTimeout  # the request was taken, and nothing was said to it in time


class Client(ollama.Client):
    """The SDK's client for sync calls."""

    def open(self, method: str, path: str, seconds: float, body: dict[str, Any] | None = None) -> httpx.Response:
        """Send a request; the reply is open and unread, whatever its status."""
        request = self._client.build_request(method, path, json=body, timeout=_timeout(seconds))
        response: httpx.Response = self._client.send(request, stream=True)
        return response

    def close(self) -> None:
        """Close all connections."""
        self._client.close()


class AsyncClient(ollama.AsyncClient):
    """The SDK's client for calls on one event loop."""

    async def open(self, method: str, path: str, seconds: float, body: dict[str, Any] | None = None) -> httpx.Response:
        """Send a request; the reply is open and unread, whatever its status."""
        request = self._client.build_request(method, path, json=body, timeout=_timeout(seconds))
        await close_half_open(request)
        response: httpx.Response = await self._client.send(request, stream=True)
        return response

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()


def options_for(url: str, key: Secret | None) -> dict[str, Any]:
    """Return what a client for this address is made with."""
    return {
        "host": url,
        "auth": _credentials(url, key),
        "verify": _tls(url),
        "trust_env": not is_this_machine(url),
        "follow_redirects": False,
    }


def _timeout(seconds: float) -> httpx.Timeout:
    return httpx.Timeout(seconds, connect=min(seconds, CONNECT_TIMEOUT))


def _credentials(url: str, key: Secret | None) -> httpx.Auth | Callable[[httpx.Request], httpx.Request]:
    """Return what sets the credentials at the last moment: the SDK puts OLLAMA_API_KEY on requests to any host."""
    parts = urlsplit(url)
    if key is None and parts.username is not None:
        return httpx.BasicAuth(unquote(parts.username), unquote(parts.password or ""))

    def set_key(request: httpx.Request) -> httpx.Request:
        request.headers.pop("Authorization", None)
        if key is not None:
            request.headers["Authorization"] = f"Bearer {key.reveal()}"
        return request

    return set_key


def _tls(url: str) -> ssl.SSLContext:
    """Return the TLS context for this address, one for the whole process: loading certificates takes longest."""
    if url.startswith("http://") and is_this_machine(url):
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # never used, so it trusts nobody
    return _certificates()


@cache
def _certificates() -> ssl.SSLContext:
    return httpx.create_ssl_context()
