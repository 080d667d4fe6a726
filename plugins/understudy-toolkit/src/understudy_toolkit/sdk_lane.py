"""The lane that goes through a vendor's SDK, for SDKs that are built on httpx or httpx2. Neither is imported here.

A plugin's `sdk.py` has the few functions of `Sdk`: it makes the SDK's clients, sends a request through them and returns
httpx's response as it is, unread. Everything else about a lane is here.
"""

from __future__ import annotations

import asyncio
import os
import time
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import aclosing, suppress
from importlib import import_module
from typing import Any, NamedTuple, Protocol, TypeVar, cast

from understudy.concurrency.out_of_time import next_by
from understudy.errors import MalformedResponse, ProviderUnavailable, Timeout
from understudy_toolkit.bodies import ENCODINGS, Decoder, too_large
from understudy_toolkit.clients import Clients, close_in_child, follow_connection, unwind
from understudy_toolkit.lanes import CONNECT_SECONDS, Ask, Headers
from understudy_toolkit.machine import HTTPX, find_proxy
from understudy_toolkit.tls import context_for

__all__ = [
    "Opened",
    "ReplyTaken",
    "Sdk",
    "SdkLane",
    "aguarded",
    "ataking",
    "client_options",
    "guarded",
    "seconds_left",
    "taking",
    "with_headers",
]

HttpClient = TypeVar("HttpClient")

# Of the body of an error. SDKs read it whole, whatever its size and however slowly it comes; 64 kB can be inflated to
# 64 MB, and show the cause at their beginning or not at all.
MOST_ERROR_BYTES = 64 * 2**10
_OF_THE_BODY = ("content-encoding", "content-length", "transfer-encoding")


class Sdk(Protocol):
    """What a plugin's `sdk.py` has, as functions of the module.

    It may have one more, `prepare(account)`: it does once what else takes long before the first client, such as looking
    for credentials, on an event loop in a thread, so that the loop goes on. What it returns is given to the functions
    that open clients, in place of the account.
    """

    def open_client(self, account: Any) -> Any:
        """Make the SDK's client, its retries off, around an HTTP client that was made by `guarded` or `taking`."""
        ...

    def open_async_client(self, account: Any) -> Any:
        """Make the SDK's client for the running event loop, around one that was made by `aguarded` or `ataking`."""
        ...

    def send(self, client: Any, ask: Ask) -> Any:
        """Send a request through the SDK, and return httpx's response, whatever its status."""
        ...

    async def asend(self, client: Any, ask: Ask) -> Any:
        """As `send`, on the running event loop."""
        ...


class SdkLane:
    """Carries requests through a vendor's SDK.

    Args:
        module: the name of the plugin's `sdk.py`, which is imported, and the SDK with it, when it is needed.
        account: whose requests they are, and where they go; the functions of the module are given it.
    """

    keeps_deadline = False

    def __init__(self, module: str, account: Any) -> None:
        self._module, self._account, self._prepared = module, account, account
        self._clients: Clients[Opened, Any] = Clients(
            prepare=self._prepare,
            open=self._open,
            close=lambda opened: opened.close(),
            open_async=lambda: self._sdk.open_async_client(self._prepared),
            close_async=_aclose,
        )

    @property
    def _sdk(self) -> Sdk:
        return cast(Sdk, import_module(self._module))

    def _prepare(self) -> None:
        prepare = getattr(import_module(self._module), "prepare", None)
        if prepare is not None:
            self._prepared = prepare(self._account)

    def _open(self) -> Opened:
        client = self._sdk.open_client(self._prepared)
        return Opened(client, weakref.finalize(self, _close, os.getpid(), client))  # at the latest as garbage

    def prepare(self) -> None:
        """Import the SDK; problems with the machine's settings are reported by the first request."""
        with suppress(ProviderUnavailable):
            self._clients.prepare()

    def send(self, ask: Ask) -> HttpxReply:
        """Send a request; the time begins when the SDK has been imported."""
        client = self._clients.get().client
        until = time.monotonic() + ask.seconds
        return HttpxReply(self._sdk.send(client, ask), ask, until)

    async def asend(self, ask: Ask) -> AsyncHttpxReply:
        """Send a request on the running event loop; the time begins when the SDK has been imported."""
        client = await self._clients.aget()
        until = asyncio.get_running_loop().time() + ask.seconds
        async with asyncio.timeout_at(until):
            return AsyncHttpxReply(await self._sdk.asend(client, ask), ask, until)

    def close(self) -> None:
        """Close all clients."""
        self._clients.close()

    async def aclose(self) -> None:
        """Close the client of the running event loop, and then all others."""
        await self._clients.aclose()


class Opened(NamedTuple):
    """An SDK's client, and what closes it: some SDKs do not close an HTTP client that they were given."""

    client: Any
    close: Callable[[], Any]


def _close(process: int, client: Any) -> None:
    """Close a client, but never in a forked process, where it is not used: its locks may be held there for ever."""
    if process == os.getpid():
        client.close()


async def _aclose(client: Any) -> None:
    await (client.aclose if hasattr(client, "aclose") else client.close)()


class HttpxReply:
    """httpx's response as a Reply.

    Args:
        response: the response, read or unread.
        ask: what was asked.
        until: the moment (time.monotonic) by which a whole answer must be there.
    """

    def __init__(self, response: Any, ask: Ask, until: float) -> None:
        self.status: int = response.status_code
        self.headers = Headers(response.headers.items())
        self._response, self._ask, self._until = response, ask, until
        connection = getattr(response, "extensions", {}).get("network_stream")  # requests has none
        if connection is not None:
            close_in_child(connection.get_extra_info("socket"))
            if "read" not in vars(connection):  # once for each connection
                connection.read = _in_time(connection.read)

    def read(self) -> bytes:
        """Return the whole body."""
        until = time.monotonic() + self._ask.seconds if self._ask.stream else self._until
        return b"".join(_bounded(self.pieces(), self._ask.most_bytes, until))

    def pieces(self) -> Iterator[bytes]:
        """Yield the body as it comes."""
        if self._response.is_closed:  # the SDK has read it
            yield self._response.content
            return
        decoder = Decoder(self.headers)
        for data in self._response.iter_raw():
            yield from decoder.feed(data)

    def close(self) -> None:
        """End the response."""
        self._response.close()


def seconds_left(timeout: float | None) -> float | None:
    """Return how long a read may wait: as long as the next piece of a stream may take, and no longer than it is told.

    Args:
        timeout: the seconds that every read has; None for no end.
    """
    until = next_by.get()
    if until == float("inf"):
        return timeout
    left = max(until - time.monotonic(), 0.001)
    return left if timeout is None else min(timeout, left)


def _in_time(read: Callable[..., bytes]) -> Callable[..., bytes]:
    """Return a connection's `read` that waits no longer than the next piece may take: httpx has one time for all."""

    def read_in_time(max_bytes: int, timeout: float | None = None) -> bytes:
        return read(max_bytes, seconds_left(timeout))

    return read_in_time


def _bounded(pieces: Iterator[bytes], most_bytes: int, until: float) -> Iterator[bytes]:
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > most_bytes:
            raise too_large(most_bytes)
        if time.monotonic() > until:  # each read has its own timeout: a trickle would pass them all
            raise Timeout("the answer came too slowly to be whole in time")
        yield piece


class AsyncHttpxReply:
    """httpx's response as an AsyncReply.

    Args:
        response: the response, read or unread.
        ask: what was asked.
        until: the moment (of the loop's clock) by which a whole answer must be there.
    """

    def __init__(self, response: Any, ask: Ask, until: float) -> None:
        self.status: int = response.status_code
        self.headers = Headers(response.headers.items())
        self._response, self._ask, self._until = response, ask, until
        self._raw: AsyncIterator[bytes] | None = None

    async def read(self) -> bytes:
        """Return the whole body."""
        until = asyncio.get_running_loop().time() + self._ask.seconds if self._ask.stream else self._until
        pieces, size = [], 0
        async with asyncio.timeout_at(until), aclosing(self.pieces()) as body:
            async for piece in body:
                size += len(piece)
                if size > self._ask.most_bytes:
                    raise too_large(self._ask.most_bytes)
                pieces.append(piece)
        return b"".join(pieces)

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Yield the body as it comes."""
        if self._response.is_closed:
            yield self._response.content
            return
        decoder = Decoder(self.headers)
        self._raw = self._response.aiter_raw()
        async for data in self._raw:
            if decoder.is_plain:
                yield data
                continue
            for piece in decoder.feed(data):
                yield piece
                await asyncio.sleep(0)  # inflating takes long, and other tasks need the loop

    async def close(self) -> None:
        """End the response, and whatever reads it."""
        await self._response.aclose()
        if self._raw is not None:
            await unwind(self._raw)


# ---- the HTTP clients that SDKs are given ----


def client_options(url: str) -> dict[str, Any]:
    """Return what a client of httpx or httpx2 for this address is made with.

    It follows no redirection, so the key goes nowhere else, and it reads no variable by itself.

    Raises:
        ProviderUnavailable: the machine names a proxy that cannot be used, or certificates that cannot be read.
    """
    proxy = find_proxy(url, HTTPX)
    return {
        "verify": context_for(url),
        "proxy": None if proxy is None else proxy.url_with_login,
        "trust_env": False,
        "follow_redirects": False,
    }


def guarded(kind: type[HttpClient]) -> type[HttpClient]:
    """Return a class of httpx's Client that asks for no encoding but our own, and reads errors within bounds."""

    def send(self: Any, request: Any, **options: Any) -> Any:
        request.headers["accept-encoding"] = ENCODINGS
        response = super(guard, self).send(request, **options)
        if response.status_code < 400 or response.is_closed:
            return response
        until = time.monotonic() + _seconds_of(request)
        pieces: list[bytes] = []
        try:
            for raw in response.iter_raw():
                pieces.append(raw)
                if sum(map(len, pieces)) >= MOST_ERROR_BYTES or time.monotonic() > until:
                    break
        finally:
            response.close()
        return _read_response(response, pieces)

    guard = cast("type[HttpClient]", type(kind.__name__, (kind,), {"send": send, "__module__": __name__}))
    return guard


def aguarded(kind: type[HttpClient]) -> type[HttpClient]:
    """Return a class of httpx's AsyncClient, as `guarded`; it leaves no connection half open where it is cancelled."""

    async def send(self: Any, request: Any, **options: Any) -> Any:
        request.headers["accept-encoding"] = ENCODINGS
        await follow_connection(request)
        response = await super(guard, self).send(request, **options)
        if response.status_code < 400 or response.is_closed:
            return response
        pieces: list[bytes] = []
        raw = response.aiter_raw()
        try:
            async with asyncio.timeout(_seconds_of(request)):
                async for piece in raw:
                    pieces.append(piece)
                    if sum(map(len, pieces)) >= MOST_ERROR_BYTES:
                        break
        except TimeoutError:
            pass  # the status says enough
        finally:
            await response.aclose()
            await unwind(raw)
        return _read_response(response, pieces)

    guard = cast("type[HttpClient]", type(kind.__name__, (kind,), {"send": send, "__module__": __name__}))
    return guard


class ReplyTaken(Exception):
    """Raised to carry a reply out of an SDK that does not return replies unread.

    Args:
        response: the response, unread.
    """

    def __init__(self, response: Any) -> None:
        super().__init__()
        self.response = response


def taking(kind: type[HttpClient]) -> type[HttpClient]:
    """Return a class of httpx's Client that raises each reply, unread and whatever its status, as ReplyTaken."""

    def send(self: Any, request: Any, **options: Any) -> Any:
        _set_up(request)
        raise ReplyTaken(super(taker, self).send(request, **{**options, "stream": True}))

    taker = cast("type[HttpClient]", type(kind.__name__, (kind,), {"send": send, "__module__": __name__}))
    return taker


def ataking(kind: type[HttpClient]) -> type[HttpClient]:
    """Return a class of httpx's AsyncClient, as `taking`; it leaves no connection half open where it is cancelled."""

    async def send(self: Any, request: Any, **options: Any) -> Any:
        _set_up(request)
        await follow_connection(request)
        raise ReplyTaken(await super(taker, self).send(request, **{**options, "stream": True}))

    taker = cast("type[HttpClient]", type(kind.__name__, (kind,), {"send": send, "__module__": __name__}))
    return taker


def _set_up(request: Any) -> None:
    """Ask for no encoding but our own, and bound the connection, for which such SDKs take no time of its own."""
    request.headers["accept-encoding"] = ENCODINGS
    times = request.extensions.get("timeout", {})
    found = times.get("connect")
    connect = CONNECT_SECONDS if found is None else min(found, CONNECT_SECONDS)
    request.extensions["timeout"] = {**times, "connect": connect}


def with_headers(headers: Mapping[str, str], *removed: str) -> Callable[[Any], Any]:
    """Return what sets an account's headers at the last moment, as the `auth` of a client of httpx.

    Given to the SDK instead, a key would stand in its debug log, and the environment could put another in its place.

    Args:
        headers: what is set.
        removed: headers that must not be sent as the SDK has made them.
    """

    def set_headers(request: Any) -> Any:
        for name in removed:
            request.headers.pop(name, None)
        request.headers.update(headers)
        return request

    return set_headers


def _seconds_of(request: Any) -> float:
    seconds: float | None = request.extensions.get("timeout", {}).get("read")
    return float("inf") if seconds is None else seconds


def _read_response(response: Any, pieces: list[bytes]) -> Any:
    """Return an error's response with as much of its body as was read."""
    content: list[bytes] = []
    with suppress(MalformedResponse):  # the status says enough
        decoder = Decoder(Headers(response.headers.items()))
        for raw in pieces:
            content += decoder.feed(raw)
    headers = [pair for pair in response.headers.multi_items() if pair[0].lower() not in _OF_THE_BODY]
    return type(response)(response.status_code, headers=headers, content=b"".join(content), request=response.request)
