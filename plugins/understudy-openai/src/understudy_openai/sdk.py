"""The lane through OpenAI's SDK: its clients, and how they are asked. Imported, and the SDK with it, when needed."""

from __future__ import annotations

from typing import Any

import httpx2
import openai

from understudy_openai.connection import ACCOUNT, Connection
from understudy_toolkit import stainless
from understudy_toolkit.lanes import Ask
from understudy_toolkit.sdk_lane import with_headers

_OF_THE_SDK = ("accept", "content-type", "user-agent", "x-stainless-")


def open_client(connection: Connection) -> openai.OpenAI:
    """Make the SDK's client for sync calls."""
    url = connection.account.base_url
    http_client = stainless.open_http(openai, httpx2, url)
    client = openai.OpenAI(api_key="none", base_url=url, max_retries=0, http_client=http_client)
    http_client.auth = with_headers(connection.credentials, *ACCOUNT, *_foreign_headers(connection, client))
    return client


def open_async_client(connection: Connection) -> openai.AsyncOpenAI:
    """Make the SDK's client for the running event loop."""
    url = connection.account.base_url
    http_client = stainless.open_async_http(openai, httpx2, url)
    client = openai.AsyncOpenAI(api_key="none", base_url=url, max_retries=0, http_client=http_client)
    http_client.auth = with_headers(connection.credentials, *ACCOUNT, *_foreign_headers(connection, client))
    return client


def send(client: openai.OpenAI, ask: Ask) -> Any:
    """Send a request through the SDK, and return the response, whatever its status."""
    return stainless.send(openai, httpx2, client, ask)


async def asend(client: openai.AsyncOpenAI, ask: Ask) -> Any:
    """Send a request through the SDK on the running event loop, as `send`."""
    return await stainless.asend(openai, httpx2, client, ask)


def _foreign_headers(connection: Connection, client: openai.OpenAI | openai.AsyncOpenAI) -> list[str]:
    """Return the names of the headers from OPENAI_CUSTOM_HEADERS, where another server is asked."""
    if not connection.has_own_name:
        return []
    return [name for name in client.default_headers if not name.lower().startswith(_OF_THE_SDK)]
