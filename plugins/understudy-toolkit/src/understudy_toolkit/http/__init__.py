"""The http lane: a vendor's HTTP without its SDK, each wait bounded, for sync calls and for event loops.

Sync calls are on the standard library's http.client, with connections of our own that keep a time to the millisecond;
calls on an event loop are on aiohttp, which the extra `async` brings. Nothing is asked twice, no redirection is
followed, and the key goes to its own address alone.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple

import understudy
from understudy.concurrency.out_of_time import next_by
from understudy.errors import InvalidRequest, ProviderUnavailable
from understudy_toolkit.bodies import write_json
from understudy_toolkit.clients import Clients
from understudy_toolkit.http.address import Address, check_header, write_head
from understudy_toolkit.lanes import Ask
from understudy_toolkit.machine import OURS, find_proxy

if TYPE_CHECKING:
    from understudy_toolkit.http.on_loop import AsyncHttpReply, Session
    from understudy_toolkit.http.sync import Connections, HttpReply

__all__ = ["HttpLane"]

_log = logging.getLogger("understudy.http")


class HttpLane:
    """Carries requests over HTTP.

    Args:
        url: the vendor's address; a name and a password in it are ignored.
        credentials: returns the headers that carry the key: asked for each request, and kept nowhere.
        headers: what every request carries besides.
    """

    keeps_deadline = True

    def __init__(
        self, url: str, credentials: Callable[[], Mapping[str, str]], headers: Mapping[str, str] | None = None
    ) -> None:
        self._address, self._credentials = Address.of(url), credentials
        self._headers = {
            "host": self._address.authority,
            "user-agent": f"understudy/{understudy.__version__}",
            "accept": "application/json",
            **{name.lower(): value for name, value in (headers or {}).items()},
        }
        self._opened: _Opened | None = None
        self._sessions: Clients[None, Session] = Clients(
            prepare=_import_aiohttp,
            open=lambda: None,
            close=lambda _: None,
            open_async=self._open_session,
            close_async=lambda session: session.close(),
        )

    def __repr__(self) -> str:
        return f"HttpLane({self._address.origin}{self._address.path})"

    def prepare(self) -> None:
        """Load modules and certificates; problems with the machine's settings are reported by the first request."""
        with suppress(ProviderUnavailable):
            self._open()
        if find_spec("aiohttp") is not None:
            self._sessions.prepare()

    def send(self, ask: Ask) -> HttpReply:
        """Send a request; its time begins here, whatever must be loaded first."""
        until = min(time.monotonic() + ask.seconds, next_by.get())
        self._sessions.sweep()
        target, headers, body = self._written(ask)
        opened = self._opened or self._open()
        if body or ask.method == "POST":
            headers["content-length"] = str(len(body))
        head = write_head(ask.method, opened.prefix + target, headers | opened.headers)
        reply = opened.connections.send(head + body, ask, until)
        _log.debug("%s %s%s: %d", ask.method, self._address.origin, ask.path, reply.status)
        return reply

    async def asend(self, ask: Ask) -> AsyncHttpReply:
        """Send a request on the running event loop; its time begins when aiohttp has been imported."""
        target, headers, body = self._written(ask)
        session = await self._sessions.aget()
        reply = await session.send(target, headers, body, ask)
        _log.debug("%s %s%s: %d", ask.method, self._address.origin, ask.path, reply.status)
        return reply

    def close(self) -> None:
        """Close all connections; those of an event loop that is busy are closed on it, a moment later."""
        opened, self._opened = self._opened, None
        if opened is not None:
            opened.connections.close()
        self._sessions.close()

    async def aclose(self) -> None:
        """Close the connections of the running event loop, and then all others."""
        await self._sessions.aclose()
        self.close()

    def _written(self, ask: Ask) -> tuple[str, dict[str, str], bytes]:
        """Return the path, the headers and the body of a request."""
        headers = {**self._headers, "accept-encoding": "identity" if ask.stream else "gzip"}
        body = b""
        if ask.body is not None:
            headers["content-type"] = "application/json"
            try:
                body = ask.body if isinstance(ask.body, bytes) else write_json(ask.body)
            except (ValueError, TypeError) as error:
                raise InvalidRequest(
                    f"expected a request that JSON can hold, found one that it cannot: {error}"
                ) from None
        for name, value in (*ask.headers.items(), *self._credentials().items()):
            check_header(name, value)
            headers[name.lower()] = value
        return self._address.target(ask.path, ask.query), headers, body

    def _open(self) -> _Opened:
        """Prepare for connections. If two threads do so at once, one result serves only a single request."""
        from understudy_toolkit.http.sync import Connections
        from understudy_toolkit.tls import context_for

        proxy = find_proxy(self._address.origin, OURS)
        connections = Connections(self._address, proxy, context_for(self._address.origin))
        prefix, headers = "", {}
        if proxy is not None and self._address.scheme == "http":  # it forwards what it is asked to
            prefix = self._address.origin
            if proxy.authorization is not None:
                headers = {"proxy-authorization": proxy.authorization}
        self._opened = opened = _Opened(connections, prefix, headers)
        return opened

    def _open_session(self) -> Session:
        from understudy_toolkit.http.on_loop import Session
        from understudy_toolkit.tls import context_for

        return Session(self._address, find_proxy(self._address.origin, OURS), context_for(self._address.origin))


class _Opened(NamedTuple):
    """Connections for sync calls, and what a proxy makes of a request on them."""

    connections: Connections
    prefix: str
    headers: dict[str, str]


def _import_aiohttp() -> None:
    if find_spec("aiohttp") is None:
        raise ProviderUnavailable(
            "calls on an event loop need aiohttp on the http lane, and found none: "
            "pip install 'understudy-toolkit[async]', or choose the vendor's SDK as the transport"
        )
    import_module("understudy_toolkit.http.on_loop")
