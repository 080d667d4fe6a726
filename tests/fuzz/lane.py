"""A lane that replays one reply from memory, as the lanes of sockets read it: decoded step by step, within bounds."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, replace

from understudy.errors import InvalidRequest
from understudy_toolkit.bodies import Decoder, too_large, write_json
from understudy_toolkit.lanes import Ask, Headers


@dataclass(frozen=True)
class Sent:
    """A reply as a server sends it.

    Args:
        status: the HTTP status.
        headers: names and values, in order.
        body: the bytes, as they are encoded.
        cuts: where the bytes are cut into pieces, in ascending order.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    cuts: tuple[int, ...] = ()

    def pieces(self) -> Iterator[bytes]:
        """Yield the body in its pieces."""
        begin = 0
        for end in (*self.cuts, len(self.body)):
            if end > begin:
                yield self.body[begin:end]
                begin = end

    def with_headers(self, **given: str) -> Sent:
        """Return the reply with other values for some headers; _ stands for a dash."""
        named = {name.replace("_", "-"): value for name, value in given.items()}
        kept = tuple(pair for pair in self.headers if pair[0].lower() not in named)
        return replace(self, headers=(*kept, *named.items()))


class PlayedLane:
    """Answers every request with one reply.

    Attributes:
        sent: the reply.
        ask: the latest request.
    """

    keeps_deadline = True

    def __init__(self) -> None:
        self.sent = Sent(200, (), b"")
        self.ask: Ask | None = None

    def prepare(self) -> None:
        """There is nothing to prepare."""

    def send(self, ask: Ask) -> PlayedReply:
        """Return the reply."""
        _write(ask)
        self.ask = ask
        return PlayedReply(self.sent, ask)

    async def asend(self, ask: Ask) -> PlayedAsyncReply:
        """Return the reply."""
        _write(ask)
        self.ask = ask
        return PlayedAsyncReply(self.sent, ask)

    def close(self) -> None:
        """There is nothing to close."""

    async def aclose(self) -> None:
        """There is nothing to close."""


def _write(ask: Ask) -> None:
    """Write a request, as the http lane does before it sends it."""
    try:
        write_json(ask.body)
    except (ValueError, TypeError) as error:
        raise InvalidRequest(f"expected a request that JSON can hold, found one that it cannot: {error}") from None


class PlayedReply:
    """A reply from memory."""

    def __init__(self, sent: Sent, ask: Ask) -> None:
        self.status, self.headers = sent.status, Headers(sent.headers)
        self._sent, self._ask = sent, ask

    def read(self) -> bytes:
        """Return the whole body."""
        size, pieces = 0, []
        for piece in self.pieces():
            size += len(piece)
            if size > self._ask.most_bytes:
                raise too_large(self._ask.most_bytes)
            pieces.append(piece)
        return b"".join(pieces)

    def pieces(self) -> Iterator[bytes]:
        """Yield the body as it comes."""
        decoder = Decoder(self.headers)
        for data in self._sent.pieces():
            yield from decoder.feed(data)

    def close(self) -> None:
        """There is nothing to close."""


class PlayedAsyncReply:
    """A reply from memory, on an event loop."""

    def __init__(self, sent: Sent, ask: Ask) -> None:
        self._reply = PlayedReply(sent, ask)
        self.status, self.headers = self._reply.status, self._reply.headers

    async def read(self) -> bytes:
        """Return the whole body."""
        return self._reply.read()

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Yield the body as it comes."""
        for piece in self._reply.pieces():
            yield piece

    async def close(self) -> None:
        """There is nothing to close."""


class Recorder:
    """Passes requests on to another lane, and keeps the latest reply."""

    keeps_deadline = True

    def __init__(self, lane: object) -> None:
        self._lane = lane
        self.sent: Sent | None = None

    def prepare(self) -> None:
        """Do what takes long."""
        self._lane.prepare()

    def send(self, ask: Ask) -> PlayedReply:
        """Ask the other lane, read its reply to the end, and return it again from memory."""
        self.sent = None
        reply = self._lane.send(ask)
        try:
            body = reply.read() if reply.status != 200 or not ask.stream else b"".join(reply.pieces())
        finally:
            reply.close()
        headers = [pair for pair in reply.headers.items() if pair[0] not in ("transfer-encoding", "content-length")]
        self.sent = Sent(reply.status, tuple(headers), body)
        return PlayedReply(self.sent, ask)

    def close(self) -> None:
        """Close the other lane."""
        self._lane.close()
