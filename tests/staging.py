"""What the tests with real SDKs and stand-ins for their vendors share: the stage, and what every fault leads to."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from understudy import (
    AuthenticationFailed,
    ConnectionFailed,
    ContentBlocked,
    ContextTooLong,
    EmptyResponse,
    Failure,
    Finish,
    InMemoryHealthStore,
    InvalidRequest,
    LLMFactory,
    MalformedResponse,
    ModelNotFound,
    Overloaded,
    PermissionDenied,
    QuotaExhausted,
    RateLimited,
    RequestTooLarge,
    ServerError,
    StreamInterrupted,
    TextDelta,
    Timeout,
)
from understudy_sandbox import faults

SILENT = {"stall", "black_hole"}  # only these are ended by a timeout, so only these are given a short one
SHORT = 0.15  # seconds: many times what a stand-in needs between two pieces
TIMEOUTS = (0.1, 0.4, 1.6)  # seconds for a whole attempt: the next, where a healthy one was late on a busy machine
WAYS = ["sync", "async", "stream", "astream"]
STREAMS = ["stream", "astream"]
AWAITED = ["async", "astream"]
BROKEN = (ConnectionFailed, StreamInterrupted)
UNREADABLE = (MalformedResponse,)
CASTS = [("gemini", "claude"), ("claude", "gemini")]


@dataclass(frozen=True)
class Row:
    """What one fault leads to: the failure, how often the primary is asked (with one retry), who answers."""

    fault: Any
    failure: tuple[type[Failure], ...]
    asked: int
    answered: bool = True  # by the fallback; False where the call ends with the primary
    plain: tuple[tuple[type[Failure], ...], int] | None = None  # for whole answers, where they differ from streams
    retry_after: float | None = None


BEFORE_THE_FIRST_TOKEN = [
    Row(faults.rate_limited(), (RateLimited,), 1),
    Row(faults.rate_limited(retry_after=30), (RateLimited,), 1, retry_after=30),
    Row(faults.quota_exhausted(), (QuotaExhausted,), 1),
    Row(faults.billing(), (QuotaExhausted,), 1),
    Row(faults.request_too_large(), (RequestTooLarge, ContextTooLong), 1),
    Row(faults.overloaded(), (Overloaded,), 2),
    Row(faults.server_error(), (ServerError,), 2),
    Row(faults.status(502, "gone"), (ServerError,), 2),
    Row(faults.timeout(), (Timeout,), 2),
    Row(faults.timeout(408), (Timeout,), 2),
    Row(faults.authentication_failed(), (AuthenticationFailed,), 1),
    Row(faults.permission_denied(), (PermissionDenied,), 1),
    Row(faults.model_not_found(), (ModelNotFound,), 1),
    Row(faults.context_too_long(), (ContextTooLong,), 1),
    Row(faults.invalid_request(), (InvalidRequest,), 1, answered=False),
    Row(faults.blocked(), (ContentBlocked,), 1, answered=False),
    Row(faults.blocked("prompt"), (ContentBlocked,), 1, answered=False),
    Row(faults.empty(), (EmptyResponse,), 1),
    Row(faults.out_of_tokens(), (EmptyResponse,), 1),
    Row(faults.stream_error(), (Overloaded,), 2, plain=((Overloaded, MalformedResponse), 0)),
    Row(faults.stream_end(0), BROKEN, 2, plain=((MalformedResponse, *BROKEN), 0)),
    Row(faults.cut(0), BROKEN, 2),
    Row(faults.reset(), (ConnectionFailed,), 2),
    Row(faults.black_hole(), (Timeout,), 2),
    Row(faults.stall(0), (Timeout,), 2),
    Row(faults.malformed_json(), UNREADABLE, 1),
    Row(faults.html_page(), UNREADABLE, 1),
    Row(faults.html_page(502), (ServerError,), 2),
    Row(faults.empty_body(), (*UNREADABLE, StreamInterrupted), 0),
    Row(faults.null_object(), (*UNREADABLE, StreamInterrupted), 0),
]
BENIGN = [faults.slow_first_token(0.05), faults.dribble(0.005), faults.huge(1)]
MID_STREAM = [
    faults.stream_error(after=2),
    faults.stream_end(after=2),
    faults.cut(after=2),
    faults.cut_character(after=2),
    faults.stall(after=2),
    faults.reset(after=2),
    faults.malformed_json(after=2),
]


def named(rows):
    return pytest.mark.parametrize("row", rows, ids=lambda row: str(getattr(row, "fault", row)))


ways = pytest.mark.parametrize("how", WAYS)
streams = pytest.mark.parametrize("how", STREAMS)
casts = pytest.mark.parametrize("cast", CASTS, ids=" then ".join)


def timeouts(fault):
    """Return the timeouts with which a call is tried until nobody is late who is healthy."""
    return TIMEOUTS if fault.name in SILENT else (10,)


def expected(row, how):
    """Return the failures that a fault may lead to, and how often the primary is asked by the patient policy."""
    return row.plain if row.plain is not None and how not in STREAMS else (row.failure, row.asked)


class Stage:
    """Makes calls in the four ways, and remembers what came of the latest one.

    Attributes:
        factory: whom `ask` calls.
        events, seconds: what the latest call gave as a stream, and how long it took.
    """

    def __init__(self, sandbox, providers, settings, loop):
        self.sandbox, self.providers, self.settings, self.loop = sandbox, providers, settings, loop
        self.events, self.seconds = [], 0.0

    def open(self, names, policy, **arguments):
        """Put providers on the route, by name or as they are; nothing is known yet of their health."""
        self.cast = tuple(name if isinstance(name, str) else name.get_provider_name() for name in names)
        route = [self.providers[name] if isinstance(name, str) else name for name in names]
        arguments = {"health_store": InMemoryHealthStore(), "extensions": [], "limits": {}, **arguments}
        self.factory = LLMFactory(route[0], route[1:], policy=policy, settings=self.settings, **arguments)
        return self.factory

    def begin(self, names, policy, *faults):
        """Put providers on the route, with stand-ins that fail from now on, each as it is told."""
        self.sandbox.reset()
        self.open(names, policy)
        for name, fault in zip(self.cast, faults, strict=False):
            self.sandbox[name].always(fault)

    @property
    def primary(self):
        """The stand-in for the first on the route."""
        return self.sandbox[self.cast[0]]

    @property
    def fallback(self):
        """The stand-in for the second on the route."""
        return self.sandbox[self.cast[1]]

    @property
    def counts(self):
        """How many requests arrived at each stand-in on the route."""
        return [self.sandbox[name].request_count for name in self.cast]

    @property
    def text(self):
        """The text that the latest stream gave, joined."""
        return "".join(event.text for event in self.events if isinstance(event, TextDelta))

    def ask(self, how, prompt="hello", **arguments):
        """Make a call in one of the four ways, and return its response."""
        asked = Asked(self.factory, how, prompt, arguments)
        self.events = asked.events
        if how in AWAITED:
            self.loop.run_until_complete(asked.aperform())
        else:
            asked.perform()
        self.seconds = asked.seconds
        if asked.error is not None:
            raise asked.error
        return asked.response

    def try_to_ask(self, how, prompt="hello", **arguments):
        """Make a call in one of the four ways, and return its error, or None where it has an answer."""
        try:
            self.ask(how, prompt, **arguments)
        except Failure as error:
            return error
        return None

    def ask_at_once(self, how, factories, prompt="hello", **arguments):
        """Make one call of each factory, all at the same time, in threads or tasks; return what came of them."""
        calls = [Asked(factory, how, prompt, arguments) for factory in factories]
        if how in AWAITED:
            self.loop.run_until_complete(gather(calls))
        else:
            with ThreadPoolExecutor(len(calls)) as pool:
                list(pool.map(Asked.perform, calls))
        return calls

    def warm_up(self, how, *names):
        """Make a healthy call to each, so that no SDK is imported and no client opened where time is measured."""
        for name in names:
            alone = Stage(self.sandbox, self.providers, self.settings, self.loop)
            alone.open([name], "eager")
            assert alone.ask(how).success
            self.sandbox[name].reset()


class Asked:
    """One call, and what came of it: a response or an error, a stream's events, and how many seconds it took."""

    def __init__(self, factory, how, prompt, arguments):
        self.factory, self.how, self.prompt, self.arguments = factory, how, prompt, arguments
        self.response, self.error, self.events, self.seconds = None, None, [], 0.0

    def perform(self):
        """Make it in this thread."""
        began = time.monotonic()
        try:
            if self.how == "sync":
                self.response = self.factory.generate_content(self.prompt, None, **self.arguments)
            else:
                for event in self.factory.stream_content(self.prompt, None, **self.arguments):
                    self.take(event)
        except Failure as error:
            self.error = error
        self.seconds = time.monotonic() - began

    async def aperform(self):
        """Make it on the running event loop."""
        began = time.monotonic()
        try:
            if self.how == "async":
                self.response = await self.factory.agenerate_content(self.prompt, None, **self.arguments)
            else:
                async for event in self.factory.astream_content(self.prompt, None, **self.arguments):
                    self.take(event)
        except Failure as error:
            self.error = error
        self.seconds = time.monotonic() - began

    def take(self, event):
        self.events.append(event)
        if isinstance(event, Finish):
            self.response = event.response


async def gather(calls):
    await asyncio.gather(*(call.aperform() for call in calls))
