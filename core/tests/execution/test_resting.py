"""Targets that rest: who is waited for where nobody else is left, who is asked all the same, and who is not."""

from dataclasses import replace

import pytest
from timed import WAYS, Player, Stage, record

from understudy import AllProvidersFailed, Limits, Policy
from understudy.errors import Overloaded, RateLimited, ServerError, Timeout
from understudy.health import InMemoryHealthStore, Lease

DOWN = ServerError("down")
EXACT = {"jitter": "none", "breaker_jitter": 0.0}
every_way = pytest.mark.parametrize("how", WAYS)
every_policy = pytest.mark.parametrize(
    "policy", [Policy(max_delay=60), Policy.eager(max_delay=60, **EXACT)], ids=["patient", "eager"]
)


@every_way
@every_policy
def test_a_limit_of_ones_own_is_waited_for_where_nobody_else_is_left(how, policy):
    stage = Stage(Player("a"), limits={"a": Limits(requests_per_minute=2)}, policy=policy)
    assert [stage.ask(how).success for _ in range(5)] == [True] * 5
    assert stage.clock.waits == [61, 61]
    times = stage.players[0].times
    assert all(sum(at - 60 < other <= at for other in times) <= 2 for at in times)


@every_way
def test_the_wait_is_in_the_record(how):
    stage = Stage(Player("a"), limits={"a": Limits(requests_per_minute=1)}, policy=Policy())
    stage.ask(how)
    response = stage.ask(how)
    assert record(response) == [("a", "skipped"), ("a", "succeeded")]
    assert response.attempts[1].reason == "free again after limit reached (1 requests a minute), back in 61 s"
    assert (response.attempts[1].wait, response.attempts[1].number) == (61, 1)


@every_way
@every_policy
def test_no_limit_is_waited_for_beside_a_target_that_answers(how, policy):
    stage = Stage(Player("a"), Player("b"), limits={"a": Limits(requests_per_minute=1)}, policy=policy)
    assert [stage.ask(how).provider_name for _ in range(3)] == ["a", "b", "b"]
    assert stage.clock.waits == []


@every_way
@every_policy
def test_the_one_with_the_shortest_rest_is_waited_for(how, policy):
    stage = Stage(
        Player("a"), Player("b"), limits={name: Limits(requests_per_minute=1) for name in "ab"}, policy=policy
    )
    stage.ask(how)
    stage.clock.advance(20)
    stage.ask(how)
    stage.clock.advance(10)
    assert record(stage.ask(how)) == [("a", "skipped"), ("b", "skipped"), ("a", "succeeded")]
    assert stage.clock.waits == [31]


@every_way
@pytest.mark.parametrize(
    ("limits", "more"),
    [
        (Limits(requests_per_minute=1), {"max_retries": 0}),
        (Limits(requests_per_minute=1), {"deadline": 60}),
        (Limits(requests_per_minute=1), {"policy": Policy(max_delay=59)}),
        (Limits(tokens_per_minute=50), {}),
    ],
    ids=["no retries", "a deadline", "a short longest wait", "too large for the limit"],
)
def test_a_limit_is_not_waited_for_beyond_what_the_caller_allows(how, limits, more):
    stage = Stage(Player("a"), limits={"a": limits}, policy=Policy())
    stage.ask(how, max_tokens=40)
    response = stage.ask(how, max_tokens=400 if limits.tokens_per_minute else 40, **more)
    assert not response.success
    assert stage.clock.waits == []
    assert len(stage.players[0].requests) == 1
    assert isinstance(response.failure, AllProvidersFailed)
    assert response.error.startswith("All LLM providers failed: [a: limit reached")


class FullStore(InMemoryHealthStore):
    """Somebody else takes whatever becomes free, again and again."""

    def take(self, target, claim):
        return Lease(False, free_in=10.0, reason="1 requests a minute")


@every_way
@every_policy
def test_a_limit_is_waited_for_as_long_as_any_wait_may_take(how, policy):
    stage = Stage(Player("a"), policy=policy, health_store=FullStore())
    response = stage.ask(how, max_retries=2)
    assert record(response) == [("a", "skipped")] * 7
    assert stage.clock.waits == [10] * 6


@every_way
@every_policy
def test_a_cooldown_is_waited_for_where_nobody_else_is_left(how, policy):
    policy = replace(policy, quota_cooldown=True, quota_calls=1)
    stage = Stage(Player("a", RateLimited("429", retry_after=7), "fine"), policy=policy)
    assert not stage.ask(how, max_retries=0).success
    assert stage.state() == "cooling"
    assert record(stage.ask(how)) == [("a", "skipped"), ("a", "succeeded")]
    assert stage.clock.waits == [7]
    assert stage.state() == "closed"


@every_way
def test_a_long_cooldown_is_not_waited_for_but_not_the_end_either(how):
    policy = Policy.eager(quota_calls=1, longest_hint=300, **EXACT)
    stage = Stage(Player("a", RateLimited("429", retry_after=30), "fine"), policy=policy)
    assert not stage.ask(how).success
    response = stage.ask(how)
    assert record(response) == [("a", "skipped"), ("a", "succeeded")]
    assert response.attempts[1].reason == "no other target is left, this one is free soonest"
    assert stage.clock.waits == []


@every_way
@every_policy
def test_a_failure_of_its_own_is_not_hidden_by_a_limit(how, policy):
    """A retry that finds the limit reached leaves the reason of the call what it was."""
    stage = Stage(Player("a", Timeout("slow")), limits={"a": Limits(requests_per_minute=1)}, policy=policy)
    response = stage.ask(how, deadline=30)
    assert [(a.outcome, type(a.failure).__name__) for a in response.attempts] == [
        ("failed", "Timeout"),
        ("skipped", "LimitReached"),
    ]
    assert response.error == "All LLM providers failed: [a: timeout]"


@every_way
def test_a_patient_call_comes_back_to_a_target_that_was_only_skipped(how):
    stage = Stage(
        Player("a"), Player("b", DOWN), limits={"a": Limits(requests_per_minute=1)}, policy=Policy(retry_delay=8)
    )
    stage.ask(how)
    response = stage.ask(how, max_retries=2)
    assert [(a.target, a.outcome) for a in response.attempts] == [
        ("a", "skipped"),
        ("b", "failed"),
        ("b", "failed"),
        ("b", "failed"),
        ("a", "succeeded"),
    ]
    assert stage.clock.waits == [8, 16, 37]


# ---- targets that cannot answer at all ----


@pytest.mark.parametrize("how", ["sync", "async"])  # a stream has shorter times of its own
def test_a_target_without_its_key_takes_no_time_from_the_others(how):
    policy = Policy.eager(deadline=20, hedge_after=None, **EXACT)
    stage = Stage(Player("a", Overloaded("busy")), Player("b"), policy=policy)
    stage.players[1].unavailable_reason = lambda: "no key"
    stage.ask(how, max_retries=0)
    assert stage.players[0].requests[0].timeout == 20
    stage.players[1].unavailable_reason = lambda: None
    stage.ask(how, max_retries=0)
    assert stage.players[0].requests[1].timeout == pytest.approx(20 * 2 / 3)
