"""The four ways to ask a provider, and small things that the rules of the contract share. Needs no pytest."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack, aclosing, contextmanager
from dataclasses import dataclass
from typing import Any

from understudy.classify import classify_exception
from understudy.errors import Failure
from understudy.messages import Message, Request
from understudy.provider import ChatProvider
from understudy.response import Finish, LLMResponse, StreamEvent, TextDelta, ThinkingDelta
from understudy.routing.adapters import PlainProvider

PROMPT = "Please greet the audience of tonight's show in one sentence."
REQUEST = Request(messages=(Message.user(PROMPT),), timeout=10)
PATIENCE = 20.0  # seconds that background work may take, on a machine that has much else to do


@dataclass(frozen=True, slots=True)
class Way:
    """One of the four calls; calling it returns the whole answer.

    Args:
        name: the method's name.
        streams: whether it answers in events.
        is_async: whether it runs on an event loop.
    """

    name: str
    streams: bool
    is_async: bool

    def __call__(self, provider: ChatProvider, request: Request) -> LLMResponse:
        """Ask, and return the whole answer.

        Raises:
            AssertionError: a stream did not end in Finish.
        """
        if self.streams:
            return finish_of(self.name, self.events(provider, request)).response
        if self.is_async:
            return asyncio.run(provider.agenerate(request))
        return provider.generate(request)

    def events(
        self, provider: ChatProvider, request: Request, into: list[StreamEvent] | None = None
    ) -> list[StreamEvent]:
        """Ask for a stream, and return its events; `into` holds them even where the stream raises."""
        events = [] if into is None else into
        if self.is_async:
            asyncio.run(_read(provider, request, events))
        else:
            events.extend(provider.stream(request))
        return events

    def fails(self, provider: ChatProvider, request: Request, fault: str) -> Failure:
        """Ask, and return the failure.

        Raises:
            AssertionError: there is an answer, or an exception that is not a Failure from a provider of the full
                contract.
        """
        __tracebackhide__ = True  # pytest then points at the rule
        try:
            response = self(provider, request)
        except Failure as failure:
            return failure
        except AssertionError:
            raise
        except Exception as error:
            if isinstance(provider, PlainProvider):
                return classify_exception(error)  # three methods may let their exceptions propagate
            raise AssertionError(
                f"expected {self.name}() to raise a Failure when the vendor does this: {fault}; found "
                f"{type(error).__name__}: {error}; turn whatever your SDK raises into one, for what your table does "
                "not know with understudy.classify_exception"
            ) from error
        raise AssertionError(
            f"expected {self.name}() to raise a Failure when the vendor does this: {fault}; found an answer: "
            f"{response!r:.300}"
        )


WAYS = (
    Way("generate", False, False),
    Way("stream", True, False),
    Way("agenerate", False, True),
    Way("astream", True, True),
)


def in_turn(way: Way, provider: ChatProvider, requests: list[Request]) -> list[list[StreamEvent]]:
    """Read streams at once, one event of each in turn, and return the events of each."""
    if way.is_async:
        return asyncio.run(_read_in_turn(provider, requests))
    told: list[list[StreamEvent]] = [[] for _ in requests]
    streams = {number: provider.stream(request) for number, request in enumerate(requests)}
    while streams:
        for number, stream in list(streams.items()):
            event = next(stream, None)
            if event is None:
                del streams[number]
            else:
                told[number].append(event)
    return told


async def _read_in_turn(provider: ChatProvider, requests: list[Request]) -> list[list[StreamEvent]]:
    told: list[list[StreamEvent]] = [[] for _ in requests]
    async with AsyncExitStack() as stack:
        streams: dict[int, Any] = {}
        for number, request in enumerate(requests):
            stream: Any = provider.astream(request)
            streams[number] = await stack.enter_async_context(aclosing(stream))
        while streams:
            for number, stream in list(streams.items()):
                event = await anext(stream, None)
                if event is None:
                    del streams[number]
                else:
                    told[number].append(event)
    return told


async def _read(provider: ChatProvider, request: Request, events: list[StreamEvent]) -> None:
    stream: Any = provider.astream(request)
    async with aclosing(stream):
        async for event in stream:
            events.append(event)


def finish_of(name: str, events: list[StreamEvent]) -> Finish:
    """Return a stream's end.

    Raises:
        AssertionError: it has none.
    """
    __tracebackhide__ = True
    if not events or not isinstance(events[-1], Finish):
        last = f"{events[-1]!r:.100}" if events else "no event at all"
        raise AssertionError(
            f"expected {name}() to end in Finish or to raise, found {last} at its end; yield Finish(response) once "
            "the vendor's end marker has come, and raise StreamInterrupted(partial=...) where it has not"
        )
    return events[-1]


def text_of(events: list[StreamEvent]) -> str:
    """Return the text of a stream's pieces, joined."""
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def thoughts_of(events: list[StreamEvent]) -> str:
    """Return the thinking that a stream showed, joined."""
    return "".join(event.text for event in events if isinstance(event, ThinkingDelta))


def snapshot(value: Any) -> Any:
    """Return a deep copy that can be compared; mappings and dataclasses become tuples."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = ((field.name, snapshot(getattr(value, field.name))) for field in dataclasses.fields(value))
        return (type(value).__name__, *fields)
    if isinstance(value, Mapping):
        return ("mapping", *((name, snapshot(inner)) for name, inner in value.items()))
    if isinstance(value, list | tuple):
        return (type(value).__name__, *(snapshot(inner) for inner in value))
    return value


@contextmanager
def unclosed() -> Iterator[list[str]]:
    """Collect what is opened inside the block and never closed; the list is filled at the end of the block."""
    found: list[str] = []
    gc.freeze()  # existing objects, garbage included, are ignored: that is quicker, and they are not the provider's
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield found
            gc.collect()
        found.extend(str(warning.message) for warning in caught if issubclass(warning.category, ResourceWarning))
    finally:
        gc.unfreeze()


def becomes(condition: Callable[[], bool]) -> bool:
    """Wait until a condition holds, at most PATIENCE seconds; return whether it does."""
    until = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True
