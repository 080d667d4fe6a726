"""The preset for services: no wait beside an idle healthy provider, and as few requests to a dead one as can be."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from timed import NEVER, WAYS, Player, Stage, ask, claim, record

from understudy import (
    AllProvidersFailed,
    ConnectionFailed,
    InMemoryHealthStore,
    LLMFactory,
    Overloaded,
    Policy,
    QuotaExhausted,
    RateLimited,
    ServerError,
    Timeout,
    TooManyCalls,
)
from understudy.breaker import Effect
from understudy.health import Report

DOWN = ServerError("down")
every_way = pytest.mark.parametrize("how", WAYS)
EXACT = {"jitter": "none", "breaker_jitter": 0.0}


def eager(**changes):
    return Policy.eager(**{**EXACT, **changes})


# ---- switch first ----


@every_way
@pytest.mark.parametrize(
    "failure",
    [DOWN, Timeout("slow"), ConnectionFailed("refused"), Overloaded("busy", retry_after=30), RateLimited("429")],
)
def test_another_target_is_asked_before_this_one_is_retried(how, failure):
    stage = Stage(Player("a", failure), Player("b"))
    response = stage.ask(how)
    assert record(response) == [("a", "failed"), ("b", "succeeded")]
    assert stage.clock.waits == []
    assert [len(player.requests) for player in stage.players] == [1, 1]


@every_way
def test_where_everybody_is_in_trouble_the_one_that_is_due_first_is_asked_again(how):
    stage = Stage(Player("a", DOWN), Player("b", DOWN, "fine"), policy=eager(max_retries=2))
    response = stage.ask(how)
    assert [(a.target, a.number, a.wait) for a in response.attempts] == [
        ("a", 1, 0),
        ("b", 1, 0),
        ("a", 2, 0.5),
        ("b", 2, 0),
    ]
    assert response.attempts[2].reason == "retry 1 of 2 after server error"
    assert stage.clock.waits == [0.5, 0]


@every_way
def test_every_target_is_tried_as_often_as_it_may_be(how):
    stage = Stage(Player("a", DOWN), Player("b", DOWN), policy=eager(max_retries=3, retry_reserve=100))
    response = stage.ask(how)
    assert [a.target for a in response.attempts] == ["a", "b"] * 4
    assert stage.clock.now == pytest.approx(0.5 + 1 + 2)
    assert isinstance(response.failure, AllProvidersFailed)


@every_way
def test_the_vendors_hint_says_who_is_due_first(how):
    stage = Stage(
        Player("a", Overloaded("busy", retry_after=6), "fine"),
        Player("b", Overloaded("busy", retry_after=2), DOWN),
        policy=eager(max_retries=1),
    )
    response = stage.ask(how)
    assert [(a.target, a.wait) for a in response.attempts] == [("a", 0), ("b", 0), ("b", 2), ("a", 4)]
    assert response.provider_name == "a"


@every_way
def test_a_hint_beyond_the_longest_wait_is_not_waited_for(how):
    stage = Stage(Player("a", Overloaded("busy", retry_after=9)), policy=eager())
    response = stage.ask(how)
    assert stage.clock.waits == []
    assert response.attempts[0].decision == "no retry: the vendor asks for 9 s, more than max_delay"


@every_way
def test_a_target_that_cools_down_is_waited_for_where_everybody_else_is_in_trouble(how):
    stage = Stage(
        Player("a", RateLimited("429", retry_after=5), "fine"), Player("b", DOWN), policy=eager(max_retries=1)
    )
    stage.ask(how, max_retries=0)
    assert stage.state() == "cooling"
    response = stage.ask(how)
    assert [(a.target, a.outcome) for a in response.attempts][:2] == [("a", "skipped"), ("b", "failed")]
    assert response.provider_name == "a"
    assert response.attempts[-1].reason.startswith("free again after cooling down, back in")
    assert stage.clock.now == pytest.approx(5)


@every_way
def test_full_jitter_waits_between_nothing_and_the_formula(how):
    for draw in (0.0, 0.25, 0.999):
        stage = Stage(Player("a", DOWN, "fine"), policy=Policy.eager(), draw=draw)
        stage.ask(how)
        assert stage.clock.waits == [0.5 * draw]


kinds = st.sampled_from(
    [
        "fine",
        DOWN,
        Timeout("slow"),
        RateLimited("429"),
        RateLimited("429", retry_after=3),
        Overloaded("o", retry_after=2),
    ]
)
scripts = st.lists(st.lists(kinds, min_size=1, max_size=6), min_size=1, max_size=4)


@given(scripts, st.sampled_from(WAYS), st.integers(0, 3), st.floats(0, 1, exclude_max=True))
@settings(max_examples=120, deadline=None)
def test_no_wait_begins_while_somebody_has_not_been_asked(scripts, how, retries, draw):
    policy = Policy.eager(max_retries=retries, retry_reserve=10)
    stage = Stage(*(Player(f"p{i}", *lines) for i, lines in enumerate(scripts)), policy=policy, draw=draw)
    response = stage.ask(how)
    waited = [number for number, attempt in enumerate(response.attempts) if attempt.wait or attempt.number > 1]
    if waited:
        come_to = {attempt.target for attempt in response.attempts[: waited[0]]}
        assert len(come_to) == len(scripts)
    for player in stage.players:
        assert len(player.requests) <= 1 + retries
        assert [a.number for a in response.attempts if a.target == player.name and a.number] == list(
            range(1, len(player.requests) + 1)
        )
    assert stage.clock.now <= 120
    if any("fine" in lines[: 1 + retries] and not any(isinstance(x, RateLimited) for x in lines) for lines in scripts):
        assert response.success


# ---- outages ----


@every_way
@pytest.mark.parametrize("failure", [DOWN, Timeout("slow"), ConnectionFailed("refused")])
def test_twenty_calls_into_an_outage_ask_the_dead_provider_ten_times_at_most(how, failure):
    stage = Stage(Player("a", failure), Player("b"))
    assert all(stage.ask(how).provider_name == "b" for _ in range(20))
    assert len(stage.players[0].requests) <= 10
    assert stage.clock.waits == []


@every_way
@pytest.mark.parametrize(
    ("failure", "seconds"), [(RateLimited("429", retry_after=30), 30), (QuotaExhausted("spent"), 300)]
)
def test_a_quota_reply_costs_one_request_until_it_is_over_and_then_one_probe(how, failure, seconds):
    stage = Stage(Player("a", failure, failure, "fine"), Player("b"), policy=eager())
    assert [stage.ask(how).provider_name for _ in range(20)] == ["b"] * 20
    assert len(stage.players[0].requests) == 1
    stage.clock.advance(seconds)
    assert stage.ask(how).provider_name == "b"
    assert len(stage.players[0].requests) == 2
    stage.clock.advance(seconds if seconds == 30 else 2 * seconds)
    assert stage.ask(how).provider_name == "a"
    assert stage.state() == "closed"


@every_way
def test_the_primary_serves_again_after_its_open_interval(how):
    """I22: two probes, both of them answers to callers."""
    stage = Stage(Player("a", *[DOWN] * 10, "fine"), Player("b"), policy=eager())
    for _ in range(10):
        stage.ask(how)
    stage.clock.advance(29.9)
    assert stage.ask(how).provider_name == "b"
    stage.clock.advance(0.1)
    states = []
    for _ in range(3):
        response = stage.ask(how)
        assert response.provider_name == "a"
        states.append((response.attempts[0].breaker, stage.state()))
    assert states == [("half-open", "half-open"), ("half-open", "closed"), ("closed", "closed")]


HERD = 50


def herd_of():
    """A factory whose primary is down and about to be probed, and the primary."""
    now = [0.0]
    store = InMemoryHealthStore(lambda: now[0])
    first, second = Player("a", DOWN), Player("b")
    factory = LLMFactory(first, [second], settings={}, extensions=[], policy=eager(), health_store=store)
    for _ in range(20):
        factory.generate_content("hello")
    assert len(first.requests) == 10
    first.lines = ((0.05, DOWN),)
    now[0] = 31.0
    return factory, first


def test_a_herd_of_threads_sends_one_probe():
    factory, first = herd_of()
    with ThreadPoolExecutor(HERD) as pool:
        responses = list(pool.map(lambda _: factory.generate_content("hello"), range(HERD)))
    assert all(response.provider_name == "b" for response in responses)
    assert len(first.requests) == 11
    assert first.most_under_way == 1


@pytest.mark.parametrize("how", ["async", "astream"])
def test_a_herd_of_tasks_sends_one_probe(how):
    factory, first = herd_of()

    async def one():
        if how == "async":
            return await factory.agenerate_content("hello")
        return [event async for event in factory.astream_content("hello")][-1].response

    async def all_of_them():
        return await asyncio.gather(*(one() for _ in range(HERD)))

    responses = asyncio.run(all_of_them())
    assert all(response.provider_name == "b" for response in responses)
    assert len(first.requests) == 11
    skipped = [response.attempts[0] for response in responses if response.attempts[0].outcome == "skipped"]
    assert len(skipped) == HERD - 1
    assert {attempt.breaker for attempt in skipped} <= {"half-open", "open"}
    assert "its probe is under way" in skipped[0].reason


@every_way
def test_where_everybody_rests_the_one_that_is_free_soonest_is_asked_once(how):
    stage = Stage(Player("a", DOWN), Player("b", DOWN), policy=eager(max_retries=0))
    for number in range(10):
        stage.ask(how)
        stage.clock.advance(1.0 if number == 8 else 0.0)
    stage.players[0].lines = ("fine",)
    asked = [len(player.requests) for player in stage.players]
    response = stage.ask(how)
    assert record(response) == [("a", "skipped"), ("b", "skipped"), ("a", "succeeded")]
    panic = response.attempts[2]
    assert panic.reason == "every target was skipped, this one is free soonest"
    assert (panic.breaker, panic.number) == ("open", 1)
    assert [len(player.requests) for player in stage.players] == [asked[0] + 1, asked[1]]
    assert stage.state() == "open"  # an answer to it is no probe


@every_way
def test_a_panic_attempt_is_not_retried(how):
    stage = Stage(Player("a", DOWN), policy=eager(max_retries=5, retry_reserve=100))
    for _ in range(10):
        stage.ask(how)
    assert stage.state() == "open"
    asked = len(stage.players[0].requests)
    response = stage.ask(how)
    assert record(response) == [("a", "skipped"), ("a", "failed")]
    assert len(stage.players[0].requests) == asked + 1


@every_way
def test_the_call_that_opens_a_circuit_stops_retrying(how):
    stage = Stage(Player("a", DOWN), policy=eager(max_retries=8, retry_reserve=100, breaker_requests=2))
    stage.ask(how, max_retries=0)
    response = stage.ask(how, max_retries=50)
    assert len(stage.players[0].requests) == 10
    assert response.attempts[-1].decision == "no retry: the circuit is open"


@every_way
def test_without_a_breaker_a_dead_provider_is_asked_for_ever(how):
    stage = Stage(Player("a", DOWN), Player("b"), policy=eager(breaker=False))
    for _ in range(30):
        stage.ask(how)
    assert (len(stage.players[0].requests), stage.state()) == (30, "closed")


# ---- budgets and bulkhead ----


@every_way
def test_a_refused_retry_is_in_the_record(how):
    stage = Stage(Player("a", DOWN), policy=eager(retry_reserve=0, retry_budget=0, breaker=False))
    response = stage.ask(how)
    assert record(response) == [("a", "failed")]
    assert response.attempts[0].decision == "no retry: the retry budget is used up"
    assert stage.clock.waits == []


@every_way
def test_over_ten_seconds_retries_are_a_tenth_of_the_calls_and_the_reserve(how):
    """I10."""
    stage = Stage(Player("a", DOWN), policy=eager(retry_reserve=0.5, retry_budget=0.1, breaker=False, retry_delay=0))
    for _ in range(50):
        stage.ask(how)
    assert stage.clock.now == 0
    assert len(stage.players[0].requests) - 50 == 5 + 5


@every_way
def test_a_retry_that_finds_its_target_resting_is_given_back(how):
    """Between its failure and the end of the wait, others have opened the circuit."""
    stage = Stage(Player("a", DOWN), policy=eager(retry_reserve=0.1, retry_budget=0, max_retries=1))
    budget = stage.factory._admission.retries
    assert budget.left() == 1
    sleep = stage.clock.runtime().sleep
    claims = stage.factory._admission

    def meanwhile(seconds):
        for call in range(1000, 1010):
            wanted = claim(call, eager())
            name = claims.name_of(0)
            stage.store.give(name, stage.store.take(name, wanted), wanted, Report(Effect.FAILURE))
        sleep(seconds)

    async def async_meanwhile(seconds):
        meanwhile(seconds)

    object.__setattr__(stage.factory._runtime, "sleep", meanwhile)
    object.__setattr__(stage.factory._runtime, "async_sleep", async_meanwhile)
    response = stage.ask(how)
    assert record(response) == [("a", "failed"), ("a", "skipped")]
    assert budget.left() == 1


@pytest.mark.parametrize("how", ["async", "astream"])
def test_one_call_more_than_the_factory_takes_is_refused_at_once(how):
    stage = Stage(Player("a", (1.0, "fine")), Player("b"), policy=eager(max_concurrent_calls=3))

    async def one():
        if how == "async":
            return await stage.factory.agenerate_content("hello")
        return [event async for event in stage.factory.astream_content("hello")][-1].response

    async def five():
        return await asyncio.gather(*(one() for _ in range(5)))

    responses = stage.clock.run(five())
    assert [response.success for response in responses] == [True] * 3 + [False] * 2
    refused = responses[3]
    assert isinstance(refused.failure, TooManyCalls)
    assert refused.attempts == ()
    assert "3 calls are under way, the most that max_concurrent_calls allows" in refused.error
    assert stage.ask(how).success
    assert stage.players[0].most_under_way == 3


def test_a_policy_of_one_call_does_not_evade_the_bulkhead():
    stage = Stage(Player("a", (1.0, "fine")), policy=eager(max_concurrent_calls=1))

    async def two():
        calls = (stage.factory.agenerate_content("hello", policy=name) for name in ("patient", "eager"))
        return await asyncio.gather(*calls)

    assert [response.success for response in stage.clock.run(two())] == [True, False]
    stage = Stage(Player("a", (1.0, "fine")), policy=eager())
    narrow = eager(max_concurrent_calls=1)

    async def both():
        return await asyncio.gather(*(stage.factory.agenerate_content("hello", policy=narrow) for _ in range(2)))

    assert all(response.success for response in stage.clock.run(both()))  # the factory has none


# ---- deadlines ----


@pytest.mark.parametrize("how", ["async", "astream"])
def test_every_target_gets_its_slice_of_a_hang(how):
    """I25: a hang of all but the last costs it nothing."""
    stage = Stage(
        Player("a", (NEVER, "late")),
        Player("b", (NEVER, "late")),
        Player("c", (19.0, "fine")),
        policy=eager(deadline=60, first_token_timeout=60),
    )
    response = stage.ask(how)
    assert response.provider_name == "c"
    assert [player.times for player in stage.players] == [[0.0], [20.0], [40.0]]
    assert [a.failure.message for a in response.attempts[:2]] == ["no answer within 20 s"] * 2


@pytest.mark.parametrize("how", ["async", "astream"])
def test_the_call_ends_with_its_deadline(how):
    """I4."""
    stage = Stage(Player("a", (NEVER, "late")), Player("b", (NEVER, "late")), policy=eager(deadline=30))
    response = stage.ask(how)
    assert stage.clock.now == pytest.approx(30)
    assert "a: timeout" in response.error
    assert "b: timeout" in response.error
    assert [player.under_way for player in stage.players] == [0, 0]


@every_way
def test_no_wait_begins_that_would_end_too_late(how):
    stage = Stage(Player("a", DOWN), policy=eager(deadline=3.0, retry_reserve=100))
    response = stage.ask(how)
    assert stage.clock.waits == [0.5, 1.0]  # the next would have been two seconds
    assert response.attempts[-1].decision == "no retry: it would begin too late for the deadline"


def test_a_hang_costs_exactly_the_first_tokens_timeout():
    stage = Stage(Player("a", (NEVER, "late")), Player("b"))
    response = stage.ask("astream")
    assert stage.clock.now == pytest.approx(15)
    assert response.attempts[0].failure.message == "no answer within 15 s"
    assert response.attempts[0].seconds == pytest.approx(15)


def test_a_stream_that_stalls_ends_with_the_idle_timeout():
    stage = Stage(Player("a", (10.0, "one ", 19.0, "two ", NEVER, "late")), Player("b"))
    assert stage.ask("astream") is None
    assert stage.clock.now == pytest.approx(10 + 19 + 20)
    assert "no further piece within 20 s" in str(stage.error)
    assert stage.error.partial == "one two "


def test_white_space_is_no_first_token():
    stage = Stage(Player("a", ("\n", 5.0) * 100), Player("b"))
    assert stage.ask("astream").provider_name == "b"
    assert stage.clock.now == pytest.approx(15)


def test_a_dribble_of_pieces_is_ended_by_the_deadline():
    stage = Stage(Player("a", ("piece ", 10.0) * 100), Player("b"))
    assert stage.ask("astream") is None
    assert stage.clock.now == pytest.approx(120)
    assert stage.state() == "closed"


@pytest.mark.parametrize("how", ["sync", "stream"])
@pytest.mark.parametrize("line", [(5.0, "late"), (0.01, " ") * 500])
def test_sync_calls_end_in_time_too(how, line):
    """I4, for a provider that keeps no deadline itself."""
    first = Player("a", line, keeps_deadline=False)
    policy = eager(deadline=0.3, first_token_timeout=0.1, idle_timeout=0.15)
    factory = LLMFactory(first, [Player("b")], settings={}, extensions=[], policy=policy)
    begun = time.monotonic()
    response = ask(factory, how)
    seconds = time.monotonic() - begun
    assert response.provider_name == "b"
    assert (0.14 if how == "sync" else 0.09) < seconds < 1
    assert first.under_way == 0


def test_a_sync_stream_that_stalls_ends_with_the_idle_timeout():
    first = Player("a", ("one", 5.0, "two"), keeps_deadline=False)
    policy = eager(first_token_timeout=0.3, idle_timeout=0.1)
    factory = LLMFactory(first, [Player("b")], settings={}, extensions=[], policy=policy)
    stage = Stage(Player("nobody"))
    begun = time.monotonic()
    assert ask(factory, "stream", into=stage) is None
    assert 0.09 < time.monotonic() - begun < 1
    assert "no further piece within 0.1 s" in str(stage.error)
    assert first.under_way == 0


@pytest.mark.parametrize("how", ["async", "astream"])
def test_a_slice_of_less_than_a_second_is_no_evidence(how):
    stage = Stage(Player("a", (NEVER, "late")), Player("b"), policy=eager(breaker_failures=1, breaker_requests=1))
    for _ in range(3):
        assert stage.ask(how, deadline=1.5).provider_name == "b"
    assert stage.state() == "closed"
    stage.ask(how, deadline=4)
    assert stage.state() == "open"


def test_a_hurried_first_token_is_no_evidence_either():
    policy = eager(breaker_failures=1, breaker_requests=1, first_token_timeout=0.5)
    stage = Stage(Player("a", (NEVER, "late")), Player("b"), policy=policy)
    assert stage.ask("astream").provider_name == "b"
    assert stage.state() == "closed"


def test_patient_and_eager_differ_as_the_doctrine_says():
    """One 429 with a hint and a healthy backup: both switch at once, and only the eager one remembers."""
    for policy, asked in ((Policy.patient(), 3), (Policy.eager(), 1)):
        stage = Stage(Player("a", RateLimited("429", retry_after=30)), Player("b"), policy=policy)
        for _ in range(3):
            assert stage.ask().provider_name == "b"
        assert len(stage.players[0].requests) == asked
        assert stage.clock.waits == []
    assert replace(Policy.eager(), switch_first=False).preset is None
