"""A tiny HTTP server on 127.0.0.1 that replays replies and can do what broken servers do. Standard library only."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Self

HOST = "127.0.0.1"
READ = 65_536  # bytes asked of a socket at once
DRIBBLE = 0.1  # seconds between two pieces of a reply that trickles: each is shorter than any timeout
PIECES = 60  # of such a reply: six seconds


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP reply to be replayed.

    Args:
        body: the whole body; a mapping or a list is written as JSON.
        status: the HTTP status.
        content_type: by default that of JSON for a mapping or a list, of plain text for a text.
        headers: other headers.
        pieces: the body in pieces, for a stream; `body` is left alone then.
    """

    body: str | bytes | Mapping[str, Any] | list[Any] = b""
    status: int = 200
    content_type: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    pieces: tuple[bytes, ...] = ()

    @classmethod
    def events(cls, *documents: Mapping[str, Any] | str, content_type: str = "text/event-stream") -> Reply:
        """Make a stream of server-sent events: `data: ` and a document each; a text such as "[DONE]" as it is."""
        return cls(pieces=tuple(b"data: " + _text(one) + b"\n\n" for one in documents), content_type=content_type)

    @classmethod
    def lines(cls, *documents: Mapping[str, Any] | str, content_type: str = "application/x-ndjson") -> Reply:
        """Make a stream of one document a line."""
        return cls(pieces=tuple(_text(one) + b"\n" for one in documents), content_type=content_type)

    @property
    def content(self) -> bytes:
        """The whole body."""
        return b"".join(self.pieces) if self.pieces else _text(self.body)

    @property
    def written(self) -> str:
        """The content type."""
        usual = "application/json" if isinstance(self.body, Mapping | list) else "text/plain; charset=utf-8"
        return self.content_type or usual

    @property
    def halves(self) -> tuple[bytes, bytes]:
        """The body in two: the first half of a stream's pieces, at least one, and the rest."""
        if self.pieces:
            middle = max(1, len(self.pieces) // 2)
            return b"".join(self.pieces[:middle]), b"".join(self.pieces[middle:])
        return self.content[: len(self.content) // 2], self.content[len(self.content) // 2 :]

    def head(self) -> bytes:
        """Return the status line and the headers; a stream is sent in chunks."""
        size = {"transfer-encoding": "chunked"} if self.pieces else {"content-length": str(len(self.content))}
        headers = {"content-type": self.written, **size, **self.headers}
        lines = [
            f"HTTP/1.1 {self.status} {_phrase(self.status)}",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")


@dataclass(frozen=True, slots=True)
class ReceivedRequest:
    """A request as it came.

    Args:
        method: "POST" and its like.
        path: with its query.
        headers: by their names in lower case; not in the representation, since they hold keys.
        body: the bytes.
    """

    method: str
    path: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes

    @property
    def json(self) -> Any:
        """The body parsed; None where it is not JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


class FaultServer:
    """Replays replies to any client, in its own threads. Use it in a `with` statement.

        with FaultServer(lambda request: Reply({"text": "Hello."})) as server:
            server.fault = "reset"
            ...
            assert len(server.requests) == 1

    Args:
        answer: what the reply to a request is.

    Attributes:
        fault: how replies travel from now on: None, "reset", "cut_at_once", "cut", "stream_end", "stall",
            "stall_at_once", "dribble" or "black_hole", as understudy_toolkit.conformance.FAULTS describes them;
            `refuse` is a method.
        requests: every request so far.
        connection_count: how many connections were opened so far.
    """

    def __init__(self, answer: Callable[[ReceivedRequest], Reply]) -> None:
        self.answer = answer
        self.fault: str | None = None
        self.requests: list[ReceivedRequest] = []
        self.connection_count = 0
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]

    @property
    def url(self) -> str:
        """The server's address, without a path."""
        return f"http://{HOST}:{self.port}"

    @property
    def open_connections(self) -> int:
        """How many connections are open now."""
        with self._lock:
            return len(self._open)

    def __enter__(self) -> Self:
        self._start(self._accept, self._listener)
        return self

    def __exit__(self, *exception: object) -> None:
        self._stopping.set()
        self._end(self._listener)
        with self._lock:
            connections = list(self._open)
        for connection in connections:
            self._end(connection)
        for thread in self._threads:
            thread.join(10)

    def refuse(self) -> None:
        """Refuse connections from now on; the port stays taken."""
        self._end(self._listener)
        self._threads[0].join(10)
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind((HOST, self.port))  # and does not listen

    # ---- connections ----

    def _start(self, work: Callable[[socket.socket], None], on: socket.socket) -> None:
        thread = threading.Thread(target=work, args=(on,), name="FaultServer", daemon=True)
        self._threads.append(thread)
        thread.start()

    @staticmethod
    def _end(one: socket.socket) -> None:
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)  # wakes a thread waiting in it, which close() does not
        one.close()

    def _accept(self, listener: socket.socket) -> None:
        while not self._stopping.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with self._lock:
                self._open.add(connection)
                self.connection_count += 1
            self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        try:
            unread = b""
            while (received := _receive(connection, unread)) is not None:
                request, unread = received
                with self._lock:
                    self.requests.append(request)
                if not self._play(connection, self.answer(request), self.fault):
                    return
        except OSError:  # the client is gone
            pass
        finally:
            connection.close()
            with self._lock:
                self._open.discard(connection)

    def _play(self, connection: socket.socket, reply: Reply, fault: str | None) -> bool:
        """Send a reply; return whether the connection goes on."""
        if fault == "black_hole":
            return self._keep_silent(connection)
        if fault == "reset":  # closing with a linger time of zero sends RST
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        half, _ = reply.halves
        if fault == "stream_end" and not reply.pieces:
            reply = Reply(half, reply.status, reply.content_type or "application/json", reply.headers)
        connection.sendall(reply.head())
        if fault == "cut_at_once":
            return False
        if fault == "stall_at_once":
            return self._keep_silent(connection)
        if fault in ("cut", "stall", "stream_end") and (reply.pieces or fault != "stream_end"):
            connection.sendall(_chunk(half) if reply.pieces else half)
            if fault == "stream_end":
                connection.sendall(b"0\r\n\r\n")
            return self._keep_silent(connection) if fault == "stall" else fault == "stream_end"
        if fault == "dribble":
            return self._dribble(connection, reply)
        for piece in reply.pieces or (reply.content,):
            connection.sendall(_chunk(piece) if reply.pieces else piece)
        if reply.pieces:
            connection.sendall(b"0\r\n\r\n")
        return True

    def _keep_silent(self, connection: socket.socket) -> bool:
        """Wait until the client goes away."""
        while not self._stopping.is_set() and connection.recv(READ):
            pass
        return False

    def _dribble(self, connection: socket.socket, reply: Reply) -> bool:
        content = reply.content
        size = max(1, len(content) // PIECES)
        for start in range(0, len(content), size):
            if self._stopping.wait(DRIBBLE):
                return False
            piece = content[start : start + size]
            connection.sendall(_chunk(piece) if reply.pieces else piece)
        if reply.pieces:
            connection.sendall(b"0\r\n\r\n")
        return True


def _receive(connection: socket.socket, unread: bytes) -> tuple[ReceivedRequest, bytes] | None:
    """Read one request; return it with what came after it, None where the client has gone."""
    while b"\r\n\r\n" not in unread:
        more = connection.recv(READ)
        if not more:
            return None
        unread += more
    head, _, body = unread.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    method, path, *_ = (*first.split(" "), "", "")
    if headers.get("expect", "").lower() == "100-continue":
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    chunked = "chunked" in headers.get("transfer-encoding", "").lower()
    wanted = 0 if chunked else int(headers.get("content-length", 0))
    while len(body) < wanted or (chunked and not body.endswith(b"0\r\n\r\n")):
        more = connection.recv(READ)
        if not more:
            return None
        body += more
    content, rest = (_unchunk(body), b"") if chunked else (body[:wanted], body[wanted:])
    return ReceivedRequest(method, path, headers, content), rest


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data) if data else b""


def _unchunk(body: bytes) -> bytes:
    content = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size.partition(b";")[0] or b"0", 16)
        content, body = content + body[:length], body[length + 2 :]
    return content


def _text(body: str | bytes | Mapping[str, Any] | list[Any]) -> bytes:
    if isinstance(body, bytes):
        return body
    return (body if isinstance(body, str) else json.dumps(body)).encode()


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Of Its Own"
