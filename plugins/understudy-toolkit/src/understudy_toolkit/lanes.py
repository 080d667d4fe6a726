"""One HTTP request and its reply, and what carries them: a lane.

There are two: the http lane (understudy_toolkit.http) speaks HTTP itself; an sdk lane (understudy_toolkit.sdk_lane)
lets the vendor's SDK do it. A provider writes and reads the vendor's JSON above either of them.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator, ItemsView, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

__all__ = [
    "CONNECT_SECONDS",
    "MOST_BYTES",
    "REFUSED",
    "Ask",
    "AsyncReply",
    "Headers",
    "Lane",
    "Reply",
    "SyncLane",
    "basic",
]

CONNECT_SECONDS = 5.0  # as the defaults of httpx and of the SDKs that are built on it (httpx 0.28.1, _config.py)
REFUSED = "ECONNREFUSED"  # the code of a ConnectionFailed on the http lane if the server does not listen
MOST_BYTES = 64 * 2**20  # of a whole answer, decoded: several times the largest pictures that models draw


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One HTTP request, and how long it may take.

    Args:
        path: what follows the lane's address: "/v1/messages".
        seconds: above 0. For a whole answer: until all of it is there, the connection included. For a stream: until its
            reply begins, and then for each wait for more of it.
        stream: whether the reply is read as it comes.
        method: "POST" or "GET".
        body: what is sent as JSON; None for nothing.
        headers: besides those that the lane sends; never a key.
        query: what follows the path, not yet quoted.
        connect_seconds: the most of `seconds` that a connection may take.
        most_bytes: the most that a whole answer may have, decoded; beyond it, it is MalformedResponse.
    """

    path: str
    seconds: float
    stream: bool = False
    method: str = "POST"
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    connect_seconds: float = CONNECT_SECONDS
    most_bytes: int = MOST_BYTES


class Headers(Mapping[str, str]):
    """The headers of a reply, found in any case; several of one name are one, joined by ", ".

    Args:
        pairs: names and values as they came.
    """

    __slots__ = ("_values",)

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        self._values: dict[str, str] = {}
        for name, value in pairs:
            name = name.lower()
            before = self._values.get(name)
            self._values[name] = value if before is None else f"{before}, {value}"

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def items(self) -> ItemsView[str, str]:
        """Return all names, in lower case, with their values: what Mapping has for it asks for each of them."""
        return self._values.items()

    def __repr__(self) -> str:
        return f"Headers({sorted(self._values)})"  # values may identify an account


class Reply(Protocol):
    """A reply whose body is not read yet. Whatever goes wrong while it is read, `close` it."""

    @property
    def status(self) -> int:
        """The HTTP status."""
        ...

    @property
    def headers(self) -> Headers:
        """The headers."""
        ...

    def read(self) -> bytes:
        """Return the whole body, decoded, within the time and the bytes that were asked for.

        Raises:
            Exception: of the lane's own library; `Replies.failure_of_exception` knows it.
            Timeout: it was not whole in time.
            MalformedResponse: it is too large, or cannot be decoded.
        """
        ...

    def pieces(self) -> Iterator[bytes]:
        """Yield the body as it comes, decoded; raises as `read`."""
        ...

    def close(self) -> None:
        """End the reply; its connection is used again where the body was read to its end."""
        ...


class AsyncReply(Protocol):
    """A reply as `Reply`, on an event loop."""

    @property
    def status(self) -> int:
        """The HTTP status."""
        ...

    @property
    def headers(self) -> Headers:
        """The headers."""
        ...

    async def read(self) -> bytes:
        """Return the whole body, as `Reply.read`."""
        ...

    def pieces(self) -> AsyncGenerator[bytes, None]:
        """Yield the body as it comes, as `Reply.pieces`; close it where it is left early, after the reply."""
        ...

    async def close(self) -> None:
        """End the reply, as `Reply.close`."""
        ...


class SyncLane(Protocol):
    """Carries requests of one account to one address, for sync calls alone. Safe to use from several threads.

    It asks once: no retries, no redirections. It sets the account's key itself, at the last moment.
    """

    @property
    def keeps_deadline(self) -> bool:
        """Whether sync replies end within 50 ms of their time, even if bytes only trickle in."""
        ...

    def prepare(self) -> None:
        """Do slow preparation once, such as importing an SDK; nothing is opened or sent."""
        ...

    def send(self, ask: Ask) -> Reply:
        """Send a request, and return its reply once that has begun, whatever its status.

        Raises:
            Exception: as `Reply.read`.
        """
        ...

    def close(self) -> None:
        """Close all connections; those of an event loop that is busy are closed on it, a moment later."""
        ...


class Lane(SyncLane, Protocol):
    """Carries requests as SyncLane, on event loops too."""

    async def asend(self, ask: Ask) -> AsyncReply:
        """Send a request on the running event loop, as `send`."""
        ...

    async def aclose(self) -> None:
        """Close the connections of the running event loop, and then all others."""
        ...


def basic(name: str, password: str) -> str:
    """Return what the header Authorization has of a name and a password."""
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode("ascii")
