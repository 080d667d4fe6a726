"""The HTTP clients that are handed to Anthropic's SDK. Imported with the SDK, at the first request.

They follow no redirection, so the key goes nowhere else; nothing for this machine goes through a proxy; and the key is
set on each request at the last moment.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from functools import cache

import anthropic
import httpx2

from understudy_toolkit.clients import close_half_open, is_this_machine

_HOOKS: dict[str, list[Callable[..., object]]] = {"request": [close_half_open]}


def client(base_url: str) -> httpx2.Client:
    """Return a client for sync calls to this address."""
    if is_this_machine(base_url):
        return httpx2.Client(verify=tls(base_url), trust_env=False, limits=anthropic.DEFAULT_CONNECTION_LIMITS)
    return anthropic.DefaultHttpxClient(verify=tls(base_url), follow_redirects=False)


def async_client(base_url: str) -> httpx2.AsyncClient:
    """Return a client for calls to this address on the running event loop."""
    if is_this_machine(base_url):
        limits = anthropic.DEFAULT_CONNECTION_LIMITS
        return httpx2.AsyncClient(verify=tls(base_url), trust_env=False, limits=limits, event_hooks=_HOOKS)
    return anthropic.DefaultAsyncHttpxClient(verify=tls(base_url), follow_redirects=False, event_hooks=_HOOKS)


def credentials(own: Mapping[str, str], key: str = "") -> Callable[[httpx2.Request], httpx2.Request]:
    """Return what sets the key at the last moment: ANTHROPIC_CUSTOM_HEADERS must not send another in its place.

    Given to the SDK with each request instead, the key would stand in its debug log.

    Args:
        own: the headers in which the SDK sends the key to Anthropic.
        key: the key, for an address that is not Anthropic's own: it is sent both ways there, since the SDK has changed
            from the one to the other with 2.0.0, and gateways read either. Of two the API itself takes X-Api-Key.
            https://qiita.com/Synthorai/items/01a0067e88747257a4e6, read 2026-11-30
    """
    headers = {"Authorization": f"Bearer {key}", "X-Api-Key": key} if key else own

    def set_key(request: httpx2.Request) -> httpx2.Request:
        for name in ("Authorization", "X-Api-Key"):
            request.headers.pop(name, None)
        request.headers.update(headers)
        return request

    return set_key


def tls(base_url: str) -> ssl.SSLContext:
    """Return the TLS context for this address, one for the whole process: loading certificates takes longest."""
    if base_url.startswith("http://") and is_this_machine(base_url):
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # never used, so it trusts nobody
    return _certificates()


@cache
def _certificates() -> ssl.SSLContext:
    return httpx2.create_ssl_context()
