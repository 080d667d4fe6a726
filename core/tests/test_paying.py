"""What a request counts for under the caller's own limits where nobody got an answer: it may have been paid for."""

import asyncio

import pytest
from timed import NEVER, STREAMS, WAYS, Player, Stage, answer, claim

from understudy import (
    EmptyResponse,
    FinishReason,
    Limits,
    Overloaded,
    Policy,
    QuotaExhausted,
    RateLimited,
    ServerError,
    Timeout,
    Usage,
    hookimpl,
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
def test_a_slot_is_asked_for_again_after_the_wait_of_a_retry(how):
    """Its lease says when it is free at the latest; nobody waits for that long."""
    stage = Stage(Player("a"), policy=Policy(retry_delay=2, max_retries=3), limits={"a": Limits(concurrent=1)})
    store, admission = stage.store, stage.factory._admission
    wanted = claim(limits=Limits(concurrent=1), lease=60.0)
    held = store.take(admission.name_of(0), wanted)
    assert held.granted
    response = stage.ask(how)
    assert not response.success
    assert stage.clock.waits == [2, 4, 8]
    assert [attempt.outcome for attempt in response.attempts] == ["skipped"] * 4
    assert "1 at once" in response.error


def test_a_probe_under_way_is_not_waited_for_until_its_lease_ends():
    stage = Stage(
        Player("a", ServerError("down")),
        Player("b", ServerError("down")),
        policy=Policy(retry_delay=2, max_retries=0, breaker_requests=1, breaker_failures=1, breaker_jitter=0.0),
    )
    stage.ask()
    stage.clock.advance(31)
    admission = stage.factory._admission
    lease = stage.store.take(admission.name_of(0), claim(policy=Policy(), lease=60.0))
    assert lease.probe
    response = stage.ask(max_retries=2, retry_delay=3)
    assert [(a.target, a.outcome) for a in response.attempts] == [
        ("a", "skipped"),
        ("b", "failed"),
        ("a", "skipped"),
        ("a", "skipped"),
    ]
    assert stage.clock.waits == [3, 6]
