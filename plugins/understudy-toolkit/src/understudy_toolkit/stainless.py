"""Shared code of lanes through an SDK that Stainless has generated, such as Anthropic's and OpenAI's.

The SDK is asked for the reply as it is: no models are built from it, a page of HTML is seen for what it is, and no
setting is refused on this side of the wire. Neither an SDK nor an HTTP library is imported here: both are handed in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from understudy_toolkit.clients import is_this_machine
from understudy_toolkit.lanes import Ask
from understudy_toolkit.sdk_lane import aguarded, client_options, guarded

__all__ = ["asend", "open_async_http", "open_http", "send"]


def open_http(sdk: Any, http: Any, url: str) -> Any:
    """Make the HTTP client for sync calls to this address: the SDK's own kind, but not for this machine.

    Args:
        sdk: the SDK, a module.
        http: the library below it, httpx or httpx2.
        url: the address.
    """
    if is_this_machine(url):  # the SDK's kind would read proxies
        return guarded(http.Client)(**client_options(url), limits=sdk.DEFAULT_CONNECTION_LIMITS)
    return guarded(sdk.DefaultHttpxClient)(**client_options(url))


def open_async_http(sdk: Any, http: Any, url: str) -> Any:
    """Make the HTTP client for the running event loop, as `open_http`."""
    if is_this_machine(url):
        return aguarded(http.AsyncClient)(**client_options(url), limits=sdk.DEFAULT_CONNECTION_LIMITS)
    return aguarded(sdk.DefaultAsyncHttpxClient)(**client_options(url))


def send(sdk: Any, http: Any, client: Any, ask: Ask) -> Any:
    """Have the SDK send a request, and return the response, whatever its status.

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
    """Have the SDK send a request on the running event loop, as `send`."""
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
