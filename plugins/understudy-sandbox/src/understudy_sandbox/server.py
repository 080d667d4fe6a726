"""One vendor's listener: accepts connections, and really stops listening while connections are to be refused."""

from __future__ import annotations

import asyncio
import socket

from understudy_sandbox.connection import Connection
from understudy_sandbox.schedule import Entry, Schedule
from understudy_sandbox.vendors import Vendor

HOST = "127.0.0.1"
BACKLOG = 1024


class VendorServer:
    """Listens for one vendor. Runs on one event loop; every method belongs to that loop.

    It works with plain sockets, so that a port can be bound without listening, and so that every socket is known
    from the moment it is accepted until it is closed.
    """

    def __init__(self, vendor: Vendor, schedule: Schedule, port: int) -> None:
        self.vendor = vendor
        self.schedule = schedule
        self.port = port
        self.connections: dict[asyncio.Task[None], Connection] = {}
        self._socket: socket.socket | None = None
        self._refusal: Entry | None = None
        self._timer: asyncio.Task[None] | None = None
        self._settling = asyncio.Lock()

    async def open(self) -> None:
        """Bind the port and listen, unless the schedule begins with a refusal."""
        self._socket = self._bind()
        self._refusal = None
        self._listen()
        await self.settle()

    async def close(self) -> None:
        """Stop listening, end every connection and wait until all of it is gone."""
        if self._timer is not None:
            self._timer.cancel()
            await asyncio.gather(self._timer, return_exceptions=True)
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
        await self._end(list(self.connections))

    async def hang_up(self) -> None:
        """End every connection, and go on listening."""
        await self._end(list(self.connections))

    async def settle(self) -> None:
        """Make the listener agree with the schedule: closed while a refusal has its turn, else open."""
        async with self._settling:
            entry = self.schedule.refusal()
            if entry is self._refusal:
                return
            was_refusing, self._refusal = self.refusing, entry
            if self._timer is not None and self._timer is not asyncio.current_task():
                self._timer.cancel()
            self._timer = None
            if entry is None:
                self._listen()
            elif not was_refusing:
                await self._stop_listening()
            if entry is not None and entry.refused_for is not None:
                self._timer = asyncio.create_task(self._lift(entry, entry.refused_for))

    @property
    def refusing(self) -> bool:
        """Whether connections are refused now."""
        return self._refusal is not None

    async def _lift(self, entry: Entry, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self.schedule.end_refusal(entry)
        await self.settle()

    def _bind(self) -> socket.socket:
        """Bind the port without listening: connections are refused, and nobody else gets the port."""
        bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setblocking(False)
        try:
            bound.bind((HOST, self.port))
        except OSError as error:
            bound.close()
            raise OSError(
                error.errno,
                f"the sandbox cannot listen for {self.vendor.TITLE} on {HOST}:{self.port} ({error.strerror}); choose "
                "another port, or leave it out and the system finds a free one",
            ) from None
        self.port = bound.getsockname()[1]
        return bound

    def _listen(self) -> None:
        assert self._socket is not None  # bound by open() and by _stop_listening()
        self._socket.listen(BACKLOG)
        asyncio.get_running_loop().add_reader(self._socket, self._accept)

    async def _stop_listening(self) -> None:
        """Close the listener, and the idle connections too: the next request has to connect."""
        assert self._socket is not None  # bound by open()
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()
        self._socket = self._bind()
        await self._end([task for task, connection in self.connections.items() if not connection.busy])

    def _accept(self) -> None:
        assert self._socket is not None  # its reader has just called
        try:
            accepted, _ = self._socket.accept()
        except OSError:
            return  # the client has gone away again
        accepted.setblocking(False)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.schedule.connected()
        connection = Connection(self, accepted)
        task = asyncio.create_task(connection.serve())
        self.connections[task] = connection
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.connections.pop(task).socket.close()
        if not task.cancelled():
            task.result()  # an error here is the sandbox's own: let the loop report it

    async def _end(self, tasks: list[asyncio.Task[None]]) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # until the callbacks of these tasks have closed their sockets
