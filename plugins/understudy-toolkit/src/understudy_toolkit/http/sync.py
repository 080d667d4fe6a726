"""The http lane of sync calls: connections that are kept, and replies that are read within their time."""

from __future__ import annotations

import ssl
import time
import weakref
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPException, RemoteDisconnected
from typing import NoReturn

from understudy.concurrency.out_of_time import next_by
from understudy.errors import ConnectionFailed, MalformedResponse, Timeout
from understudy_toolkit.bodies import Decoder, too_large
from understudy_toolkit.http.address import Address
from understudy_toolkit.http.response import Response
from understudy_toolkit.http.wire import Wire, connect
from understudy_toolkit.lanes import REFUSED, Ask
from understudy_toolkit.machine import Proxy

__all__ = ["KEEP_SECONDS", "MOST_IDLE", "Connections", "HttpReply"]

KEEP_SECONDS = 15.0  # that an idle connection is kept, as aiohttp does (3.14.5, connector.py); servers close later
MOST_IDLE = 100  # connections that are kept, as the SDKs do (anthropic 2.14.0, _constants.py)
_AT_ONCE = 2**16  # bytes that are read in one step


class Connections:
    """The connections to one address. Safe to use from several threads; a forked process begins with none.

    Args:
        address: where to.
        proxy: the proxy between, if any.
        context: the certificates that are trusted.
    """

    def __init__(self, address: Address, proxy: Proxy | None, context: ssl.SSLContext) -> None:
        self._address, self._proxy, self._context = address, proxy, context
        self._idle: deque[Wire] = deque()  # most recently used last; deque methods need no lock
        weakref.finalize(self, _close_all, self._idle)  # at the latest on garbage collection, as on the SDK's lane

    def send(self, request: bytes, ask: Ask, until: float) -> HttpReply:
        """Send a request, and return its reply once that has begun.

        A connection that was closed while it was idle is skipped, and so is one that breaks before the system has
        taken a byte of the request. Nothing else is sent twice: a server may have taken it up.

        Raises:
            Timeout: it has not begun in time.
            ConnectionFailed: there is no connection, or it broke.
            MalformedResponse: what came is not HTTP.
        """
        while True:
            wire = self._take()
            is_new = wire is None
            wire = wire or self._connect(ask, until)
            try:
                wire.end_by(until)
                wire.send(request)
                return HttpReply(self, wire, _begin(wire, ask.method), ask, until)
            except BaseException as error:
                wire.close()
                if isinstance(error, OSError) and not isinstance(error, TimeoutError) and not (is_new or wire.sent):
                    continue
                if isinstance(error, OSError | HTTPException):
                    _raise(error, f"no answer has begun within {ask.seconds:.3g} s")
                raise

    def keep(self, wire: Wire) -> None:
        """Keep a connection for the next request."""
        wire.last_used = time.monotonic()
        self._idle.append(wire)
        if len(self._idle) > MOST_IDLE:
            _close_first(self._idle)

    def close(self) -> None:
        """Close the connections that are idle."""
        _close_all(self._idle)

    def _take(self) -> Wire | None:
        """Return an idle connection that can be used, where there is one."""
        expired = time.monotonic() - KEEP_SECONDS
        while True:
            try:
                wire = self._idle.pop()
            except IndexError:
                return None
            if wire.last_used > expired and wire.is_good():
                return wire
            wire.close()

    def _connect(self, ask: Ask, until: float) -> Wire:
        seconds = min(ask.connect_seconds, ask.seconds)
        try:
            return connect(self._address, self._proxy, self._context, min(until, time.monotonic() + seconds))
        except OSError as error:
            _raise(error, f"no connection to {self._address.host} within {seconds:.3g} s")


class HttpReply:
    """A reply as it comes on a connection.

    Args:
        connections: where the connection is kept, once the body was read to its end.
        wire: the connection.
        response: its head was read.
        ask: what was asked.
        until: the moment (time.monotonic) by which a whole answer must be there.
    """

    def __init__(self, connections: Connections, wire: Wire, response: Response, ask: Ask, until: float) -> None:
        self.status: int = response.status
        self.headers = response.fields
        self._connections, self._response = connections, response
        self._wire: Wire | None = wire
        self._ask, self._until = ask, until

    def read(self) -> bytes:
        """Return the whole body."""
        until = time.monotonic() + self._ask.seconds if self._ask.stream else self._until
        words = f"the answer was not whole within {self._ask.seconds:.3g} s"
        pieces, size, decoder = [], 0, Decoder(self.headers)
        while data := self._next(until, words):
            for piece in decoder.feed(data):
                size += len(piece)
                if size > self._ask.most_bytes:
                    raise too_large(self._ask.most_bytes)
                if time.monotonic() > until:  # inflating takes long
                    raise Timeout(words)
                pieces.append(piece)
        return b"".join(pieces)

    def pieces(self) -> Iterator[bytes]:
        """Yield the body as it comes."""
        words = f"nothing more has come within {self._ask.seconds:.3g} s"
        decoder = Decoder(self.headers)
        while data := self._next(min(time.monotonic() + self._ask.seconds, next_by.get()), words):
            yield from decoder.feed(data)

    def close(self) -> None:
        """End the reply; what was not read to its end closes its connection."""
        wire, self._wire = self._wire, None
        self._response.close()  # else the garbage collector would, perhaps after what it reads from
        if wire is not None:
            wire.close()

    def _next(self, until: float, words: str) -> bytes:
        """Return the next bytes; none at the end."""
        response, wire = self._response, self._wire
        if wire is None:
            return b""
        wire.end_by(until)
        try:
            data = b"" if response.length == 0 else response.read1(_AT_ONCE)
        except (OSError, HTTPException) as error:
            _raise(error, words)
        if data:
            return data
        if response.length:
            raise ConnectionFailed(f"the connection was closed {response.length:,} bytes before the end of the answer")
        self._wire = None
        if response.will_close:
            wire.close()
        else:
            self._connections.keep(wire)
        return b""


def _begin(wire: Wire, method: str) -> Response:
    """Read the head of a response; those that only announce another one are skipped."""
    while True:
        response = Response(wire, method=method)  # type: ignore[arg-type]  # it has what is needed of a socket
        try:
            response.begin()
        except BaseException:
            response.close()
            raise
        if response.status >= 200:
            return response
        response.close()


def _raise(error: OSError | HTTPException, words: str) -> NoReturn:
    """Raise what an exception of the connection means."""
    if isinstance(error, TimeoutError):
        raise Timeout(words) from None
    told = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if isinstance(error, RemoteDisconnected) or not isinstance(error, HTTPException):
        refused = isinstance(error, ConnectionRefusedError)
        raise ConnectionFailed(told, code=REFUSED if refused else None) from None
    if type(error).__name__ == "IncompleteRead":
        raise ConnectionFailed("the connection was closed before the end of the answer") from None
    raise MalformedResponse(f"expected HTTP, found something else: {told[:200]}") from None


def _close_all(idle: deque[Wire]) -> None:
    while idle:
        _close_first(idle)


def _close_first(idle: deque[Wire]) -> None:
    with suppress(IndexError):  # another thread was quicker
        idle.popleft().close()
