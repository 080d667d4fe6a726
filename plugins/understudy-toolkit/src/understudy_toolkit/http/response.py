"""The head of a response: http.client parses it as an e-mail, slowly."""

from __future__ import annotations

from http.client import BadStatusLine, HTTPException, HTTPResponse, LineTooLong, RemoteDisconnected, UnknownProtocol
from typing import IO

from understudy_toolkit.lanes import Headers

__all__ = ["Response"]

_MOST_LINE = 2**16  # bytes of one line, and lines of one head: as http.client has it (Python 3.13, http/client.py)
_MOST_LINES = 100


class Response(HTTPResponse):
    """A response whose body http.client reads, and whose head is read here.

    Attributes:
        fields: the headers, once `begin` was called.
    """

    fields: Headers

    def begin(self) -> None:
        """Read the head.

        Raises:
            RemoteDisconnected: nothing came.
            HTTPException: it is no HTTP, or too long.
            OSError: the connection broke, or the time is over.
        """
        version, self.status, self.reason = _status_of(_line(self.fp, "status line"))
        self.code = self.status
        self.version = 10 if version in ("HTTP/1.0", "HTTP/0.9") else 11
        self.fields = fields = _read_fields(self.fp)
        self.headers = self.msg = fields  # type: ignore[assignment]  # it has what http.client needs of it
        connection = fields.get("connection", "").lower()
        self.will_close = "close" in connection if self.version == 11 else "keep-alive" not in connection
        self.chunked = fields.get("transfer-encoding", "").lower() == "chunked"
        self.chunk_left = None
        self.length = None if self.chunked else _length_of(fields)
        if self.status in (204, 304) or self.status < 200:
            self.length = 0
        if not self.chunked and self.length is None:
            self.will_close = True


def _line(file: IO[bytes], what: str) -> str:
    line = file.readline(_MOST_LINE + 1)
    if len(line) > _MOST_LINE:
        raise LineTooLong(what)
    return str(line, "iso-8859-1")


def _status_of(line: str) -> tuple[str, int, str]:
    if not line:
        raise RemoteDisconnected("the server closed the connection without an answer")
    version, _, rest = line.strip().partition(" ")
    number, _, reason = rest.strip().partition(" ")
    if not version.startswith("HTTP/") or not (number.isascii() and number.isdigit() and len(number) == 3):
        raise BadStatusLine(line)
    if not version.startswith(("HTTP/1.", "HTTP/0.9")):
        raise UnknownProtocol(version)
    if number < "100":
        raise BadStatusLine(line)
    return version, int(number), reason.strip()


def _read_fields(file: IO[bytes]) -> Headers:
    """Read the headers; a line that begins with a blank continues the one before, and what is no header is left out."""
    pairs: list[tuple[str, str]] = []
    for _ in range(_MOST_LINES):
        line = _line(file, "header line").rstrip("\r\n")
        if not line:
            return Headers(pairs)
        name, colon, value = line.partition(":")
        if line[0] in " \t":
            if pairs:
                pairs[-1] = (pairs[-1][0], f"{pairs[-1][1]} {line.strip()}")
        elif colon:
            pairs.append((name.rstrip(), value.strip()))
    raise HTTPException(f"got more than {_MOST_LINES} headers")


def _length_of(fields: Headers) -> int | None:
    told = fields.get("content-length", "").partition(",")[0].strip()
    return int(told) if told.isascii() and told.isdigit() else None
