"""One vendor's HTTP server: asyncio for the sockets, h11 for the protocol, so that it can also break both."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable, Iterable
from types import MappingProxyType
from urllib.parse import parse_qsl, unquote, urlsplit

import h11

from understudy_sandbox import control, faults
from understudy_sandbox.delivery import Body, Drop, End, Head, Pause, Reset, Step, plan
from understudy_sandbox.exchange import RecordedRequest, Reply, json_reply
from understudy_sandbox.schedule import Entry, Schedule
from understudy_sandbox.spoiled import make_reply
from understudy_sandbox.vendors import Vendor

HOST = "127.0.0.1"
FAULT_HEADER = "x-sandbox-fault"
READ = 65_536  # bytes asked of a socket at once


class VendorServer:
    """Listens for one vendor. Runs on one event loop; every method belongs to that loop."""

    def __init__(self, vendor: Vendor, schedule: Schedule, port: int) -> None:
        self.vendor = vendor
        self.schedule = schedule
        self.port = port
        self.connections: set[Connection] = set()
        self._listener: asyncio.Server | None = None
        self._held: socket.socket | None = None
        self._refusal: Entry | None = None
        self._timer: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Bind the port and listen."""
        self._hold()
        await self._listen()

    async def close(self) -> None:
        """Stop listening, end every connection and wait until all of it is gone."""
        if self._timer is not None:
            self._timer.cancel()
        if self._listener is not None:
            self._listener.close()
        if self._held is not None:
            self._held.close()
        tasks = [*self._tasks, *([self._timer] if self._timer else [])]
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def settle(self) -> None:
        """Make the listener agree with the schedule: closed while a refusal has its turn, else open."""
        entry = self.schedule.refusal()
        if entry is self._refusal:
            return
        self._refusal = entry
        if self._timer is not None and self._timer is not asyncio.current_task():
            self._timer.cancel()
        self._timer = None
        if entry is None:
            await self._listen()
            return
        self._stop_listening()
        if entry.refused_for is not None:
            self._timer = asyncio.create_task(self._lift(entry, entry.refused_for))

    @property
    def refusing(self) -> bool:
        """Whether connections are refused now."""
        return self._refusal is not None

    async def _lift(self, entry: Entry, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self.schedule.end_refusal(entry)
        await self.settle()

    def _hold(self) -> None:
        """Bind the port without listening: connections are refused, and nobody else gets the port."""
        # asyncio turns Nagle's delay off only for sockets that name their protocol
        self._held = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._held.bind((HOST, self.port))
        except OSError as error:
            self._held.close()
            raise OSError(
                error.errno,
                f"the sandbox cannot listen for {self.vendor.TITLE} on {HOST}:{self.port} ({error.strerror}); choose "
                "another port, or leave it out and the system finds a free one",
            ) from None
        self.port = self._held.getsockname()[1]

    async def _listen(self) -> None:
        if self._held is not None:
            held, self._held = self._held, None
            self._listener = await asyncio.start_server(self._accepted, sock=held, backlog=1024)

    def _stop_listening(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
            self._hold()
        for connection in self.connections:
            if not connection.busy:
                connection.writer.close()

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # a coroutine of start_server always runs in a task
        self._tasks.add(task)
        self.schedule.connected()
        connection = Connection(self, reader, writer)
        self.connections.add(connection)
        try:
            await connection.serve()
        except (OSError, h11.RemoteProtocolError, asyncio.CancelledError):
            writer.transport.abort()  # the client is gone or talks nonsense, or the sandbox closes: nobody to tell
        finally:
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()
            self.connections.discard(connection)
            self._tasks.discard(task)


class Connection:
    """One connection: reads requests and plays the steps of their replies until one side ends it."""

    def __init__(self, server: VendorServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.server = server
        self.reader = reader
        self.writer = writer
        self.busy = False
        self._http = h11.Connection(h11.SERVER)
        self._used_for_vendor = False

    async def serve(self) -> None:
        """Answer request after request until the connection ends."""
        while (received := await self._receive()) is not None:
            self.busy = True
            head, body = received
            alive = await self._answer(head, body)
            self.busy = False
            if not alive or self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
                return
            self._http.start_next_cycle()

    async def _receive(self) -> tuple[h11.Request, bytes] | None:
        head: h11.Request | None = None
        body = bytearray()
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                if self._http.they_are_waiting_for_100_continue:
                    self._send(h11.InformationalResponse(status_code=100, headers=[]))
                self._http.receive_data(await self.reader.read(READ))
            elif isinstance(event, h11.Request):
                head, self.busy = event, True
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                return head, bytes(body)
            else:
                return None

    async def _answer(self, head: h11.Request, body: bytes) -> bool:
        server = self.server
        request = _read(head, body, server.vendor.wants_stream)
        if request.path.startswith(control.PREFIX):
            if not self._used_for_vendor:
                server.schedule.discount()
            reply = control.answer(server.schedule, server.vendor, request)
            await server.settle()
            return await self._play(plan(reply, None), close=True)
        self._used_for_vendor = True
        try:
            own = faults.parse(request.headers[FAULT_HEADER]) if FAULT_HEADER in request.headers else None
        except ValueError as error:
            return await self._play(plan(_complaint(str(error)), None))
        request, fault = server.schedule.meet(request, own)
        await server.settle()
        reply = make_reply(server.vendor, request, fault, server.schedule.take_reply)
        return await self._play(plan(reply, fault))

    async def _play(self, steps: Iterable[Step], close: bool = False) -> bool:
        for step in steps:
            match step:
                case Head(status, headers):
                    ending = [("connection", "close")] if close or self.server.refusing else []
                    self._send(h11.Response(status_code=status, headers=[*headers, *ending]))
                case Body(data):
                    self._send(h11.Data(data=data))
                    await self.writer.drain()
                    await asyncio.sleep(0)  # so that every piece can leave on its own
                case Pause(seconds):
                    if await self._client_left(seconds):
                        return False
                case End():
                    self._send(h11.EndOfMessage())
                    await self.writer.drain()
                case Drop():
                    return False
                case Reset():
                    linger = struct.pack("ii", 1, 0)
                    self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    self.writer.transport.abort()
                    return False
        return True

    def _send(self, event: h11.Event) -> None:
        self.writer.write(self._http.send(event) or b"")

    async def _client_left(self, seconds: float) -> bool:
        """Wait so many seconds; True as soon as the client has gone away."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while data := await self.reader.read(READ):
                    self._http.receive_data(data)
                return True
        return False


def _read(head: h11.Request, body: bytes, wants_stream: Callable[..., bool]) -> RecordedRequest:
    target = urlsplit(head.target.decode("ascii"))
    path, query = unquote(target.path), dict(parse_qsl(target.query, keep_blank_values=True))
    parsed = control.read_json(body)
    return RecordedRequest(
        number=0,
        method=head.method.decode("ascii"),
        path=path,
        query=MappingProxyType(query),
        headers=MappingProxyType({name.decode(): value.decode("latin-1") for name, value in head.headers}),
        body=body,
        json=parsed,
        stream=wants_stream(path, query, parsed),
        at=0.0,
    )


def _complaint(message: str) -> Reply:
    return json_reply(400, {"error": {"type": "sandbox_error", "message": f"{FAULT_HEADER}: {message}"}})
