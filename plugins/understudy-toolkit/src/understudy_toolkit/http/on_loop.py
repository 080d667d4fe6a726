"""The http lane of calls on an event loop, on aiohttp. Imported at the first such call."""

from __future__ import annotations

import asyncio
import errno
import io
import select
import socket
import ssl
import weakref
from collections.abc import AsyncGenerator, Mapping
from contextvars import ContextVar
from typing import Any, NoReturn

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from understudy.concurrency.threads import in_thread
from understudy.errors import ConnectionFailed, MalformedResponse, Timeout
from understudy_toolkit.bodies import Decoder, too_large
from understudy_toolkit.clients import note_socket
from understudy_toolkit.http.address import Address
from understudy_toolkit.lanes import REFUSED, Ask, Headers
from understudy_toolkit.machine import Proxy

__all__ = ["AsyncHttpReply", "Session"]

KEEP_SECONDS = 15.0  # as in sync.py
_LARGE = 2**20  # bytes of a request, from which on aiohttp wants a file, so that it can send it bit by bit
_NO_TIMES = aiohttp.ClientTimeout(
    total=None, connect=None, sock_connect=None, sock_read=None
)  # they are kept here, not there


class Session:
    """The connections to one address on one event loop. Make it there.

    Args:
        address: where to.
        proxy: the proxy between, if any.
        context: the certificates that are trusted.
    """

    def __init__(self, address: Address, proxy: Proxy | None, context: ssl.SSLContext) -> None:
        self._origin, self._host, self._proxy = address.origin, address.host, proxy
        self._session = aiohttp.ClientSession(
            connector=_Connector(
                resolver=_Resolver(), ssl=context, limit=0, keepalive_timeout=KEEP_SECONDS, use_dns_cache=False
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            timeout=_NO_TIMES,
            trust_env=False,
        )

    async def send(self, target: str, headers: Mapping[str, str], body: bytes, ask: Ask) -> AsyncHttpReply:
        """Send a request, and return its reply once that has begun.

        Raises:
            Timeout: it has not begun in time.
            ConnectionFailed: there is no connection, or it broke.
            MalformedResponse: what came is not HTTP.
        """
        until = asyncio.get_running_loop().time() + ask.seconds
        connect = ask.connect_seconds if ask.connect_seconds < ask.seconds else None
        proxy: dict[str, Any] = {}
        if self._proxy is not None:
            proxy["proxy"] = self._proxy.url
            if self._proxy.authorization is not None:
                shown = {"proxy-authorization": self._proxy.authorization}
                if self._origin.startswith("https:"):
                    proxy["proxy_headers"] = shown
                else:
                    headers = {**headers, **shown}
        used: list[asyncio.Transport] = []
        token = _used.set(used)
        try:
            async with asyncio.timeout_at(until):
                response = await self._session.request(
                    ask.method,
                    URL(self._origin + target, encoded=True),
                    data=io.BytesIO(body) if len(body) >= _LARGE else body or None,
                    headers=headers,
                    allow_redirects=False,
                    skip_auto_headers=("user-agent", "accept", "accept-encoding", "content-type"),
                    timeout=aiohttp.ClientTimeout(total=None, connect=connect, sock_read=None),
                    **proxy,
                )
        except BaseException as error:
            if used:
                used[-1].abort()  # closing waits until the server has taken the request
            if not isinstance(error, aiohttp.ClientError | OSError):
                raise
            if isinstance(error, aiohttp.ConnectionTimeoutError):
                raise Timeout(f"no connection to {self._host} within {connect:.3g} s") from None
            _raise(error, f"no answer has begun within {ask.seconds:.3g} s")
        finally:
            _used.reset(token)
        return AsyncHttpReply(response, used[-1], ask, until)

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    def __del__(self) -> None:
        # Its loop was never closed, or the interpreter ends: the user could do nothing about a warning.
        if not self._session.closed:
            self._session.detach()


class AsyncHttpReply:
    """A reply as it comes.

    Args:
        response: its head was read.
        transport: what it comes on.
        ask: what was asked.
        until: the moment (of the loop's clock) by which a whole answer must be there.
    """

    def __init__(self, response: aiohttp.ClientResponse, transport: asyncio.Transport, ask: Ask, until: float) -> None:
        self.status: int = response.status
        self.headers = Headers(response.headers.items())
        self._response, self._transport, self._ask, self._until = response, transport, ask, until

    async def read(self) -> bytes:
        """Return the whole body."""
        until = asyncio.get_running_loop().time() + self._ask.seconds if self._ask.stream else self._until
        pieces, size, decoder = [], 0, Decoder(self.headers)
        try:
            async with asyncio.timeout_at(until):
                while data := await self._response.content.readany():
                    for piece in decoder.feed(data):
                        size += len(piece)
                        if size > self._ask.most_bytes:
                            raise too_large(self._ask.most_bytes)
                        pieces.append(piece)
                        if not decoder.is_plain:
                            await asyncio.sleep(0)  # inflating takes long, and other tasks need the loop
        except (aiohttp.ClientError, OSError) as error:
            _raise(error, f"the answer was not whole within {self._ask.seconds:.3g} s")
        return b"".join(pieces)

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Yield the body as it comes."""
        decoder, content = Decoder(self.headers), self._response.content
        watch = _Watch(self._response, self._ask.seconds)
        try:
            while True:
                watch.begin()
                try:
                    data = await content.readany()
                except (aiohttp.ClientError, OSError) as error:
                    if watch.is_over:
                        raise Timeout(f"nothing more has come within {self._ask.seconds:.3g} s") from None
                    _raise(error, "")
                if not data:
                    return
                watch.pause()
                if decoder.is_plain:
                    yield data
                    continue
                for piece in decoder.feed(data):
                    yield piece
                    await asyncio.sleep(0)
        finally:
            watch.end()

    async def close(self) -> None:
        """End the reply; what was not read to its end closes its connection."""
        if not self._response.content.is_eof():
            self._transport.abort()  # a plain close would send a TLS goodbye, and wait for the server's
        self._response.close()


class _Watch:
    """Closes a response whose next piece does not come in time: one timer for all of them, whose moment each moves.

    Args:
        response: what is watched.
        seconds: for each piece.
    """

    def __init__(self, response: aiohttp.ClientResponse, seconds: float) -> None:
        self.is_over = False
        self._response, self._seconds = response, seconds
        self._loop = asyncio.get_running_loop()
        self._due: float | None = None  # None while no piece is awaited
        self._timer = self._loop.call_later(seconds, self._look)

    def begin(self) -> None:
        self._due = self._loop.time() + self._seconds

    def pause(self) -> None:
        self._due = None

    def end(self) -> None:
        self._timer.cancel()

    def _look(self) -> None:
        now = self._loop.time()
        due = now + self._seconds if self._due is None else self._due
        if due > now:
            self._timer = self._loop.call_at(due, self._look)
        else:
            self.is_over = True
            self._response.close()


_used: ContextVar[list[asyncio.Transport]] = ContextVar("used")  # by the request that is being sent


class _Connector(aiohttp.TCPConnector):
    """Skips connections that were closed while they were idle: the loop may not know it yet."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._known: weakref.WeakSet[Any] = weakref.WeakSet()

    def __del__(self, *_: Any) -> None:
        pass  # aiohttp's own would warn, as that of its session

    async def connect(self, *request: Any, **more: Any) -> Any:
        while True:
            connection = await super().connect(*request, **more)
            transport, protocol = connection.transport, connection.protocol
            if transport is not None and protocol in self._known and _has_something_to_say(transport):
                connection.close()
                continue
            if transport is not None and protocol not in self._known:
                note_socket(transport.get_extra_info("socket"))
            self._known.add(protocol)
            if transport is not None:
                _used.get().append(transport)
            return connection


def _has_something_to_say(transport: asyncio.Transport) -> bool:
    if not hasattr(select, "poll"):  # on Windows
        return False
    poll = select.poll()
    poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
    return bool(poll.poll(0))


class _Resolver(AbstractResolver):
    """Looks up hosts in threads that never run out and do not delay the interpreter's exit."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await in_thread(lambda: socket.getaddrinfo(host, port, family, socket.SOCK_STREAM))
        return [
            ResolveResult(
                hostname=host, host=str(place[0]), port=int(place[1]), family=kind, proto=protocol, flags=_NUMERIC
            )
            for kind, _, protocol, _, place in found
        ]

    async def close(self) -> None:
        """Close nothing."""


_NUMERIC = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV


def _raise(error: Exception, words: str) -> NoReturn:
    """Raise what an exception of aiohttp's means; its own holds the request with the key."""
    if isinstance(error, TimeoutError):
        raise Timeout(words) from None
    if isinstance(error, aiohttp.ClientResponseError) and not isinstance(error, aiohttp.ClientHttpProxyError):
        raise MalformedResponse(f"expected HTTP, found something else: {error.message[:200]}") from None
    if isinstance(error, aiohttp.ClientHttpProxyError):
        raise ConnectionFailed(f"expected the proxy to open a tunnel, found status {error.status}") from None
    told = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    refused = getattr(error, "errno", None) == errno.ECONNREFUSED
    raise ConnectionFailed(told, code=REFUSED if refused else None) from None
