"""The lane through Ollama's SDK: its clients, and how they are asked. Imported, and the SDK with it, when needed.

Its clients have one call more here, which gives a reply as it comes: the SDK's own calls build models from a reply that
drop what they do not know, cut a stream's lines at characters that may stand inside JSON, and have no timeout of their
own for a call. They retry nothing.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING, Any

import httpx

from understudy_toolkit.account import Account
from understudy_toolkit.bodies import ENCODINGS
from understudy_toolkit.clients import follow_connection
from understudy_toolkit.lanes import Ask
from understudy_toolkit.sdk_lane import client_options, with_headers

if TYPE_CHECKING:
    import ollama


def _import_sdk() -> Any:
    """Import the SDK; where that fails, without the client that it makes for itself (ollama 0.6.3, __init__.py).

    That one is never used here, and fails on proxies, certificates and an OLLAMA_HOST that need not concern ours.
    """
    try:
        return import_module("ollama")
    except Exception:
        found = find_spec("ollama")
        if found is None or found.submodule_search_locations is None:
            raise
    package = ModuleType("ollama")
    package.__path__ = found.submodule_search_locations
    sys.modules["ollama"] = package
    try:
        return import_module("ollama._client")
    finally:
        del sys.modules["ollama"]


if not TYPE_CHECKING:
    ollama = _import_sdk()


class Client(ollama.Client):
    """The SDK's client for sync calls."""

    def open(self, ask: Ask) -> httpx.Response:
        """Send a request; the response is open and unread, whatever its status."""
        response: httpx.Response = self._client.send(_request(self._client, ask), stream=True)
        return response

    def close(self) -> None:
        """Close all connections."""
        self._client.close()


class AsyncClient(ollama.AsyncClient):
    """The SDK's client for calls on one event loop."""

    async def open(self, ask: Ask) -> httpx.Response:
        """Send a request; the response is open and unread, whatever its status."""
        request = _request(self._client, ask)
        await follow_connection(request)
        response: httpx.Response = await self._client.send(request, stream=True)
        return response

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.aclose()


def open_client(account: Account) -> Client:
    """Make the SDK's client for sync calls."""
    return Client(**_options(account))


def open_async_client(account: Account) -> AsyncClient:
    """Make the SDK's client for the running event loop."""
    return AsyncClient(**_options(account))


def send(client: Client, ask: Ask) -> httpx.Response:
    """Send a request through the SDK, and return the response, unread and whatever its status."""
    return client.open(ask)


async def asend(client: AsyncClient, ask: Ask) -> httpx.Response:
    """Send a request through the SDK on the running event loop, as `send`."""
    return await client.open(ask)


def _options(account: Account) -> dict[str, Any]:
    """Return what a client is made with: the SDK would put OLLAMA_API_KEY on requests to any host."""
    auth = with_headers(account.bearer, "Authorization")
    return {"host": account.base_url, "auth": auth, **client_options(account.base_url)}


def _request(client: httpx.Client | httpx.AsyncClient, ask: Ask) -> httpx.Request:
    timeout = httpx.Timeout(ask.seconds, connect=min(ask.seconds, ask.connect_seconds))
    headers = {"accept-encoding": ENCODINGS, **ask.headers}
    return client.build_request(ask.method, ask.path, json=ask.body, timeout=timeout, headers=headers)
