"""The lane through Anthropic's SDK: its clients, and how they are asked. Imported, and the SDK with it, when needed.

The SDK is asked for the reply as it is: no models are built from it, a page of HTML is seen for what it is, and no
setting is refused on this side of the wire. Its retries are off.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import anthropic
import httpx2

from understudy_claude.account import credentials
from understudy_toolkit.account import Account
from understudy_toolkit.clients import is_this_machine
from understudy_toolkit.lanes import Ask
from understudy_toolkit.sdk_lane import aguarded, client_options, guarded, with_headers

_CREDENTIALS = ("Authorization", "X-Api-Key")  # ANTHROPIC_CUSTOM_HEADERS must not send others in their place


def open_client(account: Account) -> anthropic.Anthropic:
    """Make the SDK's client for sync calls."""
    kind, more = _kind(account, httpx2.Client, anthropic.DefaultHttpxClient)
    http_client = guarded(kind)(**client_options(account.base_url), **more)
    client = anthropic.Anthropic(
        api_key=_key(account), base_url=account.base_url, max_retries=0, http_client=http_client
    )
    http_client.auth = with_headers(client.auth_headers if account.is_vendor else credentials(account), *_CREDENTIALS)
    return client


def open_async_client(account: Account) -> anthropic.AsyncAnthropic:
    """Make the SDK's client for the running event loop."""
    kind, more = _kind(account, httpx2.AsyncClient, anthropic.DefaultAsyncHttpxClient)
    http_client = aguarded(kind)(**client_options(account.base_url), **more)
    client = anthropic.AsyncAnthropic(
        api_key=_key(account), base_url=account.base_url, max_retries=0, http_client=http_client
    )
    http_client.auth = with_headers(client.auth_headers if account.is_vendor else credentials(account), *_CREDENTIALS)
    return client


def send(client: anthropic.Anthropic, ask: Ask) -> httpx2.Response:
    """Have the SDK send a request, and return the response, whatever its status."""
    call: Callable[..., Any] = client.get if ask.method == "GET" else client.post
    try:
        unread = call(ask.path, cast_to=httpx2.Response, stream_cls=anthropic.Stream[object], **_arguments(ask))
    except anthropic.APIStatusError as error:
        return error.response
    return cast(httpx2.Response, unread)


async def asend(client: anthropic.AsyncAnthropic, ask: Ask) -> httpx2.Response:
    """Have the SDK send a request on the running event loop, as `send`."""
    call: Callable[..., Any] = client.get if ask.method == "GET" else client.post
    try:
        unread = await call(
            ask.path, cast_to=httpx2.Response, stream_cls=anthropic.AsyncStream[object], **_arguments(ask)
        )
    except anthropic.APIStatusError as error:
        return error.response
    return cast(httpx2.Response, unread)


def _arguments(ask: Ask) -> dict[str, Any]:
    timeout = httpx2.Timeout(ask.seconds, connect=min(ask.seconds, ask.connect_seconds))
    options = {"timeout": timeout, "headers": dict(ask.headers), "params": dict(ask.query)}
    # as a stream in any case: it is read where the time and the size are watched
    return {"options": options, "stream": True} | ({} if ask.body is None else {"body": ask.body})


def _kind(account: Account, plain: Any, default: Any) -> tuple[Any, dict[str, Any]]:
    """Return the SDK's own kind of HTTP client; it would read proxies, which are not for this machine."""
    if is_this_machine(account.base_url):
        return plain, {"limits": anthropic.DEFAULT_CONNECTION_LIMITS}
    return default, {}


def _key(account: Account) -> str:
    return account.key.reveal() if account.key is not None else "none"  # a server without keys looks at none
