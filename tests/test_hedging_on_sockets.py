"""Hedged calls through the real SDKs over sockets: a second target beside a slow one, and the loser hung up.

Who answers first is said by gates. How many are hedged, and for which price, is tested where time is virtual.
"""

import asyncio
import re
from dataclasses import replace

import pytest
from gates import PATIENCE, Gate
from staging import AWAITED, STREAMS, casts, connections_end, streams, ways

from understudy import Continuation, Policy, Restart, StreamInterrupted, TextDelta
from understudy.errors import ConnectionFailed, ServerError
from understudy.events import AttemptFailed
from understudy_sandbox import faults

AFTER = 0.05  # seconds until the second is asked
SLOW = [faults.slow_first_token(60), faults.black_hole(), faults.stall(0), faults.dribble(1, size=1)]
HEDGED = Policy.eager(hedge_after=AFTER, hedge_share=1.0)
VENDORS = ["gemini", "claude", "ollama"]
LINES = "There is nothing either good or bad, but thinking makes it so."


@pytest.fixture(scope="module")
def warmed_up():
    return set()


class Hedged:
    """A stage with a gate before the first target, and another before the second: both are open at first."""

    def __init__(self, stage):
        self.stage = stage
        self.first, self.second = Gate(), Gate()
        self.begin(VENDORS[:2])

    def begin(self, cast, policy=HEDGED):
        """Put them on the route, with no connection open."""
        stage, (first, second, *others) = self.stage, cast
        stage.sandbox.reset()
        route = [self.first.before(stage.providers[first]), self.second.before(stage.providers[second]), *others]
        stage.open(route, policy, extensions=[self.first, self.second])
        for name in cast:
            stage.sandbox[name].hang_up()

    def arrives_first(self, requests=1):
        """Hold the second back until so many requests have arrived at the first."""
        self.second.shut(when=lambda: self.stage.primary.request_count >= requests)

    def arrives_second(self):
        """Hold the first back until a request has arrived at the second."""
        self.first.shut(when=lambda: self.stage.fallback.request_count >= 1)


@pytest.fixture
def hedged(stage, how, warmed_up):
    """Gemini and then Claude."""
    if how not in warmed_up:
        stage.warm_up(how, *VENDORS)
    warmed_up.add(how)
    hedged = Hedged(stage)
    yield hedged
    for gate in (hedged.first, hedged.second):
        gate.open()


@casts
@ways
@pytest.mark.parametrize("fault", SLOW, ids=str)
def test_the_backup_is_quicker(hedged, cast, how, fault):
    stage = hedged.stage
    hedged.begin(cast)
    hedged.arrives_first()
    stage.primary.always(fault)
    response = stage.ask(how)
    assert AFTER <= stage.seconds < PATIENCE
    assert connections_end(stage.primary, PATIENCE)
    assert stage.counts == [1, 1]
    assert (response.success, response.provider_name) == (True, cast[1])
    loser, winner = response.attempts
    assert (loser.target, loser.outcome, loser.number, loser.reason) == (cast[0], "cancelled", 1, "primary")
    assert (winner.target, winner.outcome, winner.number, winner.wait) == (cast[1], "succeeded", 1, 0.0)
    assert re.fullmatch(rf"hedge: no answer from {cast[0]} within \d[\d.]* s", winner.reason)
    assert loser.seconds >= AFTER
    assert how not in STREAMS or stage.text == response.content


@ways
def test_what_is_known_of_the_cost_is_in_the_record(hedged, how):
    stage = hedged.stage
    hedged.arrives_first()
    stage.primary.always(faults.black_hole())
    response = stage.ask(how, "How much is it? " * 10)
    loser, winner = response.attempts
    assert loser.usage is None  # it never said what it spent
    assert loser.cost is None
    assert loser.wasted > 0  # it has read the prompt
    assert response.wasted_tokens == loser.wasted
    assert winner.cost > 0
    assert response.cost == winner.cost


@ways
def test_a_quick_primary_is_asked_alone(hedged, how):
    stage = hedged.stage
    hedged.begin(VENDORS[:2], replace(HEDGED, hedge_after=60))
    response = stage.ask(how)
    assert (response.provider_name, stage.counts) == ("gemini", [1, 0])


@ways
def test_a_slow_primary_may_still_be_the_first(hedged, how):
    stage = hedged.stage
    hedged.arrives_second()
    stage.fallback.always(faults.black_hole())
    response = stage.ask(how)
    assert connections_end(stage.fallback, PATIENCE)
    assert (response.provider_name, stage.counts) == ("gemini", [1, 1])
    assert [(a.target, a.outcome) for a in response.attempts] == [("claude", "cancelled"), ("gemini", "succeeded")]
    assert how not in STREAMS or stage.text == response.content


@ways
def test_the_hedge_fails_and_the_primary_answers(hedged, how):
    stage = hedged.stage
    hedged.first.shut(until=AttemptFailed)
    stage.fallback.always(faults.server_error())
    response = stage.ask(how)
    assert (response.provider_name, stage.counts) == ("gemini", [1, 1])
    assert [(a.target, a.outcome) for a in response.attempts] == [("claude", "failed"), ("gemini", "succeeded")]
    assert how not in STREAMS or stage.text == response.content


@ways
def test_the_primary_fails_and_the_hedge_answers(hedged, how):
    stage = hedged.stage
    hedged.begin(VENDORS[:2])
    stage.primary.always(faults.black_hole())
    hedged.second.shut(until=AttemptFailed, when=lambda: stage.primary.hang_up() if stage.primary.request_count else 0)
    response = stage.ask(how)
    assert (response.provider_name, stage.counts) == ("claude", [1, 1])
    assert [(a.target, a.outcome) for a in response.attempts] == [("gemini", "failed"), ("claude", "succeeded")]
    assert isinstance(response.attempts[0].failure, ConnectionFailed)
    assert how not in STREAMS or stage.text == response.content


@ways
def test_both_fail(hedged, how):
    stage = hedged.stage
    hedged.first.shut(until=AttemptFailed)
    stage.primary.always(faults.reset())
    stage.fallback.always(faults.server_error())
    response = stage.ask(how, max_retries=0)
    assert response.error == "All LLM providers failed: [gemini: connection failed, claude: server error]"
    assert stage.counts == [1, 1]
    assert [type(attempt.failure) for attempt in response.attempts] == [ServerError, ConnectionFailed]


@ways
def test_the_cap_on_a_second_requests_price(hedged, how):
    """A hundred tokens may cost half a thousandth of a dollar at Claude."""
    stage = hedged.stage
    hedged.begin(VENDORS[:2], replace(HEDGED, hedge_cost=0.01))
    hedged.arrives_second()
    stage.fallback.always(faults.black_hole())
    assert stage.ask(how, max_tokens=100).provider_name == "gemini"
    assert stage.counts == [1, 1]
    hedged.first.open()
    hedged.begin(VENDORS[:2], replace(HEDGED, hedge_cost=0.0001))
    stage.primary.always(faults.slow_first_token(4 * AFTER))
    assert stage.ask(how, max_tokens=100).provider_name == "gemini"
    assert stage.counts == [1, 0]


@ways
def test_by_default_the_second_is_asked_when_95_of_100_would_have_answered(hedged, how):
    stage = hedged.stage
    hedged.begin(VENDORS[:2], replace(HEDGED, hedge_after="p95"))
    hedged.arrives_first(21)
    stage.primary.next(*[None] * 16, *[faults.slow_first_token(AFTER)] * 2)
    for _ in range(20):
        stage.ask(how)
    assert stage.counts == [20, 0]  # nobody knew what is usual
    stage.primary.always(faults.black_hole())
    response = stage.ask(how)
    assert (response.provider_name, stage.counts) == ("claude", [21, 1])
    assert stage.seconds >= AFTER


@streams
def test_whoever_wins_the_pieces_are_the_answer(hedged, how):
    """The primary's first piece comes just when the second is asked, so now the one is quicker, now the other."""
    stage = hedged.stage
    stage.primary.always(faults.slow_first_token(AFTER + 0.01))
    for _ in range(12):
        response = stage.ask(how)
        assert response.success
        assert stage.text == response.content
        assert f"standing in for {response.provider_name.title()}, " in response.content
        assert [attempt.target for attempt in response.attempts].count("gemini") == 1


@streams
@pytest.mark.parametrize("recovery", ["restart", "continue"])
@pytest.mark.parametrize("next_one", ["gemini", "ollama"])
def test_the_winner_breaks_off_and_another_takes_over(hedged, how, recovery, next_one):
    stage = hedged.stage
    hedged.begin(VENDORS, replace(HEDGED, stream_recovery=recovery))
    hedged.arrives_first()
    stage.sandbox.gemini.next(faults.black_hole(), None if next_one == "gemini" else faults.authentication_failed())
    stage.sandbox.claude.always(faults.cut(after=3))
    for name in ("claude", next_one):
        stage.sandbox[name].reply(LINES, LINES)  # the one that is given up takes one too
    response = stage.ask(how)
    assert [(a.target, a.outcome) for a in response.attempts] == [
        ("gemini", "cancelled"),
        ("claude", "failed"),
        *([("gemini", "failed")] if next_one == "ollama" else []),  # the loser of a race may still answer
        (next_one, "succeeded"),
    ]
    assert stage.counts == [2, 1, int(next_one == "ollama")]
    (told,) = [event for event in stage.events if isinstance(event, Restart | Continuation)]
    assert isinstance(told, Restart) == (recovery == "restart")
    assert (told.target, told.next_target) == ("claude", next_one)
    assert response.content == LINES
    assert stage.text == (LINES if recovery == "continue" else told.failure.partial + LINES)


@streams
def test_the_winner_breaks_off_and_nobody_is_left(hedged, how):
    stage = hedged.stage
    hedged.arrives_first()
    stage.primary.always(faults.black_hole())
    stage.fallback.always(faults.reset(after=3))
    with pytest.raises(StreamInterrupted) as caught:
        stage.ask(how)
    assert (caught.value.provider, caught.value.partial) == ("claude", stage.text)
    assert stage.text
    assert connections_end(stage.primary, PATIENCE)
    assert stage.counts == [1, 1]


@ways
def test_many_at_once(hedged, how):
    stage = hedged.stage
    hedged.arrives_first(10)
    stage.primary.always(faults.black_hole())
    calls = stage.ask_at_once(how, [stage.factory] * 10)
    assert {call.response.provider_name for call in calls} == {"claude"}
    assert stage.counts == [10, 10]
    assert connections_end(stage.primary, PATIENCE)


@pytest.mark.parametrize("how", ["stream", *AWAITED])
def test_a_caller_that_leaves_hangs_up_on_both(hedged, how):
    stage = hedged.stage
    hedged.arrives_first()
    stage.primary.always(faults.black_hole())
    stage.fallback.always(faults.stall(1) if how == "stream" else faults.black_hole())

    async def leave():
        if how == "async":
            task = asyncio.create_task(stage.factory.agenerate_content("hello"))
        else:
            task = asyncio.create_task(anext(stage.factory.astream_content("hello")))
        async with asyncio.timeout(PATIENCE):
            while stage.counts != [1, 1]:
                await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    if how == "stream":
        stream = stage.factory.stream_content("hello")
        assert isinstance(next(stream), TextDelta)
        stream.close()
    else:
        stage.loop.run_until_complete(leave())
    assert connections_end(stage.primary, PATIENCE)
    assert connections_end(stage.fallback, PATIENCE)
    assert stage.counts == [1, 1]
