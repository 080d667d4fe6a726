"""How a reply travels under a fault, as a list of steps; the server plays them. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from understudy_sandbox.exchange import Frame, Reply
from understudy_sandbox.faults import Fault
from understudy_sandbox.spoiled import split_after

#: A reset overtakes what the client has not read yet, so the deltas before it get this long to arrive.
BEFORE_RESET = 0.05


@dataclass(frozen=True, slots=True)
class Head:
    """Send the status and the headers."""

    status: int
    headers: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Body:
    """Send a piece of the body."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Pause:
    """Send nothing for so many seconds; the rest is dropped when the client goes away meanwhile."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Loaded:
    """Send nothing: what this request had to wait for is in memory now."""


@dataclass(frozen=True, slots=True)
class End:
    """End the body properly."""


@dataclass(frozen=True, slots=True)
class Drop:
    """Close the connection, whatever is missing."""


@dataclass(frozen=True, slots=True)
class Reset:
    """Reset the connection (RST)."""


Step = Head | Body | Pause | Loaded | End | Drop | Reset


def plan(reply: Reply, fault: Fault | None) -> Iterator[Step]:
    """The steps in which this reply travels under this fault."""
    name = None if fault is None else fault.name
    if fault is None or name not in _TRAVELS:
        yield Head(reply.status, reply.headers)
        yield from _bodies(reply.frames)
        yield End()
        return
    yield from _TRAVELS[fault.name](reply, fault)


def _bodies(frames: Iterable[Frame]) -> Iterator[Step]:
    return (Body(frame.data) for frame in frames if frame.data)


def _head_and_before(reply: Reply, fault: Fault) -> Iterator[Step]:
    yield Head(reply.status, reply.headers)
    yield from _bodies(split_after(reply, fault.options["after"])[0])


def _stream_end(reply: Reply, fault: Fault) -> Iterator[Step]:
    yield from _head_and_before(reply, fault)
    yield End()


def _cut(reply: Reply, fault: Fault) -> Iterator[Step]:
    yield from _head_and_before(reply, fault)
    yield Drop()


def _cut_character(reply: Reply, fault: Fault) -> Iterator[Step]:
    before, rest = split_after(reply, fault.options["after"] if reply.streamed else 0)
    yield Head(reply.status, reply.headers)
    yield from _bodies(before)
    left = b"".join(frame.data for frame in rest)
    # the first byte of a character of several bytes, else anywhere in the middle
    first = next((place for place, byte in enumerate(left) if byte >= 0xC0), len(left) // 2)
    yield Body(left[: first + 1])
    yield Drop()


def _stall(reply: Reply, fault: Fault) -> Iterator[Step]:
    yield from _head_and_before(reply, fault)
    yield Pause(fault.options["seconds"])
    yield Drop()


def _reset(reply: Reply, fault: Fault) -> Iterator[Step]:
    if fault.options["after"] is not None:
        yield from _head_and_before(reply, fault)
        yield Pause(BEFORE_RESET)
    yield Reset()


def _black_hole(reply: Reply, fault: Fault) -> Iterator[Step]:
    yield Pause(fault.options["seconds"])
    yield Drop()


def _slow_first_token(reply: Reply, fault: Fault) -> Iterator[Step]:
    """A stream's head and opening come at once, a plain reply as a whole comes late: as the vendors do."""
    left = fault.options["seconds"]
    if not reply.streamed:
        yield Pause(left)
    yield Head(reply.status, reply.headers)
    waited = not reply.streamed
    for frame in reply.frames:
        if frame.beat:
            yield Pause(fault.options["every"])
            left -= fault.options["every"]
        elif frame.delta and not waited:
            waited = True
            yield Pause(max(left, 0))
        yield Body(frame.data)
    yield End()


def _heartbeats(reply: Reply, fault: Fault) -> Iterator[Step]:
    left = fault.options["seconds"]
    if reply.streamed:
        yield Head(reply.status, reply.headers)
    for frame in reply.frames if reply.streamed else ():
        if frame.beat:
            yield Pause(fault.options["every"])
            left -= fault.options["every"]
        yield Body(frame.data)
    yield Pause(max(left, 0))
    yield Drop()


def _loading(reply: Reply, fault: Fault) -> Iterator[Step]:
    yield Pause(fault.options["seconds"])
    yield Loaded()
    yield Head(reply.status, reply.headers)
    yield from _bodies(reply.frames)
    yield End()


def _dribble(reply: Reply, fault: Fault) -> Iterator[Step]:
    size, body = fault.options["size"], reply.body
    pieces = [frame.data for frame in reply.frames]
    if size is not None:
        pieces = [body[start : start + size] for start in range(0, len(body), size)]
    yield Head(reply.status, reply.headers)
    for piece in pieces:
        yield Body(piece)
        yield Pause(fault.options["seconds"])
    yield End()


_TRAVELS = {
    "stream_end": _stream_end,
    "cut": _cut,
    "cut_character": _cut_character,
    "stall": _stall,
    "reset": _reset,
    "black_hole": _black_hole,
    "slow_first_token": _slow_first_token,
    "heartbeats": _heartbeats,
    "loading": _loading,
    "dribble": _dribble,
}
