"""Who gave up: the caller, the provider, or a piece of code that has no business on everybody's event loop."""

import asyncio
import threading
import time
from functools import partial

import pytest
from timed import NEVER, STREAMS, WAYS, Player, Stage, ask, record

from understudy import (
    ChatProvider,
    Finish,
    LLMFactory,
    LLMProvider,
    LLMResponse,
    Policy,
    TextDelta,
    Timeout,
    hookimpl,
)
from understudy.events import AttemptFinished, AttemptStarted, CallCancelled, CallFinished, CallStarted, FirstToken

LOOP_WAYS = ["async", "astream"]


class Listener:
    """Writes down what is told, and in which thread."""

    def __init__(self):
        self.heard = []
        self.threads = []

    @hookimpl
    def understudy_event(self, event):
        self.heard.append(event)
        self.threads.append(threading.current_thread().name)


# ---- a provider that cancels its own work, or takes our cancellation for a failure ----


class SelfCancelling(Player):
    async def agenerate(self, request):
        self.requests.append(request)
        inner = asyncio.ensure_future(asyncio.sleep(NEVER))
        asyncio.get_running_loop().call_soon(inner.cancel)
        await inner

    async def astream(self, request):
        await self.agenerate(request)
        yield TextDelta("never")


@pytest.mark.parametrize("how", WAYS)
def test_a_cancellation_inside_a_provider_is_its_failure(how):
    stage = Stage(
        SelfCancelling("a", keeps_deadline=False), Player("b"), policy=Policy.eager(max_retries=0, deadline=30)
    )
    response = stage.ask(how)
    assert record(response) == [("a", "failed"), ("b", "succeeded")]
    assert response.attempts[0].failure.message == "the provider cancelled its own work"


class Stubborn(Player):
    """Says that its connection broke when it is cancelled."""

    async def agenerate(self, request):
        self.requests.append(request)
        try:
            await asyncio.sleep(NEVER)
        except asyncio.CancelledError:
            raise ConnectionError("closed") from None

    async def astream(self, request):
        await self.agenerate(request)
        yield TextDelta("never")


@pytest.mark.parametrize("how", LOOP_WAYS)
def test_nobody_is_asked_after_the_caller_gave_up_whatever_a_provider_makes_of_it(how):
    stage = Stage(Stubborn("a"), Player("b"), policy=Policy(max_retries=0))

    async def give_up():
        async def take():
            return [event async for event in stage.factory.astream_content("hello")]

        task = asyncio.ensure_future(stage.factory.agenerate_content("hello") if how == "async" else take())
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    stage.clock.run(give_up())
    assert stage.players[1].requests == []


@pytest.mark.parametrize("how", LOOP_WAYS)
def test_a_task_that_went_on_after_a_cancellation_may_make_calls(how):
    """It was cancelled, caught that, and falls back: our call's failures are failures all the same."""
    stage = Stage(Player("a", ConnectionError("down")), Player("b"), policy=Policy(max_retries=0))

    async def go_on():
        async def work():
            try:
                await asyncio.sleep(NEVER)
            except asyncio.CancelledError:
                if how == "async":
                    return await stage.factory.agenerate_content("hello")
                events = [event async for event in stage.factory.astream_content("hello")]
                return events[-1].response

        task = asyncio.ensure_future(work())
        await asyncio.sleep(1)
        task.cancel()
        return await task

    assert record(stage.clock.run(go_on())) == [("a", "failed"), ("b", "succeeded")]


class LateLoser(Player):
    """Loses a race, takes its time to end, and then fails."""

    async def astream(self, request):
        self.requests.append(request)
        try:
            await asyncio.sleep(NEVER)
        except asyncio.CancelledError:
            await asyncio.sleep(0.3)
            raise ConnectionError("aborted") from None
        yield TextDelta("never")


def test_a_loser_that_fails_late_says_nothing_of_the_answer():
    down = ConnectionError("reset")
    stage = Stage(
        LateLoser("a"),
        Player("b", (0.02, "Hello ", 0.1, down)),
        Player("c", ("I ", 0.5, "am fine")),
        policy=Policy.eager(stream_recovery="restart", max_retries=0, hedge_after=0.05, hedge_share=1.0),
    )
    response = stage.ask("astream")
    assert response.provider_name == "c"
    assert [type(event).__name__ for event in stage.events] == [
        "TextDelta",
        "Restart",
        "TextDelta",
        "TextDelta",
        "Finish",
    ]
    assert stage.text == "I am fine"


# ---- what listeners are told ----


@pytest.mark.parametrize("how", ["async", "astream", "stream"])
def test_a_call_that_is_given_up_is_told_as_such(how):
    listener = Listener()
    line = ("one ", "two ") if how == "stream" else (NEVER, "late")
    stage = Stage(Player("a", line), policy=Policy(), extensions=[listener])
    if how == "stream":
        stream = stage.factory.stream_content("hello")
        next(stream)
        stream.close()
    else:

        async def give_up():
            async def take():
                return [event async for event in stage.factory.astream_content("hello")]

            task = asyncio.ensure_future(stage.factory.agenerate_content("hello") if how == "async" else take())
            await asyncio.sleep(1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        stage.clock.run(give_up())
    first = [FirstToken] if how == "stream" else []
    kinds = [CallStarted, AttemptStarted, *first, AttemptFinished, CallCancelled]
    assert [type(event) for event in listener.heard] == kinds
    assert listener.heard[-2].outcome == "cancelled"
    assert listener.heard[-1].target == "a"


@pytest.mark.parametrize("how", WAYS)
def test_a_call_that_ends_is_not_told_as_given_up(how):
    listener = Listener()
    stage = Stage(Player("a"), policy=Policy(), extensions=[listener])
    stage.ask(how)
    first = [FirstToken] if how in STREAMS else []
    kinds = [CallStarted, AttemptStarted, *first, AttemptFinished, CallFinished]
    assert [type(event) for event in listener.heard] == kinds
    assert listener.heard[-2].outcome == "succeeded"


# ---- the loop that sync calls share ----


class Plain(LLMProvider):
    def __init__(self, name, seconds):
        self.name, self.seconds, self.asked = name, seconds, 0

    def generate_content(self, prompt, temperature=0.0, max_tokens=1024):
        return LLMResponse(True, "fine", self.name)

    def get_provider_name(self):
        return self.name

    def is_available(self):
        self.asked += 1
        time.sleep(self.seconds)
        return True


class Quick(ChatProvider):
    def get_provider_name(self):
        return "quick"

    def generate(self, request):
        return LLMResponse(True, "fine", "quick")

    def stream(self, request):
        yield TextDelta("fine")
        yield Finish(self.generate(request))


def together(function, number):
    """Run a function in so many threads at once; return the seconds until the last has ended."""
    threads = [threading.Thread(target=function) for _ in range(number)]
    begun = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    return time.monotonic() - begun


def test_a_validator_holds_up_nobody_elses_call():
    factory = LLMFactory(Quick(), policy="eager", settings={}, extensions=[])

    def validator(response):
        time.sleep(0.1)
        return True

    assert factory.generate_content("hello").success
    assert together(lambda: factory.generate_content("hello", validator=validator), 10) < 0.9


def test_a_listener_runs_beside_the_shared_loop():
    listener = Listener()
    factory = LLMFactory(Quick(), policy="eager", settings={}, extensions=[listener])
    assert factory.generate_content("hello").success
    assert list(factory.stream_content("hello"))[-1].response.success
    assert "understudy" not in listener.threads
    whole = [CallStarted, AttemptStarted, AttemptFinished, CallFinished]
    assert [type(event) for event in listener.heard] == [*whole, *whole[:2], FirstToken, *whole[2:]]


def test_a_slow_strategy_and_a_slow_listener_hold_up_nobody_elses_call():
    class Slow(Listener):
        @hookimpl
        def understudy_event(self, event):
            time.sleep(0.05)

    def strategy(candidates, draw):
        time.sleep(0.1)
        return range(len(candidates))

    routed = LLMFactory(Quick(), policy=Policy.eager(routing=strategy), settings={}, extensions=[])
    heard = LLMFactory(Quick(), policy="eager", settings={}, extensions=[Slow()])
    for factory in (routed, heard):
        assert factory.generate_content("hello").success
        assert together(partial(factory.generate_content, "hello"), 10) < 0.9


def test_nothing_is_told_after_a_call_was_given_up():
    listener = Listener()

    class Late(Player):
        async def astream(self, request):
            try:
                yield TextDelta("one")
                await asyncio.sleep(NEVER)
            finally:
                listener.heard.append("the provider cleans up")

    stage = Stage(Late("a"), policy=Policy(), extensions=[listener])

    async def leave():
        stream = stage.factory.astream_content("hello")
        await anext(stream)
        await stream.aclose()

    stage.clock.run(leave())
    assert [type(event) for event in listener.heard] == [
        CallStarted,
        AttemptStarted,
        FirstToken,
        str,
        AttemptFinished,
        CallCancelled,
    ]


def test_a_providers_own_timeout_keeps_its_words():
    stage = Stage(Player("a", TimeoutError()), policy=Policy(max_retries=0))
    failure = stage.ask("async").attempts[0].failure
    assert isinstance(failure, Timeout)
    assert "within" not in failure.message


def test_a_slow_is_available_is_asked_in_its_turn_and_holds_up_nobody_else():
    spare, slow = Plain("spare", 0.1), Plain("slow", 0.1)
    factory = LLMFactory(Quick(), [spare], policy="eager", settings={}, extensions=[])
    assert factory.generate_content("hello").success
    assert spare.asked == 0
    factory = LLMFactory(slow, policy="eager", settings={}, extensions=[])
    assert factory.generate_content("hello").success
    assert together(lambda: factory.generate_content("hello"), 10) < 0.9
    assert slow.asked == 11


# ---- times that somebody set ----


def test_a_timeout_that_somebody_set_holds_for_a_class_of_three_methods_too():
    class Slow(Plain):
        def generate_content(self, prompt, temperature=0.0, max_tokens=1024):
            time.sleep(1.5)
            return LLMResponse(True, "late", self.name)

    factory = LLMFactory(Slow("slow", 0), [Quick()], settings={}, extensions=[])
    begun = time.monotonic()
    assert factory.generate_content("hello", timeout=0.2, max_retries=0).provider_name == "quick"
    assert time.monotonic() - begun < 1


def test_blank_pieces_do_not_stretch_the_time_of_the_first_one():
    line = tuple(step for _ in range(20) for step in (0.1, " "))
    stage = Stage(
        Player("a", line), Player("b"), policy=Policy(first_token_timeout=0.3, idle_timeout=0.3, max_retries=0)
    )
    response = stage.ask("stream")
    assert response.provider_name == "b"
    assert response.attempts[0].seconds == pytest.approx(0.3, abs=0.11)


class SlowToEnd(ChatProvider):
    """Hangs, and takes two seconds to clean up, whether it is cancelled or has said all that it had to say."""

    def __init__(self, hangs):
        self.hangs = hangs

    def get_provider_name(self):
        return "slow-to-end"

    def generate(self, request):
        raise AssertionError("nobody asks for it")

    async def agenerate(self, request):
        try:
            await asyncio.sleep(10 if self.hangs else 0)
            return LLMResponse(True, "fine", "slow-to-end")
        finally:
            if self.hangs:
                await asyncio.sleep(2)

    async def astream(self, request):
        try:
            yield TextDelta("fine")
            await asyncio.sleep(10 if self.hangs else 0)
            yield Finish(LLMResponse(True, "fine", "slow-to-end"))
        finally:
            await asyncio.sleep(2)


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("hangs", [True, False])
def test_the_deadline_holds_for_a_provider_that_is_slow_to_clean_up(how, hangs):
    factory = LLMFactory(SlowToEnd(hangs), settings={}, extensions=[], policy=Policy(deadline=0.3, max_retries=0))
    ask(factory, how)
    begun = time.monotonic()
    response = ask(factory, how)
    assert time.monotonic() - begun < 0.8  # 0.35, on a machine that has nothing else to do
    assert (response is not None and response.success) is not hangs
