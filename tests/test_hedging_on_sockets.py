"""Hedged calls through the real SDKs over sockets: a second target beside a slow one, and the loser hung up."""

import asyncio
import re
from dataclasses import replace

import pytest
from staging import AWAITED, STREAMS, casts, connections_end, streams, ways

from understudy import (
    ConnectionFailed,
    Continuation,
    CoolingDown,
    Policy,
    Restart,
    ServerError,
    StreamInterrupted,
    TextDelta,
)
from understudy_sandbox import faults

AFTER = 0.05  # seconds until the second is asked
LATER = 4 * AFTER  # seconds: when somebody answers or fails who is slow, and is asked beside another
SLACK = 0.5  # seconds for an answer: those that are slow take a minute
SLOW = [faults.slow_first_token(20), faults.black_hole(), faults.stall(0), faults.dribble(0.02, size=1)]
HEDGED = Policy.eager(hedge_after=AFTER, hedge_share=1.0)
TRIES = 3
VENDORS = ["gemini", "claude", "ollama"]
LINES = "There is nothing either good or bad, but thinking makes it so."


@pytest.fixture(scope="module")
def warmed_up():
    return set()


@pytest.fixture
def hedged(stage, how, warmed_up):
    """Gemini and then Claude, with no connection open."""
    if how not in warmed_up:
        stage.warm_up(how, *VENDORS)
    warmed_up.add(how)
    begin(stage, VENDORS[:2])
    return stage


def begin(stage, cast, policy=HEDGED):
    stage.sandbox.reset()
    stage.open(cast, policy)
    for name in cast:
        stage.sandbox[name].hang_up()


def ask_both(stage, how, primarys, fallbacks, **arguments):
    """Make a call whose targets have faults, until the second was asked before the first one's time had come."""
    for _ in range(TRIES):
        begin(stage, VENDORS[:2])
        stage.primary.always(primarys)
        stage.fallback.always(fallbacks)
        response = stage.ask(how, **arguments)
        if stage.counts == [1, 1]:
            break
    return response


@casts
@ways
@pytest.mark.parametrize("fault", SLOW, ids=str)
def test_the_backup_is_quicker(hedged, cast, how, fault):
    stage = hedged
    for _ in range(TRIES):  # another program may have the processors
        begin(stage, cast)
        stage.primary.always(fault)
        response = stage.ask(how)
        hung_up = connections_end(stage.primary)
        if stage.seconds < AFTER + SLACK:
            break
    assert AFTER <= stage.seconds < AFTER + SLACK
    assert hung_up
    assert stage.counts == [1, 1]
    assert (response.success, response.provider_name) == (True, cast[1])
    loser, winner = response.attempts
    assert (loser.target, loser.outcome, loser.number, loser.reason) == (cast[0], "cancelled", 1, "primary")
    assert (winner.target, winner.outcome, winner.number, winner.wait) == (cast[1], "succeeded", 1, 0.0)
    assert re.fullmatch(rf"hedge: no answer from {cast[0]} within 0\.\d+ s", winner.reason)
    assert loser.seconds >= AFTER
    assert how not in STREAMS or stage.text == response.content


@ways
def test_what_is_known_of_the_cost_is_in_the_record(hedged, how):
    stage = hedged
    stage.primary.always(faults.black_hole())
    response = stage.ask(how)
    loser, winner = response.attempts
    assert loser.usage is None  # it never said what it spent
    assert loser.cost is None
    assert winner.cost > 0
    assert response.cost == winner.cost


@ways
def test_a_quick_primary_is_asked_alone(hedged, how):
    stage = hedged
    begin(stage, ["gemini", "claude"], replace(HEDGED, hedge_after=2))
    response = stage.ask(how)
    assert (response.provider_name, stage.counts) == ("gemini", [1, 0])


@ways
def test_a_slow_primary_may_still_be_the_first(hedged, how):
    stage = hedged
    response = ask_both(stage, how, faults.slow_first_token(LATER), faults.black_hole())
    assert connections_end(stage.fallback)
    assert (response.provider_name, stage.counts) == ("gemini", [1, 1])
    assert [(a.target, a.outcome) for a in response.attempts] == [("claude", "cancelled"), ("gemini", "succeeded")]
    assert how not in STREAMS or stage.text == response.content


@ways
def test_the_hedge_fails_and_the_primary_answers(hedged, how):
    stage = hedged
    response = ask_both(stage, how, faults.slow_first_token(LATER), faults.server_error())
    assert (response.provider_name, stage.counts) == ("gemini", [1, 1])
    assert [(a.target, a.outcome) for a in response.attempts] == [("claude", "failed"), ("gemini", "succeeded")]
    assert how not in STREAMS or stage.text == response.content


@ways
def test_the_primary_fails_and_the_hedge_answers(hedged, how):
    stage = hedged
    ends = faults.black_hole(LATER)  # with its connection
    response = ask_both(stage, how, ends, faults.slow_first_token(2 * LATER))
    assert (response.provider_name, stage.counts) == ("claude", [1, 1])
    assert [(a.target, a.outcome) for a in response.attempts] == [("gemini", "failed"), ("claude", "succeeded")]
    assert how not in STREAMS or stage.text == response.content


@ways
def test_both_fail(hedged, how):
    stage = hedged
    response = ask_both(stage, how, faults.black_hole(LATER), faults.server_error(), max_retries=0)
    assert response.error == "All LLM providers failed: [gemini: connection failed, claude: server error]"
    assert stage.counts == [1, 1]
    assert {type(attempt.failure) for attempt in response.attempts} == {ConnectionFailed, ServerError}


@ways
def test_a_resting_target_is_no_hedge(hedged, how):
    stage = hedged
    stage.fallback.next(faults.rate_limited(retry_after=30))
    stage.primary.next(faults.server_error(), faults.slow_first_token(3 * AFTER))
    stage.ask(how, max_retries=0)
    response = stage.ask(how)
    assert (response.provider_name, stage.counts) == ("gemini", [2, 1])
    assert not any(isinstance(attempt.failure, CoolingDown) for attempt in response.attempts)


@ways
def test_the_cap_on_second_requests(hedged, how):
    stage = hedged
    begin(stage, ["gemini", "claude"], Policy.eager(hedge_after=AFTER, hedge_share=0.5))
    stage.primary.always(faults.slow_first_token(LATER))
    stage.fallback.always(faults.black_hole())
    responses = [stage.ask(how) for _ in range(4)]
    assert {response.provider_name for response in responses} == {"gemini"}
    assert stage.counts == [4, 3]  # one that is saved up from the beginning, and for half of the calls


@ways
@pytest.mark.parametrize(("dollars", "counts"), [(0.01, [1, 1]), (0.0001, [1, 0])])
def test_the_cap_on_a_second_requests_price(hedged, how, dollars, counts):
    stage = hedged
    begin(stage, ["gemini", "claude"], replace(HEDGED, hedge_cost=dollars))
    stage.primary.always(faults.slow_first_token(LATER))
    stage.fallback.always(faults.black_hole())
    response = stage.ask(how, max_tokens=100)  # which may cost half a thousandth of a dollar at Claude
    assert (response.provider_name, stage.counts) == ("gemini", counts)


@ways
def test_by_default_the_second_is_asked_when_95_of_100_would_have_answered(hedged, how):
    stage = hedged
    begin(stage, ["gemini", "claude"], replace(HEDGED, hedge_after="p95"))
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
    stage = hedged
    stage.primary.always(faults.slow_first_token(AFTER + 0.01))
    for _ in range(12):
        response = stage.ask(how)
        assert response.success
        assert stage.text == response.content
        assert f"standing in for {response.provider_name.title()}, " in response.content
    assert stage.primary.request_count == 12


@streams
@pytest.mark.parametrize("recovery", ["restart", "continue"])
@pytest.mark.parametrize("next_one", ["gemini", "ollama"])
def test_the_winner_breaks_off_and_another_takes_over(hedged, how, recovery, next_one):
    stage = hedged
    begin(stage, VENDORS, replace(HEDGED, stream_recovery=recovery))
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
    stage = hedged
    stage.primary.always(faults.black_hole())
    stage.fallback.always(faults.reset(after=3))
    with pytest.raises(StreamInterrupted) as caught:
        stage.ask(how)
    assert (caught.value.provider, caught.value.partial) == ("claude", stage.text)
    assert stage.text
    assert connections_end(stage.primary)
    assert stage.counts == [1, 1]


@ways
def test_many_at_once(hedged, how):
    stage = hedged
    stage.primary.always(faults.black_hole())
    calls = stage.ask_at_once(how, [stage.factory] * 10)
    assert {call.response.provider_name for call in calls} == {"claude"}
    assert stage.counts == [10, 10]
    assert connections_end(stage.primary)


@pytest.mark.parametrize("how", ["stream", *AWAITED])
def test_a_caller_that_leaves_hangs_up_on_both(hedged, how):
    stage = hedged
    stage.primary.always(faults.black_hole())
    stage.fallback.always(faults.stall(1) if how == "stream" else faults.black_hole())

    async def leave():
        if how == "async":
            task = asyncio.create_task(stage.factory.agenerate_content("hello"))
        else:
            task = asyncio.create_task(anext(stage.factory.astream_content("hello")))
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
    assert connections_end(stage.primary)
    assert connections_end(stage.fallback)
    assert stage.counts == [1, 1]
