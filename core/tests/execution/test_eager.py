"""The preset for services: no wait beside an idle healthy provider, and as few requests to a dead one as can be."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from timed import WAYS, Player, Stage, claim, record

from understudy import AllProvidersFailed, LLMFactory, Policy
from understudy.errors import (
    AuthenticationFailed,
    ConnectionFailed,
    Effect,
    NeedsAttention,
    Overloaded,
    QuotaExhausted,
    RateLimited,
    ServerError,
    Timeout,
    TooManyCalls,
)
from understudy.health import InMemoryHealthStore, Report

DOWN = ServerError("down")
every_way = pytest.mark.parametrize("how", WAYS)
EXACT = {"jitter": "none", "breaker_jitter": 0.0}


def eager(**changes):
    return Policy.eager(**{**EXACT, **changes})


# ---- once more, soon, where it failed fast ----


@every_way
@pytest.mark.parametrize("failure", [DOWN, ConnectionFailed("refused"), Overloaded("busy")])
def test_most_failures_are_gone_half_a_second_later(how, failure):
    stage = Stage(Player("a", failure, "fine"), Player("b"), policy=eager())
    response = stage.ask(how)
    assert record(response) == [("a", "failed"), ("a", "succeeded")]
    assert (response.attempts[1].number, response.attempts[1].wait) == (2, 0.5)
    assert stage.clock.waits == [0.5]
    assert stage.players[1].requests == []


@every_way
def test_what_fails_again_is_left_for_the_next_target_at_once(how):
    stage = Stage(Player("a", DOWN), Player("b"), policy=eager())
    assert record(stage.ask(how)) == [("a", "failed"), ("a", "failed"), ("b", "succeeded")]
    assert stage.clock.waits == [0.5]


@every_way
@pytest.mark.parametrize(
    "line",
    [
        Timeout("slow"),  # nobody knows how long it would take now
        (10.5, DOWN),  # it did not come fast
        Overloaded("busy", retry_after=30),
        Overloaded("busy", retry_after=2.5),
        RateLimited("429"),
        RateLimited("429", retry_after=0.5),
        QuotaExhausted("spent"),
        AuthenticationFailed("wrong key"),
        ServerError("no", retryable=False),
    ],
)
def test_others_mean_the_next_target_at_once(how, line):
    stage = Stage(Player("a", line, "fine"), Player("b"), policy=eager())
    assert record(stage.ask(how)) == [("a", "failed"), ("b", "succeeded")]
    assert stage.clock.waits == []


@every_way
def test_a_short_hint_is_kept_to(how):
    stage = Stage(Player("a", Overloaded("busy", retry_after=1.5), "fine"), Player("b"), policy=eager())
    assert record(stage.ask(how)) == [("a", "failed"), ("a", "succeeded")]
    assert stage.clock.waits == [1.5]


@every_way
@pytest.mark.parametrize(("draw", "seconds"), [(0.0, 0.25), (0.5, 0.5), (0.9, 0.7)])
def test_many_callers_do_not_come_back_at_one_moment(how, draw, seconds):
    stage = Stage(Player("a", DOWN, "fine"), Player("b"), policy=Policy.eager(), draw=draw)
    stage.ask(how)
    assert stage.clock.waits == pytest.approx([seconds])


@every_way
def test_a_target_that_fails_many_is_not_asked_twice(how):
    """The first call finds it failing, the second knows."""
    stage = Stage(Player("a", DOWN), Player("b"), policy=eager())
    assert [len(stage.ask(how).attempts) for _ in range(3)] == [3, 2, 2]


@every_way
def test_it_takes_a_retry_from_the_budget_and_counts_among_those_that_the_caller_allows(how):
    stage = Stage(Player("a", DOWN, "fine"), Player("b"), policy=eager(retry_reserve=0, retry_budget=0))
    response = stage.ask(how)
    assert record(response) == [("a", "failed"), ("b", "succeeded")]
    assert response.attempts[0].decision == "no retry: the retry budget is used up"
    stage = Stage(Player("a", DOWN, "fine"), Player("b"), policy=eager())
    assert record(stage.ask(how, max_retries=0)) == [("a", "failed"), ("b", "succeeded")]


@every_way
def test_there_is_none_where_the_deadline_leaves_no_time_for_it(how):
    stage = Stage(Player("a", DOWN, "fine"), Player("b"), policy=eager(deadline=0.55))
    assert record(stage.ask(how)) == [("a", "failed"), ("b", "succeeded")]
    assert stage.clock.waits == []


@every_way
def test_the_patient_know_no_quick_retry(how):
    stage = Stage(Player("a", DOWN, "fine"), Player("b"), policy=Policy())
    assert record(stage.ask(how)) == [("a", "failed"), ("a", "succeeded")]
    assert stage.clock.waits == [5]


# ---- switch first ----


@every_way
@pytest.mark.parametrize(
    "failure",
    [DOWN, Timeout("slow"), ConnectionFailed("refused"), Overloaded("busy", retry_after=30), RateLimited("429")],
)
def test_another_target_is_asked_before_this_one_is_retried(how, failure):
    stage = Stage(Player("a", failure), Player("b"), policy=eager(quick_retries=0))
    response = stage.ask(how)
    assert record(response) == [("a", "failed"), ("b", "succeeded")]
    assert stage.clock.waits == []
    assert [len(player.requests) for player in stage.players] == [1, 1]


@every_way
def test_where_everybody_is_in_trouble_the_one_that_is_due_first_is_asked_again(how):
    policy = eager(max_retries=2, quick_retries=0)
    stage = Stage(Player("a", DOWN), Player("b", DOWN, "fine"), policy=policy)
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
@pytest.mark.parametrize(
    ("quick", "order", "seconds"), [(0, "abababab", 0.5 + 1 + 2), (1, "aabbabab", 0.5 + 0.5 + 0.5 + 1)]
)
def test_every_target_is_tried_as_often_as_it_may_be(how, quick, order, seconds):
    policy = eager(max_retries=3, retry_reserve=100, quick_retries=quick)
    stage = Stage(Player("a", DOWN), Player("b", DOWN), policy=policy)
    response = stage.ask(how)
    assert "".join(a.target for a in response.attempts) == order
    assert stage.clock.now == pytest.approx(seconds)
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
    stage = Stage(Player("a", Overloaded("busy", retry_after=9)), policy=eager(max_delay=8))
    response = stage.ask(how)
    assert stage.clock.waits == []
    assert response.attempts[0].decision == "no retry: the vendor asks for 9 s, more than max_delay"


@every_way
def test_a_target_that_cools_down_is_waited_for_where_everybody_else_is_in_trouble(how):
    stage = Stage(
        Player("a", RateLimited("429", retry_after=5), "fine"),
        Player("b", DOWN),
        policy=eager(max_retries=1, quick_retries=0, quota_calls=1),
    )
    stage.ask(how, max_retries=0)
    assert stage.state() == "cooling"
    response = stage.ask(how)
    assert [(a.target, a.outcome) for a in response.attempts][:2] == [("a", "skipped"), ("b", "failed")]
    assert response.provider_name == "a"
    assert response.attempts[-1].reason.startswith("free again after cooling down, back in")
    assert stage.clock.now == pytest.approx(5)


@every_way
def test_the_hint_of_a_rate_limit_is_waited_for_where_nobody_else_is_left(how):
    """In the same call, under either preset, and before the others only where all of them have been asked."""
    for policy in (eager(), Policy()):
        stage = Stage(Player("a", RateLimited("429", retry_after=4), "fine"), policy=policy)
        response = stage.ask(how)
        assert record(response) == [("a", "failed"), ("a", "succeeded")]
        assert response.attempts[1].reason == "free again after quota exceeded"
        assert stage.clock.waits == [4]
    stage = Stage(Player("a", RateLimited("429", retry_after=4), "fine"), Player("b", DOWN), policy=eager())
    response = stage.ask(how, max_retries=1)
    assert [attempt.target for attempt in response.attempts] == ["a", "b", "b", "a"]
    assert stage.clock.waits == [0.5, 3.5]


@every_way
def test_a_long_hint_of_a_rate_limit_ends_the_call(how):
    stage = Stage(Player("a", RateLimited("429", retry_after=9), "fine"), policy=eager(max_delay=8))
    response = stage.ask(how)
    assert record(response) == [("a", "failed")]
    assert stage.clock.waits == []


@every_way
def test_full_jitter_waits_between_nothing_and_the_formula(how):
    for draw in (0.0, 0.25, 0.999):
        stage = Stage(Player("a", DOWN, "fine"), policy=Policy.eager(quick_retries=0), draw=draw)
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


@given(scripts, st.sampled_from(WAYS), st.integers(0, 3), st.floats(0, 1, exclude_max=True), st.integers(0, 1))
@settings(max_examples=200, deadline=None)
def test_no_wait_but_a_quick_one_begins_while_somebody_has_not_been_asked(scripts, how, retries, draw, quick):
    policy = Policy.eager(max_retries=retries, retry_reserve=10, quick_retries=quick)
    stage = Stage(*(Player(f"p{i}", *lines) for i, lines in enumerate(scripts)), policy=policy, draw=draw)
    response = stage.ask(how)
    come_to, waits = set(), []
    for before, attempt in zip((None, *response.attempts), response.attempts, strict=False):
        if len(come_to) < len(scripts) and attempt.number > 1:
            waits.append((attempt.target, attempt.wait))
            hint = before.failure.retry_after or 0.0
            assert (before.target, before.number, attempt.number) == (attempt.target, 1, 2)
            assert attempt.wait == max(0.5 * (0.5 + draw), hint)
            assert hint <= 2
        come_to.add(attempt.target)
    assert len(waits) <= quick * len(scripts)
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
@pytest.mark.parametrize(
    ("line", "waits"), [(DOWN, [0.5]), (ConnectionFailed("refused"), [0.5]), ((1.0, Timeout("slow")), [])]
)
def test_twenty_calls_into_an_outage_ask_the_dead_provider_eight_times(how, line, waits):
    stage = Stage(Player("a", line), Player("b"), policy=eager())
    assert all(stage.ask(how).provider_name == "b" for _ in range(20))
    assert len(stage.players[0].requests) == 8
    assert stage.clock.waits == waits


@every_way
def test_three_callers_who_are_rate_limited_spare_the_others_the_same(how):
    stage = Stage(Player("a", *[RateLimited("429", retry_after=7)] * 3, "fine"), Player("b"), policy=eager())
    assert [stage.ask(how).provider_name for _ in range(20)] == ["b"] * 20
    assert len(stage.players[0].requests) == 3
    assert stage.clock.waits == []
    stage.clock.advance(7)
    assert [stage.ask(how).provider_name for _ in range(3)] == ["a"] * 3  # all may ask again
    assert stage.state() == "closed"


@every_way
def test_one_caller_in_three_who_is_rate_limited_rests_nobody(how):
    limited = RateLimited("429", retry_after=7)
    stage = Stage(Player("a", *["fine", "fine", limited] * 7), Player("b"), policy=eager())
    assert [stage.ask(how).provider_name for _ in range(21)] == ["a", "a", "b"] * 7
    assert stage.state() == "closed"


@every_way
def test_an_exhausted_account_costs_one_request_until_it_is_over_and_then_one_probe(how):
    spent = QuotaExhausted("spent")
    stage = Stage(Player("a", spent, spent, "fine"), Player("b"), policy=eager())
    assert [stage.ask(how).provider_name for _ in range(20)] == ["b"] * 20
    assert len(stage.players[0].requests) == 1
    stage.clock.advance(300)
    assert [stage.ask(how).provider_name for _ in range(20)] == ["b"] * 20
    assert len(stage.players[0].requests) == 2
    stage.clock.advance(600)
    assert stage.ask(how).provider_name == "a"
    assert stage.state() == "closed"


@every_way
def test_a_refused_key_costs_one_request_until_somebody_may_have_changed_it(how):
    refused = AuthenticationFailed("wrong key")
    stage = Stage(Player("a", refused, refused, "fine"), Player("b"), policy=eager())
    assert [stage.ask(how).provider_name for _ in range(20)] == ["b"] * 20
    assert len(stage.players[0].requests) == 1
    assert isinstance(stage.ask(how).attempts[0].failure, NeedsAttention)
    stage.clock.advance(30)
    assert stage.ask(how).provider_name == "b"
    stage.clock.advance(59)
    assert stage.ask(how).attempts[0].outcome == "skipped"
    stage.clock.advance(1)
    assert stage.ask(how).provider_name == "a"
    assert stage.state() == "closed"


@every_way
def test_the_only_target_is_asked_though_its_key_was_refused_a_moment_ago_and_at_once(how):
    stage = Stage(Player("a", AuthenticationFailed("wrong key"), "fine"), policy=eager())
    assert not stage.ask(how).success
    assert record(stage.ask(how)) == [("a", "skipped"), ("a", "succeeded")]
    assert stage.clock.waits == []


@every_way
def test_the_primary_serves_again_after_its_open_interval(how):
    """I22: one probe, itself an answer to a caller."""
    stage = Stage(Player("a", *[DOWN] * 8, "fine"), Player("b"), policy=eager(quick_retries=0))
    for _ in range(8):
        stage.ask(how)
    stage.clock.advance(4.9)
    assert stage.ask(how).provider_name == "b"
    stage.clock.advance(0.1)
    states = []
    for _ in range(2):
        response = stage.ask(how)
        assert record(response)[-1] == ("a", "succeeded")
        states.append((response.attempts[-1].breaker, stage.state()))
    assert states == [("half-open", "closed"), ("closed", "closed")]


HERD = 50


def herd_of():
    """A factory whose primary is down and about to be probed, and the primary."""
    now = [0.0]
    store = InMemoryHealthStore(lambda: now[0])
    first, second = Player("a", DOWN), Player("b")
    factory = LLMFactory(first, [second], settings={}, extensions=[], policy=eager(), health_store=store)
    for _ in range(20):
        factory.generate_content("hello")
    assert len(first.requests) == 8
    first.lines = ((0.05, DOWN),)
    now[0] = 31.0
    return factory, first


def test_a_herd_of_threads_sends_one_probe():
    factory, first = herd_of()
    with ThreadPoolExecutor(HERD) as pool:
        responses = list(pool.map(lambda _: factory.generate_content("hello"), range(HERD)))
    assert all(response.provider_name == "b" for response in responses)
    assert len(first.requests) == 9
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
    assert len(first.requests) == 9
    skipped = [response.attempts[0] for response in responses if response.attempts[0].outcome == "skipped"]
    assert len(skipped) == HERD - 1
    assert {attempt.breaker for attempt in skipped} <= {"half-open", "open"}
    assert "its probe is under way" in skipped[0].reason


@every_way
def test_where_everybody_rests_each_is_asked_all_the_same_the_one_first_that_is_free_soonest(how):
    policy = eager(max_retries=0)
    stage = Stage(Player("a", DOWN), Player("b", DOWN), policy=policy)
    for number in range(8):
        stage.ask(how)
        stage.clock.advance(1.0 if number == 6 else 0.0)
    assert (stage.state(0), stage.state(1)) == ("open", "open")
    stage.players[1].lines = ("fine",)
    asked = [len(player.requests) for player in stage.players]
    response = stage.ask(how)
    assert record(response) == [("a", "skipped"), ("b", "skipped"), ("a", "failed"), ("b", "succeeded")]
    forced = response.attempts[2]
    assert forced.reason == "no other target is left, this one is free soonest"
    assert (forced.breaker, forced.number) == ("open", 1)
    assert [len(player.requests) for player in stage.players] == [asked[0] + 1, asked[1] + 1]
    assert (stage.state(0), stage.state(1)) == ("open", "open")  # what comes of it is no probe
    assert stage.clock.waits == []


@every_way
def test_one_that_rests_is_asked_before_a_call_fails(how):
    stage = Stage(Player("a", *[DOWN] * 8, "fine"), Player("b", *["fine"] * 8, DOWN), policy=eager(max_retries=0))
    for _ in range(8):
        stage.ask(how)
    response = stage.ask(how)
    assert record(response) == [("a", "skipped"), ("b", "failed"), ("a", "succeeded")]
    assert stage.clock.waits == []


@every_way
def test_a_target_that_rests_is_asked_once_and_not_retried(how):
    stage = Stage(Player("a", DOWN), policy=eager(max_retries=5, retry_reserve=100, quick_retries=0))
    for _ in range(8):
        stage.ask(how, max_retries=0)
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
    assert len(stage.players[0].requests) == 8
    assert response.attempts[-1].decision == "no retry: the circuit is open"


@every_way
def test_without_a_breaker_a_dead_provider_is_asked_for_ever(how):
    stage = Stage(Player("a", DOWN), Player("b"), policy=eager(breaker=False, quick_retries=0))
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
    budget = {"retry_reserve": 0.5, "retry_budget": 0.1}
    stage = Stage(Player("a", DOWN), policy=eager(breaker=False, retry_delay=0, quick_retries=0, **budget))
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


def test_patient_and_eager_differ_as_the_doctrine_says():
    """429s with a hint and a healthy backup: both switch at once, and only the eager one remembers."""
    for policy, asked in ((Policy.patient(), 5), (Policy.eager(), 3)):
        stage = Stage(Player("a", RateLimited("429", retry_after=30)), Player("b"), policy=policy)
        for _ in range(5):
            assert stage.ask().provider_name == "b"
        assert len(stage.players[0].requests) == asked
        assert stage.clock.waits == []
    assert replace(Policy.eager(), switch_first=False).preset is None
