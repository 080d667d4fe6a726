"""One connection to a stand-in: h11 reads the requests, and their replies are played step by step."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable, Iterable
from types import MappingProxyType
from typing import Any, Protocol
from urllib.parse import parse_qsl, unquote

import h11

from understudy_sandbox import control, faults
from understudy_sandbox.delivery import Body, Drop, End, Head, Loaded, Pause, Reset, Step, plan
from understudy_sandbox.exchange import RecordedRequest, Reply, json_reply
from understudy_sandbox.schedule import Schedule
from understudy_sandbox.spoiled import make_reply
from understudy_sandbox.vendors import Vendor

FAULT_HEADER = "x-sandbox-fault"
READ = 65_536  # bytes asked of a socket at once


class Server(Protocol):
    """What a connection needs of the server that accepted it."""

    vendor: Vendor
    schedule: Schedule

    @property
    def refusing(self) -> bool:
        """Whether connections are refused now."""

    async def settle(self) -> None:
        """Make the listener agree with the schedule."""


class Connection:
    """Reads requests and plays the steps of their replies until one side ends it. The server closes the socket."""

    def __init__(self, server: Server, accepted: socket.socket) -> None:
        self.socket = accepted
        self.busy = False
        self._server = server
        self._http = h11.Connection(h11.SERVER)
        self._head_only = False
        self._used_for_vendor = False

    async def serve(self) -> None:
        """Answer request after request until the connection ends."""
        # a client that is gone or that speaks no HTTP is nobody to answer
        with contextlib.suppress(OSError, h11.RemoteProtocolError):
            while (received := await self._receive()) is not None:
                head, body = received
                if not await self._answer(head, body) or self._http.our_state is not h11.DONE:
                    return
                self._http.start_next_cycle()
                self.busy = False
                if self._server.refusing:
                    return

    async def _receive(self) -> tuple[h11.Request, bytes] | None:
        head: h11.Request | None = None
        body = bytearray()
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                if self._http.they_are_waiting_for_100_continue:
                    await self._send(h11.InformationalResponse(status_code=100, headers=[]))
                self._http.receive_data(await self._read())
            elif isinstance(event, h11.Request):
                head, self.busy = event, True
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                return head, bytes(body)
            else:
                return None

    async def _answer(self, head: h11.Request, body: bytes) -> bool:
        """Answer one request; False when the connection is over."""
        server = self._server
        request = _understand(head, body, server.vendor.wants_stream)
        self._head_only = request.method == "HEAD"
        if request.path.startswith(control.PREFIX):
            if not self._used_for_vendor:
                server.schedule.discount()
            reply = control.answer(server.schedule, server.vendor, request)
            await server.settle()
            return await self._play(plan(reply, None), close=True)
        self._used_for_vendor = True
        try:
            own = _own_fault(request)
        except ValueError as error:
            return await self._play(plan(_complaint(400, f"{FAULT_HEADER}: {error}"), None))
        request, fault = server.schedule.meet(request, own)
        await server.settle()
        try:
            early = server.vendor.while_loading(request) if fault is not None and fault.name == "loading" else None
            fault = fault if early is None else None
            reply = early or make_reply(server.vendor, request, fault, server.schedule.take_reply)
        except Exception as error:  # the vendors' checks do not foresee every malformed body
            reply = _complaint(500, f"the sandbox cannot make sense of this request: {error!r}")
        return await self._play(plan(reply, fault), number=request.number)

    async def _play(self, steps: Iterable[Step], close: bool = False, number: int = 0) -> bool:
        for step in steps:
            match step:
                case Head(status, headers):
                    ending = [("connection", "close")] if close or self._server.refusing else []
                    await self._send(h11.Response(status_code=status, headers=[*headers, *ending]))
                case Body() if self._head_only:
                    pass
                case Body(data):
                    await self._send(h11.Data(data=data))
                    await asyncio.sleep(0)  # other connections have their turn between the pieces
                case Pause(seconds):
                    if await self._client_left(seconds):
                        return False
                case Loaded():
                    self._server.schedule.loaded(number)
                case End():
                    await self._send(h11.EndOfMessage())
                case Drop():
                    return False
                case Reset():  # closing with a linger time of zero sends RST
                    self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    return False
        return True

    async def _read(self) -> bytes:
        return await asyncio.get_running_loop().sock_recv(self.socket, READ)

    async def _send(self, event: h11.Event) -> None:
        await asyncio.get_running_loop().sock_sendall(self.socket, self._http.send(event) or b"")

    async def _client_left(self, seconds: float) -> bool:
        """Wait so many seconds; True as soon as the client has gone away."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while data := await self._read():
                    self._http.receive_data(data)
                return True
        return False


def _understand(head: h11.Request, body: bytes, wants_stream: Callable[..., bool]) -> RecordedRequest:
    target, _, fields = head.target.decode("ascii").partition("?")
    path, query = unquote(target), dict(parse_qsl(fields, keep_blank_values=True))
    parsed: Any = control.read_json(body)
    return RecordedRequest(
        number=0,
        method=head.method.decode("ascii"),
        path=path,
        query=MappingProxyType(query),
        headers=MappingProxyType({name.decode("ascii"): value.decode("latin-1") for name, value in head.headers}),
        body=body,
        json=parsed,
        stream=wants_stream(path, query, parsed),
        at=0.0,
    )


def _own_fault(request: RecordedRequest) -> faults.Fault | None:
    text = request.headers.get(FAULT_HEADER)
    fault = None if text is None else faults.parse(text)
    if fault is not None and fault.name == "refuse":
        raise ValueError("refuse concerns connections, and this request has one already; use reset, or next and always")
    return fault


def _complaint(status: int, message: str) -> Reply:
    return json_reply(status, {"error": {"type": "sandbox_error", "message": message}})
