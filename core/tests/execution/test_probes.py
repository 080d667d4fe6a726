"""A target that was left alone is tried out beside the next one: that costs nobody anything, and shows how it is."""

import asyncio
import threading
import time

import pytest
from timed import NEVER, Player, Stage, ask, held_leases, record

from understudy import Finish, Limits, LLMFactory, Policy
from understudy.errors import RateLimited, ServerError
from understudy.health.record import SLOWEST_SIGN
from understudy.response import Heartbeat

DOWN = ServerError("down")
CALLS = 8  # that fail before the circuit opens, for five seconds
both = pytest.mark.parametrize("how", ["async", "astream"])


class Scene:
    """A stage whose first player has failed eight times and is about to be tried out."""

    def __init__(self, line, *others, policy=None, **options):
        changes = {"quick_retries": 0, "max_retries": 0, "breaker_jitter": 0.0, **(policy or {})}
        lines = line if isinstance(line, list) else [line]
        if others:
            others[0].lines = (*["fine"] * CALLS, *others[0].lines)
        self.stage = Stage(Player("a", *[DOWN] * CALLS, *lines), *others, policy=Policy.eager(**changes), **options)
        for _ in range(CALLS):
            self.stage.ask("async")
        assert self.stage.state() == "open"
        self.stage.clock.advance(5.0)
        self.began = self.stage.clock.now

    @property
    def now(self):
        return pytest.approx(self.stage.clock.now - self.began)

    def asked(self, index):
        """Return when one of the first two players was asked since then."""
        return [pytest.approx(at - self.began) for at in self.stage.players[index].times[CALLS:]]

    def play(self, scene):
        """Run a scene, which may go on after a call's end, on an event loop of its own."""
        return self.stage.clock.run(scene())

    async def call(self, how, **options):
        if how == "async":
            return await self.stage.factory.agenerate_content("hello", **options)
        events = [event async for event in self.stage.factory.astream_content("hello", **options)]
        assert isinstance(events[-1], Finish)
        return events[-1].response

    def nothing_is_left(self):
        players = self.stage.players
        return held_leases(self.stage.factory) == {} and not any(player.under_way for player in players)


# ---- who waits for it ----


@both
def test_nobody_waits_for_a_target_that_is_still_dead(how):
    scene = Scene((NEVER, "late"), Player("b", (1.0, "fine")))
    response = scene.stage.ask(how)
    assert record(response) == [("a", "left to end"), ("b", "succeeded")]
    assert response.attempts[0].breaker == "half-open"
    assert response.attempts[1].reason == "beside the probe of a"
    assert (scene.asked(0), scene.asked(1), scene.now) == ([0.0], [0.0], 1.0)
    assert response.wasted_tokens == 0  # what comes of it is not known yet


@both
def test_one_that_answers_first_is_taken(how):
    scene = Scene((1.0, "fine"), Player("b", (2.0, "late")))
    response = scene.stage.ask(how)
    assert record(response) == [("b", "cancelled"), ("a", "succeeded")]
    assert scene.now == 1.0
    assert scene.stage.state() == "closed"
    assert scene.nothing_is_left()


@both
def test_one_that_fails_leaves_the_answer_to_the_other(how):
    scene = Scene((0.5, DOWN), Player("b", (1.0, "fine")))
    response = scene.stage.ask(how)
    assert record(response) == [("a", "failed"), ("b", "succeeded")]
    assert scene.now == 1.0
    assert scene.stage.factory._admission.look(0).free_in == pytest.approx(8.0)  # 8.5 since half a second ago


@both
def test_while_it_is_under_way_the_others_pass_it_over(how):
    scene = Scene((NEVER, "late"), Player("b", (1.0, "fine")))

    async def three():
        return await asyncio.gather(*(scene.call(how) for _ in range(3)))

    first, *others = scene.play(three)
    assert record(first) == [("a", "left to end"), ("b", "succeeded")]
    for response in others:
        assert record(response) == [("a", "skipped"), ("b", "succeeded")]
        assert "its probe is under way" in response.attempts[0].reason
    assert scene.asked(0) == [0.0]


@both
def test_who_is_asked_beside_it_comes_in_its_place_and_counts_not_as_a_hedge(how):
    scene = Scene((NEVER, "late"), Player("b", (1.0, "fine")), policy={"hedge_share": 0.0})
    assert record(scene.stage.ask(how)) == [("a", "left to end"), ("b", "succeeded")]


@both
def test_where_the_one_beside_it_fails_the_next_one_is_asked(how):
    scene = Scene((NEVER, "late"), Player("b", (1.0, RateLimited("429"))), Player("c", (0.5, "fine")))
    response = scene.stage.ask(how)
    assert record(response) == [("b", "failed"), ("a", "left to end"), ("c", "succeeded")]
    assert scene.now == 1.5


@both
def test_where_nobody_can_be_asked_yet_whoever_is_free_first_is_asked_beside_it(how):
    spent = RateLimited("429", retry_after=3.0)
    scene = Scene((NEVER, "late"), Player("b", spent, (0.5, "fine")), policy={"quota_calls": 1})
    scene.stage.players[0].lines = (*[DOWN] * (CALLS + 1), (NEVER, "late"))
    scene.stage.ask(how)  # the first probe fails, and so does the one beside it
    assert (scene.stage.state(0), scene.stage.state(1)) == ("open", "cooling")
    scene.stage.store._records["a//"].breaker.until = scene.stage.clock.now  # it is tried out again at once
    response = scene.stage.ask(how)
    assert record(response) == [("a", "left to end"), ("b", "succeeded")]
    asked = scene.stage.players[1].times[-1] - scene.began
    assert 3.0 <= asked <= 3.0 * 1.5


@both
def test_the_only_target_is_tried_out_alone(how):
    scene = Scene((2.0, "fine"))
    assert record(scene.stage.ask(how)) == [("a", "succeeded")]
    assert scene.now == 2.0
    assert scene.stage.state() == "closed"


# ---- what it shows ----


@both
def test_one_that_was_not_waited_for_goes_on_and_its_answer_closes_the_circuit(how):
    scene = Scene([(3.0, "fine")], Player("b", (1.0, "fine")))
    states = []

    async def look_on():
        assert (await scene.call(how)).provider_name == "b"
        for _ in range(3):
            await asyncio.sleep(0.9)
            states.append(scene.stage.state())

    scene.play(look_on)
    assert states == ["half-open", "half-open", "closed"]
    assert scene.stage.players[0].cancelled == 0
    assert scene.nothing_is_left()
    assert scene.stage.ask(how).provider_name == "a"


@both
def test_one_that_was_not_waited_for_and_fails_opens_it_for_longer(how):
    scene = Scene([(3.0, DOWN)], Player("b", (1.0, "fine")))

    async def look_on():
        await scene.call(how)
        await asyncio.sleep(2.5)

    scene.play(look_on)
    health = scene.stage.factory._admission.look(0)
    assert (health.state, health.free_in) == ("open", pytest.approx(8.0))
    assert scene.nothing_is_left()


@both
@pytest.mark.parametrize("other", [1.0, 100.0])
def test_its_first_piece_closes_the_circuit_whoever_is_taken(how, other):
    """It may write for minutes, and others need not wait for its end to be served by it."""
    scene = Scene([(2.0, "one ", 30.0, "two"), (1.0, "fine")], Player("b", (other, "fine")))
    states = []

    async def look_on():
        call = asyncio.ensure_future(scene.call(how))
        for _ in range(2):
            await asyncio.sleep(1.5)
            states.append(scene.stage.state())
        assert (await scene.call(how)).provider_name == "a"
        return (await call).provider_name

    served = scene.play(look_on)
    assert states == ["half-open", "closed"]
    assert served == ("b" if other == 1.0 else "a")


@pytest.mark.parametrize("how", ["sync", "stream", "async", "astream"])
def test_who_breaks_off_after_white_space_rests_again(how):
    scene = Scene([(1.0, "\n", DOWN)])
    scene.stage.ask(how, max_tokens=4000)
    assert scene.stage.state() == "open"


@both
@pytest.mark.parametrize("sign", [" ", Heartbeat()], ids=["white space", "heartbeat"])
def test_white_space_or_a_heartbeat_shows_no_life(how, sign):
    """Who says that it is at work may never answer: only a piece closes the circuit."""
    scene = Scene([(1.0, sign, 3.0, "one ", 9.0, "two")], Player("b", (3.5, "fine")))
    states = []

    async def look_on():
        call = asyncio.ensure_future(scene.call(how))
        for seconds in (1.5, 1.0, 1.0, 1.0):
            await asyncio.sleep(seconds)
            states.append(scene.stage.state())
        assert (await call).provider_name == "b"

    scene.play(look_on)
    assert states == ["half-open", "half-open", "half-open", "closed"]


def test_a_provider_that_does_not_stream_is_tried_out_by_a_whole_answer():
    scene = Scene([(2.0, "one ", 2.0, "two")], Player("b", (1.0, "fine")))
    capabilities = scene.stage.players[0].capabilities
    object.__setattr__(capabilities, "streaming", False)
    states = []

    async def look_on():
        await scene.call("async")
        for _ in range(2):
            await asyncio.sleep(1.6)
            states.append(scene.stage.state())

    scene.play(look_on)
    assert states == ["half-open", "closed"]


@both
def test_one_that_takes_long_is_followed_by_another_and_closes_the_circuit_all_the_same(how):
    scene = Scene([(6.0, "fine"), (NEVER, "late")], Player("b", (1.0, "fine")))
    states = []

    async def timed():
        calls = []
        for moment in (0.0, SLOWEST_SIGN - 0.1, SLOWEST_SIGN, 5.9):
            await asyncio.sleep(moment + scene.began - scene.stage.clock.now)
            calls.append(asyncio.ensure_future(scene.call(how)))
            await asyncio.sleep(0)
        await asyncio.sleep(0.2)
        states.append(scene.stage.state())
        return await asyncio.gather(*calls)

    responses = scene.play(timed)
    assert [response.attempts[0].outcome for response in responses] == [
        "left to end",
        "skipped",
        "left to end",
        "skipped",
    ]
    assert scene.asked(0) == [0.0, SLOWEST_SIGN]
    assert states == ["closed"]


# ---- what is left of it ----


@both
def test_under_a_limit_its_slot_is_held_to_its_end(how):
    scene = Scene([("one ", 5.0, "two")], Player("b", (0.5, "fine")), limits={"a": Limits(concurrent=1)})
    held = []

    async def look_on():
        assert (await scene.call(how)).provider_name == ("a" if how == "astream" else "b")
        held.append(bool(held_leases(scene.stage.factory)))
        await asyncio.sleep(5.0)
        held.append(bool(held_leases(scene.stage.factory)))

    scene.play(look_on)
    assert held == [how == "async", False]
    assert scene.stage.state() == "closed"


@both
def test_a_caller_who_gives_up_takes_it_along(how):
    """Nobody knows for how long the caller's program lives on, and the next call is the probe."""
    scene = Scene((NEVER, "late"), Player("b", (NEVER, "late")))

    async def give_up():
        task = asyncio.ensure_future(scene.call(how))
        await asyncio.sleep(1.0)
        assert [player.under_way for player in scene.stage.players] == [1, 1]
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.all_tasks() == {asyncio.current_task()}

    scene.play(give_up)
    assert scene.nothing_is_left()
    assert scene.stage.state() == "half-open"


@both
def test_a_loop_that_ends_ends_it_too(how):
    scene = Scene((NEVER, "late"), Player("b", (1.0, "fine")))
    scene.stage.ask(how)
    assert scene.nothing_is_left()
    assert scene.stage.players[0].cancelled == 1
    assert scene.stage.state() == "half-open"


# ---- sync calls ----


class Held(Player):
    """Waits until it is let go, before it answers on an event loop."""

    def __init__(self, *lines):
        super().__init__(*lines)
        self.free = threading.Event()

    async def astream(self, request):
        while not self.free.is_set():
            await asyncio.sleep(0.005)
        async for event in super().astream(request):
            yield event


@pytest.mark.parametrize("how", ["sync", "stream"])
def test_a_sync_call_does_not_wait_for_it_either(how):
    """On the background loop, in real time; what is left there goes on."""
    now = [0.0]
    first = Held("a", *[DOWN] * CALLS, "fine")
    policy = Policy.eager(quick_retries=0, breaker_jitter=0.0)
    factory = LLMFactory(first, [Player("b")], settings={}, extensions=[], policy=policy)
    factory._admission.store._clock = lambda: now[0]
    for _ in range(CALLS):
        factory.generate_content("hello")
    now[0] = 5.0
    assert record(ask(factory, how)) == [("a", "left to end"), ("b", "succeeded")]
    first.free.set()
    latest = time.monotonic() + 5
    while factory._admission.look(0).state != "closed" and time.monotonic() < latest:
        time.sleep(0.005)
    assert factory._admission.look(0).state == "closed"
    assert ask(factory, how).provider_name == "a"
    assert held_leases(factory) == {}
