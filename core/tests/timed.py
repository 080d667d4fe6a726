"""Providers that take their time, and the four ways to ask a factory of them; `timed` is importable from the tests."""

import asyncio
import threading
import time

from understudy import (
    Capabilities,
    ChatProvider,
    Finish,
    FinishReason,
    LLMFactory,
    LLMResponse,
    Policy,
    StreamInterrupted,
    Text,
    TextDelta,
)
from understudy.health import Claim
from understudy.testing import VirtualClock
from understudy.testing.scripted import _fresh

WAYS = ["sync", "async", "stream", "astream"]
STREAMS = ["stream", "astream"]
NEVER = 10_000.0  # seconds


class Player(ChatProvider):
    """Plays lines, each a sequence of steps; the last line is repeated for ever.

    A number lets so many seconds pass, a text is a piece of the answer, an event is given as it is, an exception is
    raised, an LLMResponse ends the line as the whole answer. A line that is no tuple has one step.

    Args:
        name: the provider's name.
        lines: what it does in turn.
        clock: whose time passes in sync calls; None for the real time.
        more: capabilities. Without keeps_deadline=False a sync call is made where its clock can be moved.
    """

    def __init__(self, name, *lines, clock=None, model=None, **more):
        self.name = name
        self.lines = lines or ("fine",)
        self.clock = clock
        self.default_model = model
        self.capabilities = Capabilities(**{"streaming": True, "native_async": True, "keeps_deadline": True, **more})
        self.requests = []
        self.times = []
        self.cancelled = 0
        self.under_way = 0
        self.most_under_way = 0
        self._lock = threading.Lock()

    def get_provider_name(self):
        return self.name

    def _begin(self, request):
        with self._lock:
            self.requests.append(request)
            self.times.append(self.clock.now if self.clock else time.monotonic())
            self.under_way += 1
            self.most_under_way = max(self.most_under_way, self.under_way)
            line = self.lines[min(len(self.requests), len(self.lines)) - 1]
        return line if isinstance(line, tuple) else (line,)

    def _end(self):
        with self._lock:
            self.under_way -= 1

    def _sleep(self, seconds):
        if self.clock is None:
            time.sleep(seconds)
        else:
            self.clock.advance(seconds)

    def _play(self, line):
        """Yield seconds to wait and events to give; end in Finish."""
        text = ""
        for step in line:
            if isinstance(step, BaseException):
                raise _fresh(step)
            if isinstance(step, LLMResponse):
                if step.content and not text:
                    yield TextDelta(step.content)
                yield Finish(step)
                return
            if isinstance(step, str):
                text += step
                yield TextDelta(step)
            else:
                yield step
        yield Finish(answer(text, self.name))

    def stream(self, request):
        line = self._begin(request)
        try:
            for step in self._play(line):
                if isinstance(step, float | int):
                    self._sleep(step)
                else:
                    yield step
        finally:
            self._end()

    async def astream(self, request):
        line = self._begin(request)
        try:
            for step in self._play(line):
                if isinstance(step, float | int):
                    await asyncio.sleep(step)
                else:
                    yield step
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self._end()

    def generate(self, request):
        return next(event for event in self.stream(request) if isinstance(event, Finish)).response

    async def agenerate(self, request):
        stream = self.astream(request)
        try:
            async for event in stream:
                if isinstance(event, Finish):
                    return event.response
        finally:
            await stream.aclose()
        raise AssertionError("a line ended without Finish")


def answer(text, name="script", **more):
    more = {"model": "script", "finish_reason": FinishReason.STOP, "parts": (Text(text),), **more}
    return LLMResponse(True, text, name, **more)


class Stage:
    """A factory whose players share one virtual clock.

    Args:
        players: the route; their clocks are set.
        policy: the factory's.
        draw: the random number, always the same.
        options: for LLMFactory.
    """

    def __init__(self, *players, policy=None, draw=0.5, **options):
        self.clock = VirtualClock()
        self.players = players
        for player in players:
            if isinstance(player, Player):
                player.clock = self.clock
        options = {"settings": {}, "extensions": [], "runtime": self.clock.runtime(lambda: draw), **options}
        self.factory = LLMFactory(players[0], players[1:], policy=policy or Policy.eager(), **options)
        self.events = []
        self.error = None

    @property
    def store(self):
        return self.factory._admission.store

    def ask(self, how="sync", prompt="hello", **options):
        """Make one call; return its response, or that of a stream that broke off, with the events in `events`."""
        return ask(self.factory, how, prompt, into=self, run=self.clock.run, **options)

    def state(self, index=0):
        """Return the breaker's state of a target."""
        return self.factory._admission.look(index).state.value

    @property
    def text(self):
        """What the caller of the latest stream holds: the joined pieces since the last Restart."""
        return joined(self.events)


def joined(events):
    text = ""
    for event in events:
        if type(event).__name__ == "Restart":
            text = ""
        elif isinstance(event, TextDelta):
            text += event.text
    return text


class Seen:
    """Where `ask` puts what a stream gave."""

    def __init__(self):
        self.events = []
        self.error = None


def ask(factory, how, prompt="hello", *, into=None, run=asyncio.run, **options):
    """Ask in one of the four ways; an interrupted stream returns None, with the error in `into.error`."""
    into = into or Seen()
    into.events, into.error = [], None
    if how == "sync":
        return factory.generate_content(prompt, **options)
    if how == "async":
        return run(factory.agenerate_content(prompt, **options))

    async def take():
        async for event in factory.astream_content(prompt, **options):
            into.events.append(event)

    try:
        if how == "astream":
            run(take())
        else:
            for event in factory.stream_content(prompt, **options):
                into.events.append(event)
    except StreamInterrupted as error:
        into.error = error
        return None
    assert isinstance(into.events[-1], Finish)
    assert not [event for event in into.events[:-1] if isinstance(event, Finish)]
    return into.events[-1].response


def record(response):
    """Return who was asked or skipped, in order, with what came of it."""
    return [(attempt.target, attempt.outcome) for attempt in response.attempts]


def claim(call=1, policy=None, lease=60.0, **more):
    """Return what a call wants of a health store."""
    return Claim(call, policy or Policy.eager(), lease, **more)


def held_leases(factory):
    """Say which leases nobody gave back: slots of limits and probes under way, by target."""
    records = factory._admission.store._records
    held = {}
    for name, each in records.items():
        slots = len(each._allowance._slots) if each._allowance else 0
        if slots or each.breaker._probe:
            held[name] = (slots, each.breaker._probe)
    return held
