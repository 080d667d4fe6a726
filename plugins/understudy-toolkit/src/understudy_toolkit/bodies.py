"""The body of a reply: decoded step by step, so that inflation has a limit; its JSON; its description for messages."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Any

from understudy.errors import MalformedResponse

__all__ = [
    "ENCODINGS",
    "Decoder",
    "decode_base64",
    "describe",
    "document_of",
    "excerpt",
    "kind_of_image",
    "read_json",
    "text_of",
    "too_large",
    "write_json",
]

ENCODINGS = "gzip, deflate"  # what requests accept: other encodings can grow more than a thousandfold in one step
_FOR_URLS = str.maketrans("-_", "+/")
_IMAGES = (
    (b"\x89PNG", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"RIFF", "image/webp"),
)
_STEP = 2**20  # bytes that are inflated at a time; the clock is checked between two steps
_AUTOMATIC, _RAW = zlib.MAX_WBITS | 32, -zlib.MAX_WBITS  # zlib or gzip, by the header; deflate without any


class Decoder:
    """Takes a body's bytes as they were sent, and returns them decoded.

    Args:
        headers: the reply's headers.

    Raises:
        MalformedResponse: it is encoded in a way that was not asked for.
    """

    def __init__(self, headers: Mapping[str, str]) -> None:
        encoding = headers.get("content-encoding", "").strip().lower()
        if encoding not in ("", "identity", "gzip", "x-gzip", "deflate"):
            raise MalformedResponse(f"expected a body in {ENCODINGS} or as it is, found it in {encoding[:40]}")
        self._inflate = zlib.decompressobj(_AUTOMATIC) if encoding not in ("", "identity") else None
        self._begun = False

    @property
    def is_plain(self) -> bool:
        """Whether the body is not encoded."""
        return self._inflate is None

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the next bytes decoded, at most a megabyte at a time.

        Raises:
            MalformedResponse: they cannot be decoded.
        """
        if self._inflate is None:
            yield data
            return
        try:
            while data:
                piece = self._step(data)
                if piece:
                    yield piece
                data = self._inflate.unconsumed_tail
                if self._inflate.eof and self._inflate.unused_data.rstrip(b"\0"):  # one body may be several, joined
                    data, self._inflate = self._inflate.unused_data, zlib.decompressobj(_AUTOMATIC)
        except zlib.error as error:
            fault = str(error)
        else:
            return
        raise MalformedResponse(f"expected a compressed body, found one that cannot be inflated: {fault}")

    def _step(self, data: bytes) -> bytes:
        assert self._inflate is not None
        try:
            piece = self._inflate.decompress(data, _STEP)
        except zlib.error:
            if self._begun:
                raise
            self._inflate = zlib.decompressobj(_RAW)  # some servers' deflate is without its header
            piece = self._inflate.decompress(data, _STEP)
        self._begun = True
        return piece


def too_large(most_bytes: int) -> MalformedResponse:
    """Return the failure of an answer that is larger than it may be."""
    return MalformedResponse(f"expected an answer of at most {most_bytes:,} bytes, found a larger one")


def read_json(content: bytes | str, *, strict: bool = False) -> Any:
    """Parse JSON, with a byte order mark or without, and with line breaks in its strings, as models write them.

    Args:
        content: the JSON.
        strict: whether numbers that JSON does not have (NaN, Infinity, 1e400) are refused. They are null otherwise:
            they stand among probabilities, and could not be sent again with the conversation.

    Raises:
        ValueError: it is not JSON, no text, or nested too deep to be read.
    """
    text = content.removeprefix("\ufeff") if isinstance(content, str) else content
    number = _finite if strict else _finite_or_null
    try:
        return json.loads(text, strict=False, parse_float=number, parse_constant=number)
    except RecursionError:
        pass
    raise ValueError("lists and objects nested too deep to be read")


def _finite_or_null(text: str) -> float | None:
    number = float(text)
    return number if isfinite(number) else None


def _finite(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise ValueError(f"JSON has no number {text:.20}")
    return number


def document_of(body: Any) -> Any:
    """Return the JSON of a body that is text, bytes, or parsed already; None where it is not JSON."""
    if not isinstance(body, str | bytes):
        return body
    try:
        return read_json(body)
    except ValueError:
        return None


def decode_base64(data: Any) -> bytes:
    """Decode base64 in either alphabet, with its padding or without, alone or as a data URL.

    Relays that are made with pydantic write the alphabet for URLs: pixeltable/pixeltable#1312,
    pydantic/pydantic-ai-harness#511, read 2026-12-01.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(data, str):
        raise ValueError(f"expected base64, found {type(data).__name__}")
    if data.startswith("data:"):
        data = data.partition(",")[2]
    plain = "".join(data.split()).rstrip("=").translate(_FOR_URLS)
    return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)


def kind_of_image(data: bytes) -> str:
    """Return the media type of a picture by its first bytes; "application/octet-stream" for what is not known."""
    return next((kind for start, kind in _IMAGES if data.startswith(start)), "application/octet-stream")


def text_of(value: Any) -> str | None:
    """Return a value that is a text with something in it; None for any other."""
    return value if isinstance(value, str) and value else None


def describe(status: int, headers: Mapping[str, str], body: Any) -> str:
    """Say what was found in place of the JSON that was expected, in the words of a failure's message.

    Args:
        status: the HTTP status.
        headers: the reply's headers, their names in any case.
        body: the reply's body, as text, bytes or parsed JSON.
    """
    if 300 <= status < 400:
        location = next((value for name, value in headers.items() if name.lower() == "location"), "nowhere")
        return f"expected an answer, found a redirection to {location}, which is not followed"
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else _shown(body) if body is not None else ""
    start = " ".join(text[:2000].split())
    if not start:
        return "expected JSON, found no body"
    return f"expected JSON, found: {start[:200]}{'...' if len(start) > 200 else ''}"


def excerpt(value: Any) -> str:
    """Return the beginning of something that was found, for the message of a failure; however deep it is."""
    text = repr(value) if isinstance(value, str) else _shown(value)
    return text if len(text) <= 200 else f"{text[:200]}..."


def _shown(value: Any) -> str:
    try:
        return str(value)
    except (RecursionError, ValueError):  # ValueError: an integer with more digits than Python writes
        return f"<{type(value).__name__}, too deep or too long to be shown>"


def write_json(document: Any) -> bytes:
    """Return a document as JSON in UTF-8; what is not Unicode text (half of a surrogate pair) becomes "?".

    Raises:
        ValueError: it holds a number that JSON does not have, or a circle.
        TypeError: it holds something that JSON does not have.
    """
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8", "replace")
