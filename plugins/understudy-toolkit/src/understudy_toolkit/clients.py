"""The life of a provider's SDK clients: one for sync calls, and one for each event loop.

Connections belong to the event loop on which they were opened, so async calls on another loop need another client. Each
is closed with its loop: before asyncio.run closes a loop, it closes the asynchronous generators that were begun on it,
and one of those, waiting at its yield until then, closes the client. A loop that was closed by hand can close nothing
any more: its client and its sockets are released with the next call.

A forked process begins without clients: two processes that read from one connection would take each other's answers.
"""

from __future__ import annotations

import ipaddress
import os
import threading
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from urllib.parse import urlsplit

from understudy.concurrency.fork_safety import begin_anew_in_child

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

__all__ = ["Clients", "close_in_child", "follow_connection", "is_this_machine", "note_socket", "unwind"]

Client = TypeVar("Client")
AsyncClient = TypeVar("AsyncClient")


async def unwind(pieces: AsyncIterator[Any]) -> None:
    """End what reads the body of a response, after the response was closed.

    A loop over a body that is left early leaves a row of asynchronous generators behind, the SDK's and the HTTP
    library's. The garbage collector would close them at any moment, each in a separate task, perhaps when
    the event loop is about to end. Asked for one more piece of a closed response they all end here.

    Args:
        pieces: what was iterated over.
    """
    with suppress(Exception):
        async for _ in pieces:
            pass


class Clients(Generic[Client, AsyncClient]):
    """A provider's clients, made when they are first needed. Safe to use from several threads and event loops.

    Args:
        prepare: what takes long and is done once: importing the SDK, looking for credentials. On an event loop it is
            done in a thread, so that the loop goes on.
        open: makes the client for sync calls.
        close: closes it.
        open_async: makes a client for the running event loop.
        close_async: closes it, on its loop.
    """

    def __init__(
        self,
        *,
        prepare: Callable[[], object],
        open: Callable[[], Client],
        close: Callable[[Client], None],
        open_async: Callable[[], AsyncClient],
        close_async: Callable[[AsyncClient], Awaitable[None]],
    ) -> None:
        self._prepare, self._prepared = prepare, False
        self._open, self._close = open, close
        self._open_async, self._close_async = open_async, close_async
        self._lock = threading.Lock()  # held for a moment
        self._opening = threading.Lock()  # held for as long as an import or a client takes: never on an event loop
        self._client: Client | None = None
        self._of_loops: dict[AbstractEventLoop, _Kept[AsyncClient]] = {}
        begin_anew_in_child(self)

    def begin_anew(self) -> None:
        """Begin without clients, in a forked process. Theirs are not closed: another thread may have held their locks.

        So they are kept, and only their sockets are closed, here and where these were noted.
        """
        self._lock, self._opening = threading.Lock(), threading.Lock()
        _inherited.extend([self._client, *self._of_loops.values()])
        for loop in self._of_loops:
            _close_sockets(loop)
        self._client, self._of_loops = None, {}

    def prepare(self) -> None:
        """Do the slow preparation once, without making a client. Otherwise it is done before the first client."""
        with self._opening:
            if not self._prepared:
                self._prepare()
                self._prepared = True

    def get(self) -> Client:
        """Return the client for sync calls."""
        self.sweep()
        client = self._client
        if client is None:
            self.prepare()
            with self._opening:
                client = self._client
                if client is None:
                    client = self._client = self._open()
        return client

    async def aget(self) -> AsyncClient:
        """Return the client of the running event loop."""
        import asyncio

        self.sweep()
        loop = asyncio.get_running_loop()
        kept = self._of_loops.get(loop)
        if kept is None:
            if not self._prepared:
                from understudy.concurrency.threads import in_thread  # imports asyncio

                await in_thread(self.prepare)
            kept = self._of_loops.get(loop)  # another task may have been quicker
        if kept is None:
            kept = _Kept(self._open_async(), self._close_async, lambda: self._of_loops.pop(loop, None))
            with self._lock:
                self._of_loops[loop] = kept
            await kept.begin()
        return kept.client

    def sweep(self) -> None:
        """Release the clients of event loops that were closed by hand."""
        for loop in tuple(self._of_loops):
            if loop.is_closed():
                self._of_loops.pop(loop, None)
                _close_sockets(loop)

    def close(self) -> None:
        """Close all clients; those of an event loop that is busy are closed on it, a moment later."""
        self.sweep()
        with self._lock:
            client, self._client = self._client, None
            of_loops = list(self._of_loops.items())
            self._of_loops.clear()
        if client is not None:
            self._close(client)
        if not of_loops:
            return
        for loop, kept in of_loops:
            if loop.is_running() or _on_event_loop():  # one thread cannot run two loops at once
                with suppress(RuntimeError):  # it was closed meanwhile
                    loop.call_soon_threadsafe(kept.end_soon)
            else:
                loop.run_until_complete(kept.end())

    async def aclose(self) -> None:
        """Close the client of the running event loop, and then all others as `close` does; waits for no thread."""
        if _on_event_loop():
            import asyncio

            with self._lock:
                kept = self._of_loops.pop(asyncio.get_running_loop(), None)
            if kept is not None:
                await kept.end()
        self.close()


class _Kept(Generic[AsyncClient]):
    """A client and the generator that closes it."""

    def __init__(
        self, client: AsyncClient, close: Callable[[AsyncClient], Awaitable[None]], forget: Callable[[], object]
    ) -> None:
        self.client = client
        self._close = close
        self._forget = forget
        self._keeper = self._keep()

    async def begin(self) -> None:
        await anext(self._keeper)

    async def end(self) -> None:
        await self._keeper.aclose()

    def end_soon(self) -> None:
        import asyncio

        self._ending = asyncio.ensure_future(self.end())  # the loop holds only a weak reference

    async def _keep(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            self._forget()
            await self._close(self.client)


async def follow_connection(request: Any) -> None:
    """Note the socket of a request's connection, and close it when the call is cancelled while TLS is agreed upon.

    An event hook for the async clients of httpx and httpx2: `event_hooks={"request": [follow_connection]}`. They close
    a connection whose handshake fails, but leave one whose handshake is cancelled open for as long as the server likes.

    Args:
        request: what is about to be sent.
    """
    opened: list[Any] = []

    async def follow(event: str, details: Mapping[str, Any]) -> None:
        if event.endswith("connect_tcp.complete"):
            opened.append(details["return_value"])
            note_socket(opened[-1].get_extra_info("socket"))
        elif event.endswith("start_tls.failed") and opened:
            await opened.pop().aclose()

    request.extensions["trace"] = follow


def note_socket(socket: Any) -> None:
    """Note a socket that was opened on the running event loop: if that is closed before it, it must be closed by us.

    Args:
        socket: what a transport has as its "socket".
    """
    import asyncio

    loop = asyncio.get_running_loop()
    known = [one for one in _sockets.get(loop, ()) if one.fileno() >= 0]
    _sockets[loop] = [*known, socket]


_sockets: weakref.WeakKeyDictionary[AbstractEventLoop, list[Any]] = weakref.WeakKeyDictionary()


def _close_sockets(loop: AbstractEventLoop) -> None:
    """Close what a closed event loop has left open: its transports would call it back, and so cannot close.

    The standard library's loops have no public way for that. Others, such as uvloop's, close their sockets themselves.
    """
    transports = getattr(loop, "_transports", {})  # by their descriptors
    for socket in _sockets.pop(loop, ()):
        transport = transports.get(socket.fileno())
        if transport is not None:
            with suppress(Exception):  # what waits for it would be called back
                transport._call_connection_lost(None)


def close_in_child(socket: Any) -> None:
    """Note a socket of sync calls: every process that is forked from this one closes its copy, which sends nothing.

    Args:
        socket: the socket.
    """
    _of_sync_calls.add(socket)


_of_sync_calls: weakref.WeakSet[Any] = weakref.WeakSet()
_inherited: list[Any] = []  # clients of the parent, in a forked process


def _close_inherited() -> None:
    for socket in list(_of_sync_calls):
        with suppress(OSError):
            socket.close()
    _of_sync_calls.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_inherited)


@lru_cache(maxsize=64)
def is_this_machine(url: str) -> bool:
    """Return whether a URL's host is this machine, which no proxy can reach."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _on_event_loop() -> bool:
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
