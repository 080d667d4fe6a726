"""Servers of the tests' own, which say what they are told to on a real socket; and the ways to ask them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from understudy_toolkit.http import HttpLane
from understudy_toolkit.lanes import Ask, Headers

CERTIFICATES = Path(__file__).parent / "certificates"  # good for a hundred years, for vendor.example and 127.0.0.1
KEY = "not-a-real-key-1234"
PATIENCE = 20.0  # seconds after which a test gives up; none of them should take so long


class Peer:
    """A connection as the server sees it."""

    def __init__(self, server: Server, sock: socket.socket) -> None:
        self.server, self.sock = server, sock
        self._unread = b""

    def request(self) -> bytes | None:
        """Return the next request, head and body; None where the client has gone."""
        while b"\r\n\r\n" not in self._unread:
            if not self._more():
                return None
        head, _, body = self._unread.partition(b"\r\n\r\n")
        sizes = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        size = int(sizes[0].partition(b":")[2]) if sizes else 0
        while len(body) < size:
            if not self._more():
                return None
            body = self._unread.partition(b"\r\n\r\n")[2]
        self._unread = body[size:]
        request = head + b"\r\n\r\n" + body[:size]
        self.server.requests.append(request)
        self.server.heard.set()
        return request

    def _more(self) -> bytes:
        data = self.sock.recv(65536)
        self._unread += data
        return data

    def say(self, data: bytes) -> None:
        """Send bytes."""
        self.sock.sendall(data)

    def secure(self) -> None:
        """Speak TLS from now on, with a certificate for vendor.example and 127.0.0.1."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTIFICATES / "server.pem")
        self.sock = context.wrap_socket(self.sock, server_side=True)

    def reset(self) -> None:
        """Break the connection off."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def wait(self) -> None:
        """Keep silent until the client goes, or the test ends."""
        while not self.server.over.is_set():
            with contextlib.suppress(TimeoutError):
                if not self.sock.recv(65536):
                    return


Play = Callable[[Peer], None]


class Server:
    """Plays a function for each connection: the first for the first, the last for all that come after.

    Attributes:
        requests: heads and bodies as they came.
        connections: how many there were.
        heard: set with the first request.
        ended: released at the end of each connection.
        over: set when the test ends.
    """

    def __init__(self, *plays: Play) -> None:
        self._plays = plays
        self.requests: list[bytes] = []
        self.connections = 0
        self.heard, self.over = threading.Event(), threading.Event()
        self.ended = threading.Semaphore(0)
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Server:
        self._begin(self._accept)
        return self

    def __exit__(self, *exception: object) -> None:
        self.over.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(PATIENCE)

    def _begin(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.settimeout(0.1)
            number, self.connections = self.connections, self.connections + 1
            play = self._plays[min(number, len(self._plays) - 1)]
            self._begin(lambda play=play, sock=sock: self._play(play, sock))  # type: ignore[misc]

    def _play(self, play: Play, sock: socket.socket) -> None:
        peer = _Patient(self, sock)
        with contextlib.suppress(OSError):
            play(peer)
        peer.sock.close()
        self.ended.release()


class _Patient(Peer):
    """Looks now and then whether the test is over."""

    def _more(self) -> bytes:
        while not self.server.over.is_set():
            with contextlib.suppress(TimeoutError):
                return super()._more()
        return b""


def answers(*replies: bytes) -> Play:
    """Return what answers the requests of a connection, one reply each, and then closes it."""

    def play(peer: Peer) -> None:
        for reply in replies:
            if peer.request() is None:
                return
            peer.say(reply)
        peer.request()

    return play


def whole(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """Return a reply."""
    lines = [f"HTTP/1.1 {status}", "content-type: application/json", f"content-length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def chunked(*pieces: bytes, headers: tuple[str, ...] = (), end: bytes = b"0\r\n\r\n") -> bytes:
    """Return a reply in chunks."""
    lines = ["HTTP/1.1 200 OK", "content-type: text/event-stream", "transfer-encoding: chunked", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + b"".join(map(chunk, pieces)) + end


def chunk(piece: bytes) -> bytes:
    """Return one chunk."""
    return b"%x\r\n%s\r\n" % (len(piece), piece)


class Got(NamedTuple):
    """A reply that was read."""

    status: int
    headers: Headers
    body: bytes


@dataclass(frozen=True)
class Way:
    """How a request is sent, and its reply read: whole or piece by piece, with sync calls or on an event loop."""

    name: str
    is_async: bool
    streams: bool

    def __call__(self, lane: HttpLane, ask: Ask) -> Got:
        if self.is_async:
            return asyncio.run(self.on_loop(lane, ask))
        reply = lane.send(ask)
        try:
            return Got(reply.status, reply.headers, b"".join(reply.pieces()) if self.streams else reply.read())
        finally:
            reply.close()

    async def on_loop(self, lane: HttpLane, ask: Ask) -> Got:
        reply = await lane.asend(ask)
        try:
            if self.streams:
                return Got(reply.status, reply.headers, b"".join([piece async for piece in reply.pieces()]))
            return Got(reply.status, reply.headers, await reply.read())
        finally:
            await reply.close()

    def ask(self, path: str = "/v1/messages", *, seconds: float = PATIENCE, **more: object) -> Ask:
        """Return a request for this way."""
        return Ask(path=path, seconds=seconds, stream=self.streams, **{"body": {"a": "ü"}, **more})  # type: ignore[arg-type]


WAYS = (
    Way("sync", False, False),
    Way("sync stream", False, True),
    Way("async", True, False),
    Way("async stream", True, True),
)


@contextlib.contextmanager
def lane_to(url: str) -> Iterator[HttpLane]:
    """Return a lane to an address, with a key."""
    lane = HttpLane(url, lambda: {"authorization": f"Bearer {KEY}"})
    yield lane
    lane.close()
