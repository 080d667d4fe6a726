"""What a request counts for under the caller's own limits where nobody got an answer: it may have been paid for."""

import asyncio

import pytest
from timed import NEVER, STREAMS, WAYS, Player, Stage, answer, claim

from understudy import FinishReason, Limits, Policy, StreamInterrupted, Usage, hookimpl
from understudy.errors import (
    EmptyResponse,
    MalformedResponse,
    Overloaded,
    QuotaExhausted,
    RateLimited,
    ServerError,
    Timeout,
)

USAGE = Usage(input_tokens=100, output_tokens=300)
LIMITS = {"a": Limits(tokens_per_minute=3000, requests_per_minute=10)}
BAD = answer("bad", "a", usage=USAGE)
every_way = pytest.mark.parametrize("how", WAYS)


def left(stage):
    """Return the tokens and requests that are left of the first target's limits."""
    amounts = stage.factory.get_provider_status()["primary"]["health"]["left"]
    return amounts["tokens a minute"], amounts["requests a minute"]


def refuse(response):
    return response.content != "bad"


@every_way
@pytest.mark.parametrize(
    ("line", "options"),
    [
        (BAD, {"validator": refuse}),
        (answer("bad", "a", usage=USAGE, finish_reason=FinishReason.LENGTH), {"policy": Policy(switch_on_length=True)}),
        (answer("  ", "a", usage=USAGE), {}),
    ],
    ids=["by a validator", "cut by length", "empty"],
)
def test_an_answer_that_will_not_do_has_been_paid_for(how, line, options):
    policy = Policy(stream_recovery="buffer", **({"switch_on_length": True} if "policy" in options else {}))
    options = {name: value for name, value in options.items() if name != "policy"}
    stage = Stage(Player("a", line), Player("b"), policy=policy, limits=LIMITS)
    response = stage.ask(how, max_tokens=1000, **options)
    assert response.provider_name == "b"
    assert left(stage) == (2600, 9)
    refused = response.attempts[0]
    assert (refused.outcome, refused.usage, refused.model) == ("failed", USAGE, "script")


@every_way
@pytest.mark.parametrize("failure", [Timeout("late"), EmptyResponse("nothing"), ServerError("broken")])
def test_what_may_have_been_paid_for_stays_counted(how, failure):
    stage = Stage(Player("a", failure), Player("b"), policy=Policy(max_retries=0), limits=LIMITS)
    stage.ask(how, max_tokens=1000)
    tokens, requests = left(stage)
    assert 1900 < tokens < 2000
    assert requests == 9


@every_way
@pytest.mark.parametrize(
    "failure",
    [RateLimited("429"), QuotaExhausted("empty"), ServerError("broken", status=500), Overloaded("busy", status=503)],
)
def test_what_the_vendor_refused_is_a_request_and_costs_no_tokens(how, failure):
    stage = Stage(Player("a", failure), Player("b"), policy=Policy(max_retries=0), limits=LIMITS)
    stage.ask(how, max_tokens=1000)
    assert left(stage) == (3000, 9)


@every_way
def test_what_was_not_sent_costs_nothing(how):
    class Refusing:
        @hookimpl
        def understudy_prepare_request(self, request, provider_name):
            raise ValueError("no")

    stage = Stage(Player("a"), Player("b"), policy=Policy(), limits=LIMITS, extensions=[Refusing()])
    assert not stage.ask(how).success
    assert stage.players[0].requests == []
    assert left(stage) == (3000, 10)


@pytest.mark.parametrize("how", STREAMS)
def test_a_stream_that_is_left_may_have_been_paid_for(how):
    stage = Stage(Player("a", ("one ", "two ", "three")), policy=Policy(), limits=LIMITS)
    if how == "stream":
        stream = stage.factory.stream_content("hello", max_tokens=1000)
        next(stream)
        stream.close()
    else:

        async def leave():
            stream = stage.factory.astream_content("hello", max_tokens=1000)
            await anext(stream)
            await stream.aclose()

        stage.clock.run(leave())
    tokens, requests = left(stage)
    assert 1900 < tokens < 2000
    assert requests == 9


def test_a_cancelled_call_may_have_been_paid_for():
    stage = Stage(Player("a", (NEVER, "late")), policy=Policy(), limits=LIMITS)

    async def cancel():
        task = asyncio.ensure_future(stage.factory.agenerate_content("hello", max_tokens=1000))
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    stage.clock.run(cancel())
    assert left(stage)[1] == 9
    assert left(stage)[0] < 2000


def test_a_hedges_loser_may_have_been_paid_for():
    policy = Policy(hedge_after=1.0, hedge_share=1.0)
    stage = Stage(Player("a", (9.0, "late")), Player("b"), policy=policy, limits=LIMITS)
    assert stage.ask("async", max_tokens=1000).provider_name == "b"
    assert left(stage)[0] < 2000
    assert left(stage)[1] == 9


# ---- slots ----


@every_way
def test_a_slot_is_looked_at_again_and_again_and_not_for_longer_than_the_longest_wait(how):
    """Its lease says when it is free at the latest; nobody waits for that alone."""
    stage = Stage(Player("a"), policy=Policy(max_delay=10), limits={"a": Limits(concurrent=1)})
    wanted = claim(limits=Limits(concurrent=1), lease=60.0)
    held = stage.store.take(stage.factory._admission.name_of(0), wanted)
    assert held.granted
    response = stage.ask(how)
    assert not response.success
    assert "1 at once" in response.error
    assert stage.clock.waits[:4] == pytest.approx([0.075, 0.15, 0.3, 0.6])
    assert 5 < sum(stage.clock.waits) <= 11
    assert stage.ask(how, max_retries=0).attempts[0].outcome == "skipped"
    stage.clock.advance(60)
    assert stage.ask(how).success


@pytest.mark.parametrize("policy", [Policy(), Policy.eager()], ids=["patient", "eager"])
def test_callers_share_slots_in_turn(policy):
    """Three seconds of work for two at a time."""
    from random import Random

    stage = Stage(Player("a", (0.3, "fine")), policy=policy, limits={"a": Limits(concurrent=2)})
    object.__setattr__(stage.factory._runtime, "random", Random(1).random)

    async def crowd():
        return await asyncio.gather(*(stage.factory.agenerate_content("hello") for _ in range(20)))

    assert all(response.success for response in stage.clock.run(crowd()))
    assert stage.players[0].most_under_way == 2
    assert stage.clock.now < 12


@every_way
def test_the_last_resort_is_whoever_has_room(how):
    """Both circuits are open, and the one that is free sooner is at its limit."""
    policy = Policy.eager(max_retries=0, breaker_failures=1, breaker_requests=1, breaker_jitter=0.0, breaker_open=200)
    stage = Stage(
        Player("a", ServerError("down")),
        Player("b", ServerError("down"), "fine"),
        policy=policy,
        limits={"a": Limits(requests_per_minute=1)},
    )
    stage.ask(how)
    stage.clock.advance(1)
    response = stage.ask(how)
    assert response.provider_name == "b"
    assert [attempt.outcome for attempt in response.attempts] == ["skipped", "skipped", "skipped", "succeeded"]


@every_way
def test_a_stream_that_breaks_has_been_paid_for_whatever_its_status(how):
    cut = StreamInterrupted("cut", status=529)
    stage = Stage(Player("a", ("one ", cut)), Player("b"), policy=Policy(max_retries=0), limits=LIMITS)
    stage.ask(how, max_tokens=1000)
    assert left(stage)[0] < 2000


@every_way
def test_an_answer_with_status_200_has_been_paid_for(how):
    odd = MalformedResponse("no JSON", status=200)
    stage = Stage(Player("a", odd), Player("b"), policy=Policy(max_retries=0), limits=LIMITS)
    stage.ask(how, max_tokens=1000)
    assert left(stage)[0] < 2000


def test_a_probe_under_way_is_not_waited_for_until_its_lease_ends():
    policy = Policy(max_retries=0, breaker_requests=1, breaker_failures=1, breaker_jitter=0.0, max_delay=10)
    stage = Stage(Player("a", ServerError("down")), Player("b", ServerError("down")), policy=policy)
    stage.ask()
    stage.clock.advance(31)
    lease = stage.store.take(stage.factory._admission.name_of(0), claim(policy=Policy(), lease=600.0))
    assert lease.probe
    response = stage.ask(max_retries=2, retry_delay=3)
    assert [(a.target, a.outcome) for a in response.attempts][:3] == [
        ("a", "skipped"),
        ("b", "failed"),
        ("a", "skipped"),
    ]
    assert not response.success
    assert sum(stage.clock.waits) <= 11
