"""Who gave up: the caller, the provider, or a piece of code that has no business on everybody's event loop."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from timed import NEVER, STREAMS, WAYS, Player, Stage, ask, record

from understudy import ChatProvider, Finish, LLMFactory, LLMProvider, LLMResponse, Policy, TextDelta, hookimpl
from understudy.errors import Timeout
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
    def __init__(self, name, wait=lambda: None):
        self.name, self.wait, self.asked = name, wait, 0

    def generate_content(self, prompt, temperature=0.0, max_tokens=1024):
        return LLMResponse(True, "fine", self.name)

    def get_provider_name(self):
        return self.name

    def is_available(self):
        self.asked += 1
        self.wait()
        return True


class Quick(ChatProvider):
    def get_provider_name(self):
        return "quick"

    def generate(self, request):
        return LLMResponse(True, "fine", "quick")

    def stream(self, request):
        yield TextDelta("fine")
        yield Finish(self.generate(request))


class Meeting:
    """Callers who wait for each other: where one of them held up the others, they would never all be there.

    Args:
        callers: how many.
    """

    def __init__(self, callers=10):
        self.barrier = threading.Barrier(callers)
        self.open = False

    def wait(self):
        """Wait for the others, if they have begun."""
        if self.open:
            self.barrier.wait(60)

    def of(self, function):
        """Run a function in so many threads at once, and see whether they met."""
        self.open = True
        with ThreadPoolExecutor(self.barrier.parties) as pool:
            responses = list(pool.map(lambda _: function(), range(self.barrier.parties)))
        assert all(response.success for response in responses)
        assert not self.barrier.broken


def test_a_validator_holds_up_nobody_elses_call():
    factory = LLMFactory(Quick(), policy="eager", settings={}, extensions=[])
    meeting = Meeting()

    def validator(response):
        meeting.wait()
        return True

    meeting.of(lambda: factory.generate_content("hello", validator=validator))


def test_a_listener_runs_beside_the_shared_loop():
    listener = Listener()
    factory = LLMFactory(Quick(), policy="eager", settings={}, extensions=[listener])
    assert factory.generate_content("hello").success
    assert list(factory.stream_content("hello"))[-1].response.success
    assert "understudy" not in listener.threads
    whole = [CallStarted, AttemptStarted, AttemptFinished, CallFinished]
    assert [type(event) for event in listener.heard] == [*whole, *whole[:2], FirstToken, *whole[2:]]


def test_a_slow_strategy_and_a_slow_listener_hold_up_nobody_elses_call():
    among_listeners, among_strategies = Meeting(), Meeting()

    class Slow(Listener):
        @hookimpl
        def understudy_event(self, event):
            among_listeners.wait()

    def strategy(candidates, draw):
        among_strategies.wait()
        return range(len(candidates))

    routed = LLMFactory(Quick(), policy=Policy.eager(routing=strategy), settings={}, extensions=[])
    heard = LLMFactory(Quick(), policy="eager", settings={}, extensions=[Slow()])
    for factory, meeting in ((routed, among_strategies), (heard, among_listeners)):
        meeting.of(partial(factory.generate_content, "hello"))


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
    meeting = Meeting()
    spare, slow = Plain("spare"), Plain("slow", meeting.wait)
    factory = LLMFactory(Quick(), [spare], policy="eager", settings={}, extensions=[])
    assert factory.generate_content("hello").success
    assert spare.asked == 0
    factory = LLMFactory(slow, policy="eager", settings={}, extensions=[])
    assert factory.generate_content("hello").success
    meeting.of(lambda: factory.generate_content("hello"))
    assert slow.asked == 11


# ---- times that somebody set ----


def test_a_timeout_that_somebody_set_holds_for_a_class_of_three_methods_too():
    free = threading.Event()

    class Slow(Plain):
        def generate_content(self, prompt, temperature=0.0, max_tokens=1024):
            free.wait(60)
            return LLMResponse(True, "late", self.name)

    factory = LLMFactory(Slow("slow"), [Quick()], settings={}, extensions=[])
    assert factory.generate_content("hello", timeout=0.5, max_retries=0).provider_name == "quick"
    free.set()


def test_blank_pieces_do_not_stretch_the_time_of_the_first_one():
    line = tuple(step for _ in range(20) for step in (0.1, " "))
    stage = Stage(
        Player("a", line), Player("b"), policy=Policy(first_token_timeout=0.3, idle_timeout=0.3, max_retries=0)
    )
    response = stage.ask("stream")
    assert response.provider_name == "b"
    assert response.attempts[0].seconds == pytest.approx(0.3, abs=0.11)


class SlowToEnd(ChatProvider):
    """Hangs, and takes a minute to clean up, whether it is cancelled or has said all that it had to say."""

    def __init__(self, hangs):
        self.hangs = hangs

    def get_provider_name(self):
        return "slow-to-end"

    def generate(self, request):
        raise AssertionError("nobody asks for it")

    async def agenerate(self, request):
        try:
            await asyncio.sleep(60 if self.hangs else 0)
            return LLMResponse(True, "fine", "slow-to-end")
        finally:
            if self.hangs:
                await asyncio.sleep(60)

    async def astream(self, request):
        try:
            yield TextDelta("fine")
            await asyncio.sleep(60 if self.hangs else 0)
            yield Finish(LLMResponse(True, "fine", "slow-to-end"))
        finally:
            await asyncio.sleep(60)


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("hangs", [True, False])
def test_the_deadline_holds_for_a_provider_that_is_slow_to_clean_up(how, hangs):
    factory = LLMFactory(SlowToEnd(hangs), settings={}, extensions=[], policy=Policy(deadline=1.0, max_retries=0))
    begun = time.monotonic()
    response = ask(factory, how)
    assert time.monotonic() - begun < 30  # and not the minute
    assert (response is not None and response.success) is not hangs
