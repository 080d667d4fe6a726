"""Newline-delimited JSON: a stream's bytes in, its lines out.

https://github.com/ndjson/ndjson-spec, read 2026-11-30: lines end with LF, and CR before it is white space of the JSON.
Empty lines, which readers may ignore, are signs of life.
"""

from __future__ import annotations

from understudy.errors import MalformedResponse

__all__ = ["MOST_LINE_BYTES", "NdjsonReader"]

MOST_LINE_BYTES = 16 * 2**20  # pictures come in one line, and no vendor's is a tenth of it
_BOM = b"\xef\xbb\xbf"


class NdjsonReader:
    """Cuts the bytes of a stream into lines, wherever the pieces end.

    Args:
        most_bytes: the most that one line may have.
    """

    def __init__(self, most_bytes: int = MOST_LINE_BYTES) -> None:
        self._most = most_bytes
        self._size = 0
        self._line: list[bytes] = []
        self._first = True

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes, and return the lines that they complete, in UTF-8, without the white space around them.

        Raises:
            MalformedResponse: a line is longer than it may be.
        """
        first, *rest = data.split(b"\n")  # only there: JSON may contain other line ends
        self._append(first)
        lines = []
        for piece in rest:
            lines.append(self._taken())
            self._append(piece)
        return lines

    def end(self) -> bytes | None:
        """Return the last line if it has no line feed; it may be cut; None where there is none."""
        return self._taken() or None

    def _append(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > self._most:
            raise MalformedResponse(f"expected lines of at most {self._most:,} bytes, found a longer one")
        self._line.append(piece)

    def _taken(self) -> bytes:
        line, self._line, self._size = b"".join(self._line), [], 0
        if self._first:
            line, self._first = line.removeprefix(_BOM), False
        line = line.strip()
        return line if line.isascii() else line.decode("utf-8", "replace").encode()
