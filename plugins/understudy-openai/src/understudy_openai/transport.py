"""The HTTP clients that are handed to OpenAI's SDK. Imported with the SDK, at the first request.

They follow no redirection, so the key goes nowhere else; nothing for this machine goes through a proxy; and the key is
set on each request at the last moment.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Collection, Mapping
from functools import cache

import httpx2
import openai

from understudy_toolkit.clients import close_half_open, is_this_machine

# Credentials and accounts that the SDK takes from the environment by itself; others are set on purpose or not at all.
_ACCOUNT = ("Authorization", "OpenAI-Organization", "OpenAI-Project")
_OF_THE_SDK = ("accept", "content-type", "user-agent", "x-stainless-")

_HOOKS: dict[str, list[Callable[..., object]]] = {"request": [close_half_open]}


def client(base_url: str) -> httpx2.Client:
    """Return a client for sync calls to this address."""
    if is_this_machine(base_url):
        return httpx2.Client(verify=tls(base_url), trust_env=False, limits=openai.DEFAULT_CONNECTION_LIMITS)
    return openai.DefaultHttpxClient(verify=tls(base_url), follow_redirects=False)


def async_client(base_url: str) -> httpx2.AsyncClient:
    """Return a client for calls to this address on the running event loop."""
    if is_this_machine(base_url):
        limits = openai.DEFAULT_CONNECTION_LIMITS
        return httpx2.AsyncClient(verify=tls(base_url), trust_env=False, limits=limits, event_hooks=_HOOKS)
    return openai.DefaultAsyncHttpxClient(verify=tls(base_url), follow_redirects=False, event_hooks=_HOOKS)


def account(headers: Mapping[str, str], foreign: Collection[str] = ()) -> Callable[[httpx2.Request], httpx2.Request]:
    """Return what sets key and account at the last moment: OPENAI_CUSTOM_HEADERS must not send others in their place.

    Given to the SDK with each request instead, the key would stand in its debug log.

    Args:
        headers: the headers with the key, and with the organization and project that are charged.
        foreign: headers that this server shall not see.
    """

    def set_account(request: httpx2.Request) -> httpx2.Request:
        for name in (*_ACCOUNT, *foreign):
            request.headers.pop(name, None)
        request.headers.update(headers)
        return request

    return set_account


def headers_of_environment(sdk: openai.OpenAI | openai.AsyncOpenAI) -> list[str]:
    """Return the names of the headers that the SDK took from OPENAI_CUSTOM_HEADERS."""
    return [name for name in sdk.default_headers if not name.lower().startswith(_OF_THE_SDK)]


def tls(base_url: str) -> ssl.SSLContext:
    """Return the TLS context for this address, one for the whole process: loading certificates takes longest."""
    if base_url.startswith("http://") and is_this_machine(base_url):
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # never used, so it trusts nobody
    return _certificates()


@cache
def _certificates() -> ssl.SSLContext:
    return httpx2.create_ssl_context()
