"""The lane through Cohere's SDK: its clients, and how they are asked. Imported, and the SDK with it, when needed.

Its replies are taken from it unread: it would build models of them, return a page of HTML as an error with status 200,
and skip the events of a stream that it does not know. Plain answers are asked for through `chat_stream` too, which
retries nothing.
"""

from __future__ import annotations

from typing import Any

import httpx
from cohere import AsyncClientV2, ClientV2

from understudy_toolkit.account import Account
from understudy_toolkit.lanes import Ask
from understudy_toolkit.sdk_lane import Opened, ReplyTaken, ataking, client_options, taking, with_headers


def open_client(account: Account) -> Opened:
    """Make the SDK's client for sync calls."""
    http = taking(httpx.Client)(**client_options(account.base_url))
    http.auth = with_headers(account.bearer, "Authorization")
    return Opened(ClientV2("none", base_url=account.base_url, httpx_client=http), http.close)


def open_async_client(account: Account) -> Opened:
    """Make the SDK's client for the running event loop."""
    http = ataking(httpx.AsyncClient)(**client_options(account.base_url))
    http.auth = with_headers(account.bearer, "Authorization")
    return Opened(AsyncClientV2("none", base_url=account.base_url, httpx_client=http), http.aclose)


def send(opened: Opened, ask: Ask) -> Any:
    """Send a request through the SDK, and return the response, unread and whatever its status."""
    client: ClientV2 = opened.client
    try:
        if ask.method == "GET":
            client.models.list(**_list_arguments(ask))
        else:
            next(iter(client.chat_stream(**_arguments(ask))), None)
    except ReplyTaken as taken:
        return taken.response
    raise AssertionError("cohere went on with a reply that was taken from it")


async def asend(opened: Opened, ask: Ask) -> Any:
    """Send a request through the SDK on the running event loop, as `send`."""
    client: AsyncClientV2 = opened.client
    try:
        if ask.method == "GET":
            await client.models.list(**_list_arguments(ask))
        else:
            await anext(aiter(client.chat_stream(**_arguments(ask))), None)
    except ReplyTaken as taken:
        return taken.response
    raise AssertionError("cohere went on with a reply that was taken from it")


def _arguments(ask: Ask) -> dict[str, Any]:
    """Return the arguments of a call: our JSON goes past the SDK's own parameters, which are not all there are."""
    options = {**_request_options(ask), "additional_body_parameters": ask.body}
    return {"model": ask.body["model"], "messages": [], "request_options": options}


def _list_arguments(ask: Ask) -> dict[str, Any]:
    query = ask.query
    return {
        "endpoint": query["endpoint"],
        "page_size": int(query["page_size"]),
        "request_options": _request_options(ask),
    }


def _request_options(ask: Ask) -> dict[str, Any]:
    return {
        "timeout": ask.seconds,
        "timeout_in_seconds": ask.seconds,  # the only name for it before 7.0.9
        "max_retries": 0,
    }
