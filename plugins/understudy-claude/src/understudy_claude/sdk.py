"""The lane through Anthropic's SDK: its clients, and how they are asked. Imported, and the SDK with it, when needed."""

from __future__ import annotations

from typing import Any

import anthropic
import httpx2

from understudy_claude.account import CREDENTIALS, credentials
from understudy_toolkit import stainless
from understudy_toolkit.account import Account
from understudy_toolkit.lanes import Ask
from understudy_toolkit.sdk_lane import with_headers


def open_client(account: Account) -> anthropic.Anthropic:
    """Make the SDK's client for sync calls."""
    http_client = stainless.open_http(anthropic, httpx2, account.base_url)
    client = anthropic.Anthropic(
        api_key=_key(account), base_url=account.base_url, max_retries=0, http_client=http_client
    )
    http_client.auth = with_headers(client.auth_headers if account.is_vendor else credentials(account), *CREDENTIALS)
    return client


def open_async_client(account: Account) -> anthropic.AsyncAnthropic:
    """Make the SDK's client for the running event loop."""
    http_client = stainless.open_async_http(anthropic, httpx2, account.base_url)
    client = anthropic.AsyncAnthropic(
        api_key=_key(account), base_url=account.base_url, max_retries=0, http_client=http_client
    )
    http_client.auth = with_headers(client.auth_headers if account.is_vendor else credentials(account), *CREDENTIALS)
    return client


def send(client: anthropic.Anthropic, ask: Ask) -> Any:
    """Send a request through the SDK, and return the response, whatever its status."""
    return stainless.send(anthropic, httpx2, client, ask)


async def asend(client: anthropic.AsyncAnthropic, ask: Ask) -> Any:
    """Send a request through the SDK on the running event loop, as `send`."""
    return await stainless.asend(anthropic, httpx2, client, ask)


def _key(account: Account) -> str:
    return account.key.reveal() if account.key is not None else "none"  # which is not sent
