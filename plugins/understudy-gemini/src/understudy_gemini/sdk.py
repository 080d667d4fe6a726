"""The lane through Google's SDK: its clients, and how they are asked. Imported, and the SDK with it, when needed.

Its replies are taken from it unread: its reader gives up a whole answer for one field or value that it does not know,
and says nothing where a stream breaks off. Its clients take nothing from the environment (address, version, key and
mode are all pinned), and with HTTP clients of our own the same library carries sync and async calls, whatever else is
installed: the SDK would take aiohttp where it finds it, which retries on its own.
"""

from __future__ import annotations

import logging
import warnings
from typing import Any, NamedTuple, cast

# Versions before 3.4.0 have a wrong escape sequence in a text; the user can do nothing about it.
warnings.filterwarnings("ignore", message="invalid escape sequence", module=r".*google.genai.types")

import httpx2  # noqa: E402
from google.genai import Client, types  # noqa: E402
from google.genai.client import DebugConfig  # noqa: E402
from google.genai.models import AsyncModels, Models  # noqa: E402

from understudy_gemini.connection import Connection  # noqa: E402
from understudy_gemini.identity import read_credentials  # noqa: E402
from understudy_toolkit.lanes import Ask  # noqa: E402
from understudy_toolkit.sdk_lane import Opened, ReplyTaken, ataking, client_options, taking, with_headers  # noqa: E402


class Signed(NamedTuple):
    """A connection, and the credentials for Vertex AI, whose token serves all clients."""

    connection: Connection
    credentials: Any


def prepare(connection: Connection) -> Signed:
    """Look for credentials, and make a client that is not used: the first takes fifty times as long as others."""
    credentials = None if connection.project is None else read_credentials(connection.credentials_file)
    signed = Signed(connection, credentials)
    open_client(signed)
    return signed


def open_client(signed: Signed) -> Opened:
    """Make the SDK's client for sync calls."""
    client, http, _ = _open(signed)
    return Opened(client, http.close)


def open_async_client(signed: Signed) -> Opened:
    """Make the SDK's client for the running event loop."""
    client, _, http = _open(signed)
    return Opened(client, http.aclose)


def send(opened: Opened, ask: Ask) -> httpx2.Response:
    """Send a request through the SDK, and return the response, unread and whatever its status."""
    models: Models = opened.client.models
    try:
        if ask.method == "GET":
            models.list(config=_list_config(ask))
        elif ask.stream:
            next(models.generate_content_stream(**_arguments(ask)), None)
        else:
            models.generate_content(**_arguments(ask))
    except ReplyTaken as taken:
        return cast(httpx2.Response, taken.response)
    raise AssertionError("google-genai went on with a reply that was taken from it")


async def asend(opened: Opened, ask: Ask) -> httpx2.Response:
    """Send a request through the SDK on the running event loop, as `send`."""
    models: AsyncModels = opened.client.aio.models
    try:
        if ask.method == "GET":
            await models.list(config=_list_config(ask))
        elif ask.stream:
            await anext(await models.generate_content_stream(**_arguments(ask)), None)
        else:
            await models.generate_content(**_arguments(ask))
    except ReplyTaken as taken:
        return cast(httpx2.Response, taken.response)
    raise AssertionError("google-genai went on with a reply that was taken from it")


def _open(signed: Signed) -> tuple[Client, httpx2.Client, httpx2.AsyncClient]:
    connection = signed.connection
    options = client_options(connection.account.base_url)
    http, async_http = taking(httpx2.Client)(**options), ataking(httpx2.AsyncClient)(**options)
    if connection.project is None:
        account: dict[str, Any] = {"vertexai": False, "api_key": "none"}  # the key is set at the last moment
        http.auth = async_http.auth = with_headers(connection.credentials, "x-goog-api-key")
    else:
        place = {"project": connection.project, "location": connection.location}
        account = {"vertexai": True, "credentials": signed.credentials, **place}
    client = Client(
        **account,
        debug_config=DebugConfig(client_mode=None, replays_directory=None, replay_id=None),
        http_options=types.HttpOptions(
            base_url=connection.account.base_url,
            api_version=connection.api_version,
            retry_options=types.HttpRetryOptions(attempts=1),
            httpx_client=http,
            httpx_async_client=async_http,
            async_client_args={"ssl": options["verify"]},  # else it makes a context for sockets never opened here
        ),
    )
    return client, http, async_http


def _arguments(ask: Ask) -> dict[str, Any]:
    """Return what the SDK is called with: our JSON goes past its models, which refuse what they do not know."""
    config = types.GenerateContentConfig(
        http_options=_http_options(ask),
        # The SDK sends no further requests of its own, neither with results of tools nor to go on with an answer.
        automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
        automatic_continuation=False,
    )
    model = ask.path.split("/", 2)[2].rpartition(":")[0]
    return {"model": model, "contents": ".", "config": config}  # the contents in the body take the place of these


def _list_config(ask: Ask) -> types.ListModelsConfig:
    return types.ListModelsConfig(
        page_size=int(ask.query["pageSize"]),
        page_token=ask.query.get("pageToken"),
        query_base=True,
        http_options=_http_options(ask),
    )


def _http_options(ask: Ask) -> types.HttpOptions:
    milliseconds = max(1, round(ask.seconds * 1000))
    return types.HttpOptions(timeout=milliseconds, headers=dict(ask.headers), extra_body=ask.body)


def _is_news(record: logging.LogRecord) -> bool:
    """Tell whether a record says something else than that two keys are set: the SDK is given one, and uses neither."""
    return not record.getMessage().startswith("Both GOOGLE_API_KEY and GEMINI_API_KEY are set")


logging.getLogger("google_genai._api_client").addFilter(_is_news)
