"""Shared code of lanes through an SDK that Stainless has generated, such as Anthropic's and OpenAI's.

The SDK is asked for the reply as it is: no models are built from it, a page of HTML is seen for what it is, and no
setting is refused on this side of the wire. Neither an SDK nor an HTTP library is imported here: both are handed in.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

from understudy_toolkit.lanes import Ask
from understudy_toolkit.sdk_lane import aguarded, client_options, guarded

__all__ = ["asend", "open_async_http", "open_http", "send"]


def open_http(sdk: Any, http: Any, url: str) -> Any:
    """Make the HTTP client for sync calls to this address, as the SDK makes its own, but for what the machine sets.

    Args:
        sdk: the SDK, a module.
        http: the library below it, httpx or httpx2.
        url: the address.
    """
    return guarded(http.Client)(**_transport(sdk, http.HTTPTransport, url))


def open_async_http(sdk: Any, http: Any, url: str) -> Any:
    """Make the HTTP client for the running event loop, as `open_http`."""
    return aguarded(http.AsyncClient)(**_transport(sdk, http.AsyncHTTPTransport, url))


def _transport(sdk: Any, kind: Callable[..., Any], url: str) -> dict[str, Any]:
    """Return what a client is made with: the SDKs' own kinds read the machine's proxies, some of them in any case."""
    options = client_options(url)
    below = {name: options.pop(name) for name in ("verify", "proxy")}
    transport = kind(**below, trust_env=False, limits=sdk.DEFAULT_CONNECTION_LIMITS, socket_options=[*_kept_alive()])
    return {**options, "transport": transport}


def _kept_alive() -> Iterator[tuple[int, int, int]]:
    """Yield what keeps a silent connection open, as the SDKs have it (anthropic 2.14.0, _base_client.py)."""
    yield socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1
    for name, value in (("TCP_KEEPINTVL", 60), ("TCP_KEEPCNT", 5), ("TCP_KEEPIDLE", 60)):
        if hasattr(socket, name):  # not everywhere
            yield socket.IPPROTO_TCP, getattr(socket, name), value


def send(sdk: Any, http: Any, client: Any, ask: Ask) -> Any:
    """Send a request through the SDK, and return the response, whatever its status.

    Args:
        sdk: the SDK, a module.
        http: the library below it, httpx or httpx2.
        client: the SDK's client, its retries off.
        ask: the request.
    """
    call: Callable[..., Any] = client.get if ask.method == "GET" else client.post
    try:
        return call(ask.path, cast_to=http.Response, stream_cls=sdk.Stream[object], **_arguments(http, ask))
    except sdk.APIStatusError as error:
        return error.response


async def asend(sdk: Any, http: Any, client: Any, ask: Ask) -> Any:
    """Send a request through the SDK on the running event loop, as `send`."""
    call: Callable[..., Any] = client.get if ask.method == "GET" else client.post
    try:
        return await call(ask.path, cast_to=http.Response, stream_cls=sdk.AsyncStream[object], **_arguments(http, ask))
    except sdk.APIStatusError as error:
        return error.response


def _arguments(http: Any, ask: Ask) -> dict[str, Any]:
    timeout = http.Timeout(ask.seconds, connect=min(ask.seconds, ask.connect_seconds))
    options = {"timeout": timeout, "headers": dict(ask.headers), "params": dict(ask.query)}
    # as a stream in any case: it is read where the time and the size are watched
    return {"options": options, "stream": True} | ({} if ask.body is None else {"body": ask.body})
