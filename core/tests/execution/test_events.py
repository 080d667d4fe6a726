"""What listeners hear of a call: its id in every event, its start, each attempt's end, and nothing built for nobody."""

import asyncio
import dataclasses
import logging
import sys
import threading
from collections import Counter
from typing import get_args

import pytest
from timed import NEVER, STREAMS, WAYS, Player, Seen, Stage, answer, ask, record

from understudy import (
    Capabilities,
    Finish,
    FinishReason,
    LLMFactory,
    LLMResponse,
    Message,
    Policy,
    StreamInterrupted,
    Text,
    TextDelta,
    Tool,
    Usage,
    hookimpl,
)
from understudy.errors import Overloaded, QuotaExhausted, RateLimited, ResponseRejected, ServerError
from understudy.events import (
    AttemptFailed,
    AttemptFinished,
    AttemptStarted,
    BreakerChanged,
    CallCancelled,
    CallFinished,
    CallStarted,
    Event,
    FirstToken,
    RetryScheduled,
    Switched,
    TargetSkipped,
    current_call,
)
from understudy.execution import attempt
from understudy.extras import pricing
from understudy.health import InMemoryHealthStore
from understudy.health.budgets import BURST
from understudy.response import Heartbeat
from understudy.testing import ScriptedProvider, no_waiting

WHOLE = ["sync", "async"]
LOOP_WAYS = ["async", "astream"]
PLAIN = Policy()
EAGER = Policy.eager()  # its sync calls run on the loop in the background, and what it tells is told from threads
DOWN = ServerError("down")
USAGE = Usage(input_tokens=1000, output_tokens=10)
STREAMING = Capabilities(streaming=True, native_async=True)

every_way = pytest.mark.parametrize("how", WAYS)
each_policy = pytest.mark.parametrize("policy", [PLAIN, EAGER], ids=["plain", "eager"])


class Listener:
    """Remembers what it was told, with what `current_call` said meanwhile."""

    def __init__(self):
        self.told = []
        self.current = []
        self.changed = threading.Condition()

    @hookimpl
    def understudy_event(self, event):
        with self.changed:
            self.told.append(event)
            self.current.append(current_call.get())
            self.changed.notify_all()

    def of(self, kind):
        return [event for event in self.told if type(event) is kind]

    def started(self):
        """Return the starts of the attempts by target: each may be told from a thread of its own."""
        return sorted(self.of(AttemptStarted), key=lambda event: event.target)

    def wait_for(self, condition):
        with self.changed:
            assert self.changed.wait_for(condition, 30)

    @property
    def kinds(self):
        return [type(event) for event in self.told]

    def calls(self):
        """Return what was told of each call, by its id; each is told in full: no end without its beginning."""
        calls = {}
        for event in self.told:
            calls.setdefault(event.call, []).append(event)
        for call, told in calls.items():
            assert len(call) == 16
            check_whole(told)
        return calls


def check_whole(told):
    """Check that a call has its beginning and its end, and each attempt one end and at most one first token."""
    told = [event for event in told if type(event) is not BreakerChanged]  # a probe may change it after the call
    assert type(told[0]) is CallStarted
    assert type(told[-1]) in (CallFinished, CallCancelled)
    assert not {CallStarted, CallFinished, CallCancelled} & {type(event) for event in told[1:-1]}
    open_attempts, failed = {}, None
    for event in told[1:-1]:
        kind, key = type(event), (event.target, getattr(event, "number", None))
        if kind is AttemptStarted:
            assert key not in open_attempts
            open_attempts[key] = 0
        elif kind is FirstToken:
            open_attempts[key] += 1
            assert open_attempts[key] == 1
        elif kind is AttemptFailed:
            assert key in open_attempts
            failed = event
        elif kind is AttemptFinished:
            del open_attempts[key]
            assert (event.outcome == "failed") is (event.failure is not None)
            assert event.failure is (failed.failure if event.outcome == "failed" else None)
    assert open_attempts == {}


def factory_of(*providers, policy=PLAIN, extensions=(), **options):
    """Return a factory and its listener."""
    listener = Listener()
    extensions = [listener, *extensions]
    return LLMFactory(
        providers[0], providers[1:], policy=policy, settings={}, extensions=extensions, **options
    ), listener


def tokens(how):
    """Return the event that streams alone tell of before an answer's end."""
    return [FirstToken] if how in STREAMS else []


def fields(event, *names):
    return tuple(getattr(event, name) for name in names)


# ---- a call from its start to its end ----


@every_way
def test_a_retry_and_a_switch_are_told_in_their_order(how):
    a = ScriptedProvider("a", [Overloaded("full"), QuotaExhausted("spent")])
    factory, listener = factory_of(a, ScriptedProvider("b"), policy=Policy.patient(max_retries=1))
    with no_waiting():
        response = ask(factory, how)
    first, second, third = response.attempts
    told = listener.told
    seconds = [event.seconds for event in listener.of(AttemptFinished)]
    began = [FirstToken("b", 1, listener.of(FirstToken)[0].seconds)] if how in STREAMS else []
    assert told == [
        CallStarted(("a", "b"), Policy.patient(max_retries=1), how in STREAMS, 1, None, 0.0, 1024),
        AttemptStarted("a", 1, "primary"),
        AttemptFailed("a", 1, first.failure, seconds[0]),
        AttemptFinished("a", 1, "failed", seconds[0], failure=first.failure, price_list="a"),
        RetryScheduled("a", 1, 5.0, first.failure),
        AttemptStarted("a", 2, "retry 1 of 1 after overloaded"),
        AttemptFailed("a", 2, second.failure, seconds[1]),
        AttemptFinished("a", 2, "failed", seconds[1], failure=second.failure, price_list="a"),
        Switched("a", "b", second.failure),
        AttemptStarted("b", 1, "after a: quota exceeded"),
        *began,
        AttemptFinished("b", 1, "succeeded", seconds[2], "script", None, None, FinishReason.STOP, price_list="b"),
        CallFinished(response),
    ]
    assert [one.target for one in (first, second, third)] == ["a", "a", "b"]
    assert all(0 <= told <= one.seconds for told, one in zip(seconds, response.attempts, strict=True))
    listener.calls()


@every_way
@each_policy
def test_every_event_of_a_call_has_its_id_and_each_call_has_another(how, policy):
    a = ScriptedProvider("a", [Overloaded("full"), QuotaExhausted("spent"), *["fine"] * 3])
    factory, listener = factory_of(a, ScriptedProvider("b"), policy=policy)
    other, its_listener = factory_of(ScriptedProvider("a"), policy=policy)
    with no_waiting():
        for _ in range(3):
            assert ask(factory, how).success
        assert ask(other, how).success
    calls = {**listener.calls(), **its_listener.calls()}
    assert len(calls) == 4
    assert "" not in calls


@every_way
@each_policy
def test_calls_that_run_at_once_are_told_apart(how, policy):
    together = 4
    meeting, inside = threading.Barrier(together), asyncio.Barrier(together)

    class Echo(ScriptedProvider):
        """Answers when all calls are under way, with what it was asked as the vendor's id."""

        def answer(self, request):
            return LLMResponse(True, "fine", "b", request_id=request.prompt)

        def generate(self, request):
            meeting.wait(30)
            return self.answer(request)

        def stream(self, request):
            meeting.wait(30)
            yield TextDelta("fine")
            yield Finish(self.answer(request))

        async def agenerate(self, request):
            await inside.wait()
            return self.answer(request)

        async def astream(self, request):
            await inside.wait()
            yield TextDelta("fine")
            yield Finish(self.answer(request))

    factory, listener = factory_of(ScriptedProvider("a", [QuotaExhausted("spent")]), Echo("b"), policy=policy)
    prompts = [f"question {number}" for number in range(together)]
    if how in LOOP_WAYS:

        async def all_of_them():
            async def take(prompt):
                return [event async for event in factory.astream_content(prompt)]

            make = factory.agenerate_content if how == "async" else take
            await asyncio.gather(*map(make, prompts))

        asyncio.run(all_of_them())
    else:
        threads = [threading.Thread(target=ask, args=(factory, how, prompt)) for prompt in prompts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    calls = listener.calls()
    assert len(calls) == together
    answered = []
    for told in calls.values():
        (finished,) = [event for event in told if type(event) is AttemptFinished and event.outcome == "succeeded"]
        assert told[-1].response.request_id == finished.request_id
        answered.append(finished.request_id)
    assert sorted(answered) == prompts


@every_way
@each_policy
def test_the_start_says_what_is_asked_for_and_nothing_of_its_content(how, policy):
    can = Capabilities(streaming=True, native_async=True, tools=True, output_schema=True)
    factory, listener = factory_of(
        ScriptedProvider("a", [answer('{"secretfield": 1}')], capabilities=can),
        ScriptedProvider("b", capabilities=can),
        policy=policy,
    )
    schema = {"type": "object", "properties": {"secretfield": {"type": "integer"}}}
    ask(
        factory,
        how,
        [Message(role, (Text("secretword"),)) for role in ("user", "assistant", "user")],
        temperature=0.7,
        max_tokens=77,
        model="large",
        system="secretsystem",
        tools=[Tool(name="secrettool", description="secretdescription")],
        output_schema=schema,
        options={"a": {"secretoption": 1}},
        max_retries=2,
    )
    started = listener.told[0]
    assert type(started) is CallStarted
    assert fields(started, "route", "streaming", "messages") == (("a", "b"), how in STREAMS, 3)
    assert fields(started, "model", "temperature", "max_tokens", "tools", "structured") == ("large", 0.7, 77, 1, True)
    assert started.policy.max_retries == 2  # of this call
    assert started.policy.switch_first is policy.switch_first
    assert [event for event in listener.told[:-1] if "secret" in repr(event)] == []


@every_way
def test_the_route_is_told_in_the_order_in_which_it_is_asked(how):
    def backwards(candidates, draw):
        return range(len(candidates) - 1, -1, -1)

    factory, listener = factory_of(
        ScriptedProvider("a"), ScriptedProvider("b"), ScriptedProvider("c"), policy=Policy(routing=backwards)
    )
    ask(factory, how)
    assert listener.told[0].route == ("c", "b", "a")
    assert listener.told[1].target == "c"


@every_way
@each_policy
def test_a_call_that_asks_nobody_has_a_start_and_an_end_too(how, policy):
    factory, listener = factory_of(ScriptedProvider("a", unavailable="no key"), policy=policy)
    assert not ask(factory, how).success
    assert listener.kinds == [CallStarted, TargetSkipped, CallFinished]
    listener.calls()


def test_events_of_two_calls_that_say_the_same_are_equal():
    assert Switched("a", "b", DOWN, call="1") == Switched("a", "b", DOWN, call="2")
    assert Switched("a", "b", DOWN) != Switched("a", "c", DOWN)


def test_the_documented_kinds_are_all_there_are():
    assert set(get_args(Event)) == {
        CallStarted,
        AttemptStarted,
        FirstToken,
        AttemptFinished,
        AttemptFailed,
        TargetSkipped,
        RetryScheduled,
        Switched,
        BreakerChanged,
        CallFinished,
        CallCancelled,
    }


# ---- how an attempt ended ----


@pytest.fixture
def forgetful():
    yield
    for one in (pricing.is_installed, pricing._library, pricing._rates):
        one.cache_clear()


def paid(text="fine", **more):
    return answer(text, "openai", model="gpt-4o-mini", usage=USAGE, request_id="req_1", **more)


@every_way
@each_policy
def test_a_success_is_told_with_what_it_took_and_cost(how, policy):
    pytest.importorskip("genai_prices")
    factory, listener = factory_of(
        ScriptedProvider("openai", [paid(finish_reason=FinishReason.LENGTH)]), ScriptedProvider("b"), policy=policy
    )
    response = ask(factory, how)
    (finished,) = listener.of(AttemptFinished)
    assert fields(finished, "target", "number", "outcome") == ("openai", 1, "succeeded")
    assert fields(finished, "model", "usage", "request_id") == ("gpt-4o-mini", USAGE, "req_1")
    assert fields(finished, "finish_reason", "failure") == (FinishReason.LENGTH, None)
    assert 0 <= finished.seconds <= response.attempts[0].seconds
    assert finished.cost == response.attempts[0].cost == response.cost > 0
    assert listener.told[-2] is finished


@every_way
def test_without_the_extra_a_cost_is_not_known(how, monkeypatch, forgetful):
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    for one in (pricing.is_installed, pricing._library, pricing._rates):
        one.cache_clear()
    factory, listener = factory_of(ScriptedProvider("openai", [paid()]))
    assert ask(factory, how).success
    (finished,) = listener.of(AttemptFinished)
    assert (finished.usage, finished.cost) == (USAGE, None)


@every_way
@each_policy
def test_what_the_vendor_did_not_tell_is_not_made_up(how, policy):
    bare = LLMResponse(True, "fine", "a")
    factory, listener = factory_of(ScriptedProvider("a", [bare]), ScriptedProvider("b"), policy=policy)
    assert ask(factory, how).success
    (finished,) = listener.of(AttemptFinished)
    assert fields(finished, "model", "usage", "request_id", "finish_reason", "cost") == (None,) * 5


@every_way
def test_a_failure_is_told_with_what_the_vendor_said_of_it(how):
    failure = QuotaExhausted("spent", model="gpt-4o-mini", usage=USAGE, request_id="req_2")
    factory, listener = factory_of(ScriptedProvider("openai", [failure]), ScriptedProvider("b"))
    response = ask(factory, how)
    failed, finished = listener.told[2:4]
    assert (type(failed), type(finished)) == (AttemptFailed, AttemptFinished)
    assert fields(finished, "target", "number", "outcome") == ("openai", 1, "failed")
    assert fields(finished, "model", "usage", "request_id") == ("gpt-4o-mini", USAGE, "req_2")
    assert finished.finish_reason is None
    assert finished.failure is failed.failure is response.attempts[0].failure
    assert finished.seconds == failed.seconds
    assert finished.cost == response.attempts[0].cost


@every_way
@each_policy
def test_an_answer_that_was_refused_is_told_as_failed_and_paid_for(how, policy):
    class Check:
        @hookimpl
        def understudy_check_response(self, request, response):
            if response.provider_name == "openai":
                raise ResponseRejected("no")

    factory, listener = factory_of(
        ScriptedProvider("openai", [paid()]), ScriptedProvider("b"), policy=policy, extensions=[Check()]
    )
    response = ask(factory, how)
    finished = listener.of(AttemptFinished)[0]
    assert fields(finished, "outcome", "usage", "request_id") == ("failed", USAGE, "req_1")
    assert finished.finish_reason is FinishReason.STOP
    if how in STREAMS:  # its caller holds it already
        assert response is None
        assert isinstance(finished.failure.__cause__, ResponseRejected)
    else:
        assert isinstance(finished.failure, ResponseRejected)
        assert finished.cost == response.attempts[0].cost
    check_whole(listener.told)


class Hung(ScriptedProvider):
    """Plays its script, but hangs in its latest line until it is let go, or cancelled."""

    def __init__(self, name, script=("late",)):
        super().__init__(name, script)
        self.asked, self.go_on = threading.Event(), threading.Event()

    async def agenerate(self, request):
        await self.hang()
        return self.generate(request)

    async def astream(self, request):
        await self.hang()
        for event in self.stream(request):
            yield event

    async def hang(self):
        if len(self.requests) == len(self.script) - 1:
            self.asked.set()
            while not self.go_on.is_set():
                await asyncio.sleep(0.001)


class After(ScriptedProvider):
    """Answers as soon as another provider hangs."""

    def __init__(self, other, script=("quick",)):
        super().__init__("b", script)
        self.other = other

    async def agenerate(self, request):
        await self.wait()
        return self.generate(request)

    async def astream(self, request):
        await self.wait()
        for event in self.stream(request):
            yield event

    async def wait(self):
        while len(self.requests) == len(self.other.requests) and not self.other.asked.is_set():
            await asyncio.sleep(0.001)


HEDGE = Policy.eager(hedge_after=0.01, hedge_share=1.0, max_retries=0)


def hedged(*providers, **options):
    factory, listener = factory_of(*providers, policy=HEDGE, **options)
    factory._admission.hedges._saved = BURST  # as after some calls
    return factory, listener


@every_way
@pytest.mark.parametrize("blocks", [False, True])
def test_the_loser_of_a_hedge_is_told_as_cancelled_before_the_call_ends(how, blocks):
    class Store(InMemoryHealthStore):
        pass

    Store.blocks = blocks
    a = Hung("a")
    factory, listener = hedged(a, After(a), health_store=Store())
    response = ask(factory, how)
    assert record(response) == [("a", "cancelled"), ("b", "succeeded")]
    kinds = [CallStarted, AttemptStarted, AttemptStarted, *tokens(how), AttemptFinished, AttemptFinished, CallFinished]
    assert listener.kinds == kinds
    first, second = listener.started()
    assert fields(first, "target", "beside", "other") == ("a", "", "")
    assert fields(second, "target", "beside", "other") == ("b", "hedge", "a")
    ends = [fields(event, "target", "number", "outcome") for event in listener.of(AttemptFinished)]
    won, lost = ("b", 1, "succeeded"), ("a", 1, "cancelled")
    assert ends == ([lost, won] if how in STREAMS else [won, lost])  # a stream is taken with its first piece
    (cancelled,) = [event for event in listener.of(AttemptFinished) if event.outcome == "cancelled"]
    assert fields(cancelled, "model", "usage", "request_id", "finish_reason", "failure") == (None,) * 5
    listener.calls()


@pytest.mark.parametrize("how", LOOP_WAYS)
def test_the_seconds_of_a_loser_are_those_until_it_was_given_up(how):
    listener = Listener()
    policy = Policy.eager(hedge_after=1.0, hedge_share=1.0)
    stage = Stage(Player("a", (30.0, "late")), Player("b", (0.5, "quick", 0.5, "er")), policy=policy)
    stage = Stage(*stage.players, policy=policy, extensions=[listener])
    stage.factory._admission.hedges._saved = BURST
    assert stage.ask(how).provider_name == "b"
    seconds = {event.target: event.seconds for event in listener.of(AttemptFinished)}
    assert seconds["a"] == pytest.approx(1.5 if how == "astream" else 2.0)
    assert seconds["b"] == pytest.approx(1.0)


@pytest.mark.parametrize("how", LOOP_WAYS)
@pytest.mark.parametrize(
    ("changes", "beside"), [({"hedge_after": "late"}, "late"), ({"hedge_after": 20.0, "deadline": 30.0}, "turn")]
)
def test_an_attempt_says_why_it_runs_beside_which_other(how, changes, beside):
    listener = Listener()
    policy = Policy.eager(hedge_share=1.0, max_retries=0, **changes)
    a, b = Player("a", *["fine"] * 20, (NEVER, "late")), Player("b", (1.0, "fine"))
    stage = Stage(a, b, policy=policy, extensions=[listener])
    stage.factory._admission.hedges._saved = BURST
    for _ in range(20):
        assert stage.ask(how).provider_name == "a"
    listener.told.clear()
    assert stage.ask(how).provider_name == "b"
    first, second = listener.of(AttemptStarted)
    assert fields(first, "target", "beside", "other") == ("a", "", "")
    assert fields(second, "target", "beside", "other") == ("b", beside, "a")
    listener.calls()


PROBE = Policy.eager(breaker_failures=1, breaker_requests=1, breaker_open=0.0, breaker_jitter=0.0, max_retries=0)


@every_way
@pytest.mark.parametrize(("last", "state"), [("late", "closed"), (DOWN, "open")], ids=["answers", "fails"])
def test_a_probe_that_goes_on_is_told_as_left_to_end_and_of_nothing_more_but_its_circuit(how, last, state):
    a = Hung("a", [DOWN, last])
    factory, listener = factory_of(a, After(a), policy=PROBE)

    async def call():
        seen = Seen()
        if how == "async":
            response = await factory.agenerate_content("hello")
        else:
            seen.events = [event async for event in factory.astream_content("hello")]
            response = seen.events[-1].response
        ended.append((response, list(listener.told)))
        a.go_on.set()
        while listener.kinds[-1] is not BreakerChanged:
            await asyncio.sleep(0.001)

    ended = []
    assert ask(factory, how).provider_name == "b"
    assert listener.of(BreakerChanged)[-1].state == "open"
    listener.told.clear()
    if how in LOOP_WAYS:
        asyncio.run(call())
    else:
        response = ask(factory, how)
        ended.append((response, list(listener.told)))
        a.go_on.set()
        listener.wait_for(lambda: listener.kinds[-1] is BreakerChanged)
    ((response, told),) = ended
    assert record(response) == [("a", "left to end"), ("b", "succeeded")]
    ends = [AttemptFinished, AttemptFinished, CallFinished]
    kinds = [CallStarted, BreakerChanged, AttemptStarted, AttemptStarted, *tokens(how), *ends]
    assert [type(event) for event in told] == kinds
    first, second = listener.started()
    assert fields(first, "target", "breaker", "beside", "other") == ("a", "half-open", "", "")
    assert fields(second, "target", "beside", "other") == ("b", "probe", "a")
    outcomes = [(event.target, event.outcome) for event in listener.of(AttemptFinished)]
    won, left = ("b", "succeeded"), ("a", "left to end")
    assert outcomes == ([left, won] if how in STREAMS else [won, left])
    (after,) = listener.told[len(told) :]
    assert (type(after), after.state) == (BreakerChanged, state)
    assert len(listener.calls()) == 1  # the probe's circuit is told with the call's id, too


def test_of_an_attempt_that_was_left_before_a_thread_came_to_it_nothing_is_told(monkeypatch):
    left = threading.Event()
    a = Hung("a", [DOWN, "late"])
    factory, listener = factory_of(a, ScriptedProvider("b", ["fine", ("quick", "er")]), policy=PROBE)
    assert ask(factory, "stream").provider_name == "b"
    listener.told.clear()
    prepare = attempt.prepare

    def late(execution, command):
        if execution.targets[command.index].label == "a":
            assert left.wait(30)
        return prepare(execution, command)

    monkeypatch.setattr(attempt, "prepare", late)
    stream = factory.stream_content("hello")
    next(stream)
    left.set()
    assert a.asked.wait(30)
    response = list(stream)[-1].response
    a.go_on.set()
    assert record(response) == [("a", "left to end"), ("b", "succeeded")]
    kinds = [CallStarted, BreakerChanged, AttemptStarted, FirstToken, AttemptFinished, CallFinished]
    assert listener.kinds[: len(kinds)] == kinds
    assert [event.target for event in listener.told[2:5]] == ["b"] * 3
    assert len(listener.calls()) == 1


@pytest.mark.parametrize("line", [(1.0, "late"), (1.0, DOWN)], ids=["a first token", "a failure"])
def test_a_probe_that_was_left_says_nothing_more_while_the_stream_of_the_other_goes_on(line):
    listener = Listener()
    a, b = Player("a", DOWN, line), Player("b", "fine", (0.5, "quick", 9.0, "er"))
    stage = Stage(a, b, policy=PROBE, extensions=[listener])
    assert stage.ask("astream").provider_name == "b"
    listener.told.clear()
    assert stage.ask("astream").provider_name == "b"
    assert [(event.target, event.outcome) for event in listener.of(AttemptFinished)] == [
        ("a", "left to end"),
        ("b", "succeeded"),
    ]
    assert [event.target for event in listener.of(FirstToken)] == ["b"]
    assert listener.of(AttemptFailed) == []
    assert a.under_way == 0
    listener.calls()


@pytest.mark.parametrize(
    ("how", "several"),
    [("async", False), ("astream", False), ("stream", False), ("async", True), ("astream", True)],
)
def test_what_was_under_way_when_the_caller_gave_up_is_told_as_cancelled(how, several):
    policy = HEDGE if several else PLAIN
    second = Hung("b")
    factory, listener = factory_of(Hung("a"), second, policy=policy)
    factory._admission.hedges._saved = BURST

    async def give_up():
        async def take():
            return [event async for event in factory.astream_content("hello")]

        task = asyncio.ensure_future(factory.agenerate_content("hello") if how == "async" else take())
        asked = 2 if several else 1
        while len(listener.of(AttemptStarted)) < asked:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    if how == "stream":
        stream = factory.stream_content("hello")
        next(stream)
        stream.close()
    else:
        asyncio.run(give_up())
    ends = [fields(event, "target", "outcome", "failure") for event in listener.of(AttemptFinished)]
    assert ends == [("a", "cancelled", None), ("b", "cancelled", None)][: 2 if several else 1]
    assert listener.kinds[-1 - len(ends) :] == [*[AttemptFinished] * len(ends), CallCancelled]
    listener.calls()


def test_a_target_that_is_asked_again_after_it_was_given_up_has_an_end_each_time():
    """It is given up for a stream that breaks off, and asked once more after that."""
    listener = Listener()
    policy = Policy.eager(hedge_after=1.0, hedge_share=1.0, max_retries=1, stream_recovery="restart")
    a, b = Player("a", (30.0, "late"), "fine"), Player("b", (0.5, "quick", DOWN))
    stage = Stage(a, b, policy=policy, extensions=[listener])
    stage.factory._admission.hedges._saved = BURST
    assert stage.ask("astream").success
    ends = [fields(event, "target", "number", "outcome") for event in listener.of(AttemptFinished)]
    assert ends[:2] == [("a", 1, "cancelled"), ("b", 1, "failed")]
    assert Counter(end[:2] for end in ends) == Counter(
        fields(event, "target", "number") for event in listener.of(AttemptStarted)
    )
    listener.calls()


# ---- the first token ----


@pytest.mark.parametrize("how", STREAMS)
@pytest.mark.parametrize("policy", [PLAIN, Policy.eager(hedge_after=None)], ids=["plain", "eager"])
def test_the_first_token_of_a_stream_is_told_once_and_is_neither_white_space_nor_a_heartbeat(how, policy):
    listener = Listener()
    line = (Heartbeat(), 1.0, " \n", 1.0, Heartbeat(), 1.0, "one ", 1.0, "two", Heartbeat(), " ")
    stage = Stage(Player("a", line), Player("b"), policy=policy, extensions=[listener])
    assert stage.ask(how).success
    assert listener.of(FirstToken) == [FirstToken("a", 1, 3.0)]
    assert listener.kinds == [CallStarted, AttemptStarted, FirstToken, AttemptFinished, CallFinished]


@pytest.mark.parametrize("how", WHOLE)
@pytest.mark.parametrize("policy", [PLAIN, Policy.eager(hedge_after=None)], ids=["plain", "eager"])
def test_it_is_told_of_a_whole_answer_that_is_asked_for_as_a_stream(how, policy):
    listener = Listener()
    line = (Heartbeat(), 1.0, " \n", 1.0, Heartbeat(), 1.0, "one ", 1.0, "two")
    stage = Stage(Player("a", line), policy=policy, extensions=[listener])
    assert stage.ask(how, max_tokens=5000).success
    assert listener.of(FirstToken) == [FirstToken("a", 1, 3.0)]
    assert stage.ask(how, max_tokens=50).success
    assert len(listener.of(FirstToken)) == 1
    assert [kinds.count(FirstToken) for kinds in (listener.kinds[:5], listener.kinds[5:])] == [1, 0]


@every_way
@each_policy
def test_it_is_told_of_scripted_streams_and_of_no_plain_answer(how, policy):
    factory, listener = factory_of(ScriptedProvider("a", [(" ", "one ", "two")]), ScriptedProvider("b"), policy=policy)
    assert ask(factory, how).success
    assert ask(factory, how, max_tokens=5000).success
    expected = [1, 1] if how in STREAMS else [0, 1]
    assert [sum(type(event) is FirstToken for event in told) for told in listener.calls().values()] == expected


@pytest.mark.parametrize("how", STREAMS)
@each_policy
def test_each_attempt_has_a_first_token_of_its_own(how, policy):
    policy = dataclasses.replace(policy, stream_recovery="restart")
    a = ScriptedProvider("a", [("one ", DOWN)])
    factory, listener = factory_of(a, ScriptedProvider("b"), policy=policy)
    assert ask(factory, how, max_retries=0).provider_name == "b"
    assert [fields(event, "target", "number") for event in listener.of(FirstToken)] == [("a", 1), ("b", 1)]
    whole = [AttemptStarted, FirstToken, AttemptFinished]
    assert listener.kinds == [CallStarted, *whole[:2], AttemptFailed, whole[2], Switched, *whole, CallFinished]


@pytest.mark.parametrize("how", STREAMS)
@each_policy
def test_nothing_is_told_of_a_stream_of_white_space(how, policy):
    a = ScriptedProvider("a", [(" ", QuotaExhausted("spent"))])
    factory, listener = factory_of(a, ScriptedProvider("b"), policy=policy)
    assert ask(factory, how).provider_name == "b"
    assert [event.target for event in listener.of(FirstToken)] == ["b"]


# ---- the id of the call while the caller's own code runs ----


class Everywhere:
    """Notes what `current_call` says wherever code of the caller's runs."""

    def __init__(self):
        self.noted = []

    def note(self, where):
        self.noted.append((where, current_call.get(), threading.current_thread().name))

    def validator(self, response):
        self.note("validator")
        return True

    @hookimpl
    def understudy_prepare_request(self, request, provider_name):
        self.note("prepare")

    @hookimpl
    def understudy_check_response(self, request, response):
        self.note("check")

    @hookimpl
    def understudy_event(self, event):
        self.note(type(event).__name__)

    def ids(self, *places):
        return {call for where, call, _ in self.noted if not places or where in places}


@every_way
@each_policy
def test_the_current_call_is_named_while_the_callers_code_runs_and_nowhere_else(how, policy):
    code, inside = Everywhere(), []
    act = lambda request: inside.append(current_call.get())  # noqa: E731
    a = ScriptedProvider("a", [QuotaExhausted("spent")], act=act)
    b = ScriptedProvider("b", act=act)
    factory, listener = factory_of(a, b, policy=policy, extensions=[code])
    assert ask(factory, how, validator=code.validator).success
    assert current_call.get() == ""
    assert inside == ["", ""]
    (call,) = listener.calls()
    assert {where for where, _, _ in code.noted} == {
        "validator",
        "prepare",
        "check",
        *(kind.__name__ for kind in listener.kinds),
    }
    assert code.ids() == {call}
    assert listener.current == [call] * len(listener.told)
    threads = {thread for where, _, thread in code.noted}
    on_the_background_loop = how in ("sync", "stream") and policy is EAGER
    assert threads == ({"understudy-worker"} if on_the_background_loop else {threading.current_thread().name})


@every_way
@each_policy
def test_it_is_named_for_a_validator_alone_too(how, policy):
    code = Everywhere()
    providers = [ScriptedProvider("a"), ScriptedProvider("b")]
    factory = LLMFactory(providers[0], providers[1:], policy=policy, settings={}, extensions=[])
    for _ in range(2):
        assert ask(factory, how, validator=code.validator).success
    calls = [call for _, call, _ in code.noted]
    assert len(set(calls)) == len(calls) == 2
    assert all(len(call) == 16 for call in calls)
    assert current_call.get() == ""


@every_way
@each_policy
def test_it_is_empty_again_after_code_that_raises(how, policy):
    class Failing(Everywhere):
        @hookimpl
        def understudy_event(self, event):
            raise ValueError("a listener")

        def validator(self, response):
            raise ValueError("a validator")

        @hookimpl
        def understudy_prepare_request(self, request, provider_name):
            if provider_name == "b":
                raise ValueError("an extension")

    inside, after = [], []
    a = ScriptedProvider("a", act=lambda request: inside.append(current_call.get()))
    code = Failing()
    factory, listener = factory_of(a, ScriptedProvider("b"), policy=policy, extensions=[code])

    async def take():
        try:
            if how == "async":
                await factory.agenerate_content("hello", validator=code.validator)
            else:
                async for _ in factory.astream_content("hello", validator=code.validator):
                    after.append(current_call.get())
        except StreamInterrupted:  # what its caller holds cannot be taken back
            pass
        after.append(current_call.get())

    if how in LOOP_WAYS:
        asyncio.run(take())
    else:
        ask(factory, how, validator=code.validator)
    after.append(current_call.get())
    assert inside[0] == ""
    assert set(after) == {""}
    assert set(listener.current) == {listener.told[0].call}


@pytest.mark.parametrize("how", STREAMS)
@each_policy
def test_between_the_pieces_of_a_stream_its_caller_is_outside(how, policy):
    factory, _ = factory_of(ScriptedProvider("a", [("one", "two")]), ScriptedProvider("b"), policy=policy)
    outside = []
    if how == "stream":
        outside += [current_call.get() for _ in factory.stream_content("hello")]
    else:

        async def take():
            outside.extend([current_call.get() async for _ in factory.astream_content("hello")])

        asyncio.run(take())
    assert outside == ["", "", ""]


@every_way
@each_policy
def test_a_call_that_a_validator_makes_has_an_id_of_its_own(how, policy):
    judge, its_listener = factory_of(ScriptedProvider("judge"), ScriptedProvider("second"), policy=policy)
    factory, listener = factory_of(ScriptedProvider("a"), ScriptedProvider("b"), policy=policy)
    seen = []

    def validator(response):
        before = current_call.get()
        assert judge.generate_content("is it good?").success
        seen.append((before, current_call.get()))
        return True

    assert ask(factory, how, validator=validator).success
    (outer,), (inner,) = listener.calls(), its_listener.calls()
    assert outer != inner
    assert seen == [(outer, outer)]
    assert set(its_listener.current) == {inner}


# ---- nothing is built where nobody listens ----


class ActsOnly:
    """Takes part in calls and listens to nothing."""

    @hookimpl
    def understudy_prepare_request(self, request, provider_name):
        return None

    @hookimpl
    def understudy_check_response(self, request, response):
        return None


def failing_over(how, extensions):
    policies = Policy.patient(max_retries=1, retry_delay=0.01), Policy.eager(retry_delay=0.01)
    a = ScriptedProvider("a", [Overloaded("full"), QuotaExhausted("spent"), (" ", "fine")])
    for policy in policies:
        unable = ScriptedProvider("c", unavailable="no key")
        factory = LLMFactory(a, [unable, ScriptedProvider("b")], policy=policy, settings={}, extensions=extensions)
        for _ in range(3):
            assert ask(factory, how, max_tokens=5000, validator=lambda response: True).success


def hedging(how, extensions):
    a = Hung("a")
    factory = LLMFactory(a, [After(a)], policy=HEDGE, settings={}, extensions=extensions)
    factory._admission.hedges._saved = BURST
    assert record(ask(factory, how)) == [("a", "cancelled"), ("b", "succeeded")]


def probing(how, extensions):
    a = Hung("a", [DOWN, "late"])
    factory = LLMFactory(a, [After(a)], policy=PROBE, settings={}, extensions=extensions)
    assert ask(factory, how).provider_name == "b"
    assert record(ask(factory, how)) == [("a", "left to end"), ("b", "succeeded")]
    a.go_on.set()


def leaving(how, extensions):
    factory = LLMFactory(ScriptedProvider("a", [("one ", "two")]), settings={}, extensions=extensions)
    if how == "stream":
        stream = factory.stream_content("hello")
        next(stream)
        stream.close()
    elif how == "astream":

        async def leave():
            stream = factory.astream_content("hello")
            await anext(stream)
            await stream.aclose()

        asyncio.run(leave())


@pytest.fixture
def built(monkeypatch):
    """Count the events that are made, by kind."""
    counts = Counter()
    for kind in get_args(Event):

        def count(self, *args, kind=kind, initialise=kind.__init__, **more):
            counts[kind] += 1
            initialise(self, *args, **more)

        monkeypatch.setattr(kind, "__init__", count)
    return counts


@every_way
@pytest.mark.parametrize("scene", [failing_over, hedging, probing, leaving])
def test_where_nobody_listens_no_event_is_made(how, scene, built):
    scene(how, [])
    scene(how, [ActsOnly()])
    assert built == {}


@every_way
@pytest.mark.parametrize("scene", [failing_over, hedging, leaving])
def test_each_event_is_made_once_for_all_who_listen(how, scene, built):
    first, second = Listener(), Listener()
    scene(how, [first, ActsOnly(), second])
    assert built == Counter(first.kinds)
    assert [id(event) for event in first.told] == [id(event) for event in second.told]
    assert (how not in STREAMS and scene is leaving) or built[AttemptFinished] == built[AttemptStarted] > 0


# ---- the log ----


@pytest.fixture
def log(caplog):
    caplog.set_level(logging.DEBUG, "understudy")
    return caplog


def lines(caplog):
    first = "LLMFactory initialized with primary provider: a"
    return [(each.levelname, each.getMessage()) for each in caplog.records if each.getMessage() != first]


@every_way
@pytest.mark.parametrize("listens", [True, False])
def test_the_lines_of_the_log_are_the_same_word_for_word(how, listens, log):
    a = Player("a", RateLimited("429"))
    b = Player("b", Overloaded("full"), "fine")
    extensions = [Listener()] if listens else []
    stage = Stage(a, b, policy=Policy.patient(max_retries=1), extensions=extensions)
    assert stage.ask(how).success
    assert lines(log) == [
        ("INFO", "Using a for content generation"),
        ("WARNING", "a quota exceeded, switching to b"),
        ("INFO", "Using b for content generation"),
        ("WARNING", "b overloaded, retry 1 in 5 s"),
    ]


@every_way
@pytest.mark.parametrize("listens", [True, False])
def test_so_are_those_of_a_hedge_and_a_circuit(how, listens, log):
    extensions = [Listener()] if listens else []
    hedging(how, extensions)
    assert lines(log) == [("INFO", "Using a for content generation"), ("INFO", "Using b for content generation")]
    log.clear()
    a = Player("a", DOWN)
    policy = Policy.eager(breaker_failures=1, breaker_requests=1, breaker_jitter=0.0, max_retries=0, quick_retries=0)
    stage = Stage(a, Player("b"), policy=policy, extensions=extensions)
    assert stage.ask(how).success
    assert stage.ask(how).success
    assert lines(log) == [
        ("INFO", "Using a for content generation"),
        ("WARNING", "a circuit open for 5 s"),
        ("WARNING", "a server error, switching to b"),
        ("INFO", "Using b for content generation"),
        ("DEBUG", "a circuit open, back in 5 s, switching to b"),
        ("INFO", "Using b for content generation"),
    ]
