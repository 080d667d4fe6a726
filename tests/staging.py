"""What the tests with real SDKs and stand-ins for their vendors share: the stage on which they call."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from understudy import Failure, Finish, LLMFactory, StreamInterrupted, TextDelta
from understudy.errors import Timeout
from understudy.health import InMemoryHealthStore
from understudy.testing import no_waiting

SILENT = {"stall", "black_hole", "heartbeats"}  # only these are ended by a timeout, so only these are given a short one
SHORT = 0.15  # seconds: many times what a stand-in needs between two pieces
QUICK = (0.25, 0.75)  # seconds before the eager policy's quick retry: half a second, half as long to half as long again
TIMEOUTS = (0.06, 0.3, 1.5)  # seconds for a whole attempt: the next, where a healthy one was late on a busy machine
WAYS = ["sync", "async", "stream", "astream"]
STREAMS = ["stream", "astream"]
AWAITED = ["async", "astream"]
CASTS = [("gemini", "claude"), ("claude", "gemini")]
STAND_INS = {"gemini-legacy": "gemini", "vertex": "gemini"}  # where that is not the one of the provider's own name


def named(rows):
    return pytest.mark.parametrize("row", rows, ids=str)


ways = pytest.mark.parametrize("how", WAYS)
streams = pytest.mark.parametrize("how", STREAMS)
casts = pytest.mark.parametrize("cast", CASTS, ids=" then ".join)


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
        self.factory.warm_up()  # no call's time is for imports
        return self.factory

    def begin(self, names, policy, *faults):
        """Put providers on the route, with stand-ins that fail from now on, each as it is told."""
        self.sandbox.reset()
        self.open(names, policy)
        for stand_in, fault in zip(self.stand_ins, faults, strict=False):
            stand_in.always(fault)

    @property
    def stand_ins(self):
        """The stand-ins for those on the route who have one."""
        names = (STAND_INS.get(name, name) for name in self.cast)
        return [self.sandbox[name] for name in names if name in self.sandbox.vendors]

    @property
    def primary(self):
        """The stand-in for the first on the route."""
        return self.stand_ins[0]

    @property
    def fallback(self):
        """The stand-in for the second on the route."""
        return self.stand_ins[1]

    @property
    def counts(self):
        """How many requests arrived at each stand-in on the route."""
        return [stand_in.request_count for stand_in in self.stand_ins]

    @property
    def text(self):
        """The text that the latest stream gave, joined."""
        return "".join(event.text for event in self.events if isinstance(event, TextDelta))

    def call(self, how, prompt="hello", **arguments):
        """Make a call in one of the four ways, and return what came of it."""
        asked = Asked(self.factory, how, prompt, arguments)
        self.events = asked.events
        if how in AWAITED:
            self.loop.run_until_complete(asked.aperform())
        else:
            asked.perform()
        self.seconds = asked.seconds
        return asked

    def ask(self, how, prompt="hello", **arguments):
        """Make a call in one of the four ways, and return its response."""
        asked = self.call(how, prompt, **arguments)
        if asked.error is not None:
            raise asked.error
        return asked.response

    def meet(self, names, policy, how, *faults, begun=False, **arguments):
        """Make a call whose first targets have these faults; return what came of it, and the waits that were skipped.

        Where silence is to be ended by a timeout it is a short one, and a longer one if it ends what is healthy, too:
        another target's answer or, where the stream is to break off after it has `begun`, its beginning.
        """
        silent = any(fault.name in SILENT for fault in faults)
        for timeout in TIMEOUTS if silent else (20,):
            self.begin(names, policy, *faults)
            with no_waiting() as waits:
                call = self.call(how, timeout=timeout, **arguments)
            silence = dict(zip(self.cast, (fault.name in SILENT and not begun for fault in faults), strict=False))
            late = [one for one in call.attempts if isinstance(one.failure, Timeout) and not silence.get(one.target)]
            if not late and sum(self.counts) == len(call.attempts):  # and every request arrived
                break
        return call, waits

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
            alone.primary.reset()


class Asked:
    """One call, and what came of it: a response or an error, a stream's events, and how many seconds it took."""

    def __init__(self, factory, how, prompt, arguments):
        self.factory, self.how, self.prompt, self.arguments = factory, how, prompt, arguments
        self.response, self.error, self.events, self.seconds = None, None, [], 0.0
        self.moments = []  # when each event came

    @property
    def text(self):
        """The text that the stream gave, joined."""
        return "".join(event.text for event in self.events if isinstance(event, TextDelta))

    @property
    def attempts(self):
        """The record, of a call that was answered, failed, or broke off."""
        return (self.error or self.response).attempts

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
        self.moments.append(time.monotonic())
        if isinstance(event, Finish):
            self.response = event.response


async def gather(calls):
    await asyncio.gather(*(call.aperform() for call in calls))


class Clock:
    """Stands still but for what it is put forward by: what a store knows is as old as a test says."""

    def __init__(self):
        self.forward = 0.0

    def __call__(self):
        return 1000.0 + self.forward


def connections_end(stand_in, seconds=1.0):
    """Wait until a stand-in has no connection any more; whether it came to that in time.

    Args:
        stand_in: which.
        seconds: by then; a stand-in would be silent for 60 if nobody hung up on it.
    """
    latest = time.monotonic() + seconds
    while stand_in.open_connections and time.monotonic() < latest:
        time.sleep(0.002)
    return not stand_in.open_connections


def check_quick_retry(call, outcome, waits):
    """Check that the eager policy asked the primary once more, soon, where that can help, and waited only for that."""
    first, *others = call.attempts
    again = [attempt for attempt in others if attempt.target == first.target]
    assert [(one.number, one.reason, type(one.failure), one.wait) for one in again] == [
        (2, f"quick retry after {first.failure.brief}", outcome.failure, wait) for wait in waits
    ]
    assert len(waits) == outcome.is_quick
    assert all(QUICK[0] <= wait <= QUICK[1] for wait in waits)


def check_call(stage, call, outcome):
    """Check what is the same for every policy: who answers, what arrived, what the caller has of a stream."""
    primary, fallback = stage.cast
    asked = [sum(attempt.target == name for attempt in call.attempts) for name in stage.cast]
    assert stage.counts == [asked[0] if outcome.heard else 0, asked[1]]
    first = call.attempts[0]
    assert (first.target, first.number, first.reason, first.breaker) == (primary, 1, "primary", "closed")
    if outcome.failure is None:
        assert (call.response.success, call.response.provider_name, len(call.attempts)) == (True, primary, 1)
    elif outcome.begun:
        assert isinstance(call.error, StreamInterrupted)
        assert type(call.error.__cause__) is outcome.failure
        assert (call.error.provider, len(call.attempts)) == (primary, 1)
        assert call.error.partial == call.text != ""
    else:
        assert type(first.failure) is outcome.failure
        assert (first.failure.provider, first.failure.retry_after) == (primary, outcome.hint)
        assert first.outcome == "failed"
        assert asked[1] == (not outcome.final)
        assert call.response.success == (not outcome.final)
    if call.response is not None:
        assert call.text == (call.response.content if call.how in STREAMS else "")
        if call.response.success and outcome.failure is not None:
            assert (call.response.provider_name, call.attempts[-1].outcome) == (fallback, "succeeded")
    failures = [call.error, *(attempt.failure for attempt in call.attempts)]
    assert "sandbox-key" not in "".join(f"{one!r} {one}" for one in failures) + repr(call.response)
