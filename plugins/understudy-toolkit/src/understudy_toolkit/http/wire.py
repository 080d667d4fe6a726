"""A connection with a deadline for every wait, kept to the millisecond without a thread."""

from __future__ import annotations

import io
import socket
import ssl
import threading
import time
from typing import Any

from understudy.concurrency.threads import start
from understudy.errors import ConnectionFailed
from understudy_toolkit.clients import close_in_child
from understudy_toolkit.http.address import Address, write_head
from understudy_toolkit.machine import Proxy

__all__ = ["Wire", "connect"]

_AT_ONCE = 2**16  # bytes that are sent or read in one step
_MOST_HEAD = 2**16  # bytes of a proxy's reply


class _Incoming(io.RawIOBase):
    """What comes in on a socket."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.until: float | None = None
        self.at_end = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self.set_time()
        try:
            size = self.sock.recv_into(buffer)
        except (BlockingIOError, ssl.SSLWantReadError):
            return None
        self.at_end = size == 0
        return size

    def set_time(self) -> None:
        self.sock.settimeout(0.0 if self.until is None else _left(self.until))


class _Kept(io.BufferedReader):
    """A reader that outlives the responses read from it, so that bytes that came early are not lost."""

    def close(self) -> None:
        """Leave it open."""


class Wire:
    """A connection, and the deadline for every operation on it.

    Args:
        sock: the connected socket.
        through_proxy: whether requests go to a proxy that passes them on.

    Attributes:
        sent: bytes of the latest request that the system has taken.
        last_used: when it was last used.
    """

    def __init__(self, sock: socket.socket, *, through_proxy: bool = False) -> None:
        self.through_proxy = through_proxy
        self.sent = 0
        self.last_used = 0.0
        self._sock = sock
        self._incoming = _Incoming(sock)
        self._reader = _Kept(self._incoming, _AT_ONCE)
        close_in_child(sock)

    def end_by(self, until: float) -> None:
        """Let every wait end at this moment (time.monotonic), with a TimeoutError."""
        self._incoming.until = until

    def makefile(self, mode: str) -> io.BufferedReader:
        """Return what http.client reads a response from."""
        return self._reader

    def send(self, data: bytes) -> None:
        """Send a request.

        Raises:
            TimeoutError: it was not taken in time.
            OSError: the connection is broken.
        """
        self.sent, view = 0, memoryview(data)
        while self.sent < len(data):
            self._incoming.set_time()
            self.sent += self._sock.send(view[self.sent : self.sent + _AT_ONCE])

    def is_good(self) -> bool:
        """Return whether an idle connection can be used again: the server has not closed it, nor said anything."""
        self._incoming.until = None
        try:
            return not self._reader.peek(1) and not self._incoming.at_end
        except OSError:
            return False

    def close(self) -> None:
        """Close the connection."""
        self._sock.close()

    def __del__(self) -> None:
        self._sock.close()  # of a reply that was left, or at the interpreter's exit


def connect(address: Address, proxy: Proxy | None, context: ssl.SSLContext, until: float) -> Wire:
    """Open a connection.

    Args:
        address: where to.
        proxy: the proxy between, if any.
        context: the certificates that are trusted.
        until: the moment (time.monotonic) by which it must be open.

    Raises:
        TimeoutError: it is not open in time.
        ConnectionFailed: the host was not found, or the proxy refuses.
        OSError: it is refused, or the certificate is not trusted.
    """
    place = address if proxy is None else proxy
    sock = _open(place.host, place.port, until)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if address.scheme == "http":
            return Wire(sock, through_proxy=proxy is not None)
        if proxy is not None:
            _tunnel(sock, address, proxy, until)
        sock.settimeout(_left(until))
        sock = context.wrap_socket(sock, server_hostname=address.host)
        return Wire(sock)
    except BaseException:
        sock.close()
        raise


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError("the time is over")
    return left


def _open(host: str, port: int, until: float) -> socket.socket:
    places = _resolve(host, port, until)
    failures: list[OSError] = []
    for number, (family, kind, protocol, _, place) in enumerate(places):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(_left(until) / (len(places) - number))  # a silent one leaves time for the others
            sock.connect(place)
            return sock
        except BaseException as error:
            sock.close()
            if not isinstance(error, OSError):
                raise
            failures = [error]
    raise failures.pop() if failures else ConnectionFailed(f"expected an address of {host}, found none")


def _resolve(host: str, port: int, until: float) -> list[tuple[Any, ...]]:
    """Look up a host; in a thread, since the system cannot interrupt a look-up that hangs."""
    if host == "localhost" or host.replace(".", "").isdigit() or ":" in host:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    told = threading.Event()
    found: list[Any] = []

    def work() -> None:
        try:
            found.append(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except OSError as error:
            found.append(f"{type(error).__name__}: {error.strerror or error}")
        finally:
            told.set()

    start(work)
    if not told.wait(_left(until)):
        raise TimeoutError("the name server has not answered in time")
    places: list[tuple[Any, ...]] | str = found.pop() if found else "nothing"
    if isinstance(places, str):
        raise ConnectionFailed(f"expected to find the host {host}, found {places}")
    return places


def _tunnel(sock: socket.socket, address: Address, proxy: Proxy, until: float) -> None:
    """Let a proxy open a tunnel to the vendor; its reply is read byte by byte, since what follows is TLS."""
    place = address.authority if address.port != 443 else f"{address.authority}:443"
    headers = {"host": place}
    if proxy.authorization is not None:
        headers["proxy-authorization"] = proxy.authorization
    sock.settimeout(_left(until))
    sock.sendall(write_head("CONNECT", place, headers))
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        sock.settimeout(_left(until))
        byte = sock.recv(1)
        head += byte
        if not byte or len(head) > _MOST_HEAD:
            raise ConnectionFailed(f"expected {proxy!r} to open a tunnel, found its connection closed")
    status = head.split(b"\r\n", 1)[0].decode("latin-1")
    if status.split(" ")[1:2] != ["200"]:
        raise ConnectionFailed(f"expected {proxy!r} to open a tunnel, found: {status[:100]}")
