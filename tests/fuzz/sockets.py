"""The same over real sockets: each provider on each of its lanes, the vendor's own SDK with it."""

from __future__ import annotations

import socket
import threading
from dataclasses import replace
from functools import cache
from typing import Any

from hypothesis import strategies as some

from fuzz import held
from fuzz.bodies import rarely
from fuzz.corpus import VENDORS, providers_of, settings_of
from fuzz.lane import Sent
from fuzz.replies import forget, loop, plain, stream_replies, whole_replies
from understudy import ChatProvider, Request

HEADS = (
    *(b"", b"\r\n\r\n", b"HTTP/1.1\r\n\r\n", b"HTTP/9.9 200 OK\r\n\r\n", b"HTTP/1.1 abc OK\r\n\r\n", b"SSH-2.0-x\r\n"),
    *(b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\n{}", b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n{}"),
    *(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{}", b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 500),
    *(
        b"HTTP/1.1 200 OK\r\n" + b"a" * 100_000,
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n{}",
        b"HTTP/1.1 100 Continue\r\n\r\n",
    ),
    *(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + b"f" * 40 + b"\r\n{}", b"\x16\x03\x01\x02\x00\x01"),
    *(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{}", b"HTTP/1.0 200\r\n\r\n{}", b"HTTP/1.1 204 No\r\n\r\n"),
)
WITHOUT_BODY = (204, 304)


class Server:
    """Answers each connection with the same bytes, and closes it."""

    def __init__(self) -> None:
        self.raw = b""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            try:
                connection.settimeout(30)
                data = b""
                while b"\r\n\r\n" not in data and (more := connection.recv(2**16)):
                    data += more
                head, _, body = data.partition(b"\r\n\r\n")
                length = next(
                    (line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), b":0"
                )
                while len(body) < int(length.partition(b":")[2]) and (more := connection.recv(2**16)):
                    body += more
                connection.sendall(self.raw)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(2**16):
                    pass
            except OSError:
                return


@cache
def stage() -> tuple[Server, dict[tuple[str, str], Any]]:
    """Return the server, and the providers on each lane."""
    server = Server()
    names = ("ANTHROPIC", "OPENAI", "GEMINI", "VERTEX", "COHERE", "OLLAMA")
    addresses = {f"{name}_BASE_URL": server.url + ("/v1" if name == "OPENAI" else "") for name in names}
    made = {}
    for transport in ("sdk", "http"):
        for label, provider in providers_of(settings_of(addresses, transport)).items():
            if transport in VENDORS[label].transports:
                made[label, transport] = provider
    return server, made


def written(sent: Sent) -> bytes:
    """Return a reply as it goes over a socket."""
    lines = [f"HTTP/1.1 {sent.status} Of Its Own"]
    lines += [f"{name}: {_one_line(value)}" for name, value in sent.headers if name != "content-length"]
    lines += ["connection: close", f"content-length: {len(sent.body)}", "", ""]
    return "\r\n".join(lines).encode("latin-1", "replace") + sent.body


def _one_line(value: str) -> str:
    return "".join(letter for letter in value if letter == "\t" or " " <= letter != "\x7f")


@some.composite
def replies(draw: Any) -> tuple[str, Request, Sent, bool, bytes | None]:
    """A reply, whether it is a stream, and bytes that take its place, or its beginning."""
    as_stream = draw(some.booleans())
    label, request, sent = draw(stream_replies() if as_stream else whole_replies())
    head = draw(some.sampled_from(HEADS)) if rarely(draw, 8) else None
    return label, replace(request, timeout=10.0), sent, as_stream, head


def check_socket(example: tuple[str, Request, Sent, bool, bytes | None]) -> None:
    """Hold what is promised on each lane, sync and async alike, and that the lanes agree."""
    label, request, sent, as_stream, head = example
    server, made = stage()
    server.raw = written(sent) if head is None else head
    kinds = {}
    for transport in VENDORS[label].transports:
        provider = made[label, transport]
        with held.listening():
            forget()
            outcome = (held.stream if as_stream else held.ask)(provider, request)
            held.check(outcome, plain(sent))
            kinds[transport, "sync"] = outcome.kind
            if type(provider).agenerate is not ChatProvider.agenerate:
                forget()
                ask = held.astream if as_stream else held.aask
                again = loop().run_until_complete(ask(provider, request))
                held.check(again, plain(sent))
                kinds[transport, "async"] = again.kind
    if head is None and sent.status not in WITHOUT_BODY:
        assert len(set(kinds.values())) == 1, kinds
