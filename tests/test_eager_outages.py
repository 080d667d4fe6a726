"""The eager policy and every fault, in all four ways of calling, through the real SDKs over sockets.

Beside a healthy backup it never waits: one request to the primary, one to the backup, and the record says why.
"""

from fault_matrix import MATRIX
from staging import STREAMS, casts, check_call, named, ways

from understudy import CircuitOpen, CoolingDown, Policy, RateLimited, ServerError
from understudy.testing import no_waiting
from understudy_sandbox import faults

EXACT = Policy.eager(retry_delay=5, max_delay=60, max_retries=2, jitter="none")  # seconds
SLACK = 1  # seconds besides the attempts themselves: a wait for the vendor would be 30


@casts
@ways
@named(MATRIX)
def test_every_fault_costs_one_request_and_no_wait(stage, cast, how, row):
    outcome = row.outcome(cast[0], how in STREAMS)
    call, waits = stage.meet(cast, "eager", how, row.fault, begun=outcome.begun)
    check_call(stage, call, outcome)
    assert waits == []
    first, *others = call.attempts
    assert (first.decision, first.wait) == ("", 0.0)
    assert [(one.target, one.number, one.reason, one.wait) for one in others] == (
        [(cast[1], 1, f"after {cast[0]}: {first.failure.brief}", 0.0)]
        if outcome.failure is not None and not outcome.final
        else []
    )


@casts
@ways
def test_a_hint_of_30_seconds_delays_nobody_and_is_remembered(stage, cast, how):
    stage.warm_up(how, *cast)
    stage.open(cast, "eager")
    stage.primary.always(faults.rate_limited(retry_after=30))
    response = stage.ask(how)
    assert response.provider_name == cast[1]
    assert stage.counts == [1, 1]
    assert isinstance(response.attempts[0].failure, RateLimited)
    assert stage.seconds < sum(attempt.seconds for attempt in response.attempts) + SLACK

    response = stage.ask(how)
    assert response.provider_name == cast[1]
    assert stage.counts == [1, 2]
    skipped, answered = response.attempts
    assert (skipped.target, skipped.outcome, skipped.number, skipped.breaker) == (cast[0], "skipped", 0, "cooling")
    assert isinstance(skipped.failure, CoolingDown)
    assert 29 < skipped.failure.retry_after <= 30
    assert skipped.reason.startswith("skipped: cooling down, back in ")
    assert (answered.wait, answered.reason) == (0.0, f"after {cast[0]}: {skipped.failure.brief}")


@casts
@ways
def test_when_both_are_in_trouble_each_is_come_back_to(stage, cast, how):
    stage.open(cast, EXACT)
    stage.primary.next(faults.server_error(), times=2)
    stage.fallback.always(faults.overloaded())
    with no_waiting() as waits:
        response = stage.ask(how)
    assert [(a.target, a.number, a.reason) for a in response.attempts] == [
        (cast[0], 1, "primary"),
        (cast[1], 1, f"after {cast[0]}: server error"),
        (cast[0], 2, "retry 1 of 2 after server error"),
        (cast[1], 2, "retry 1 of 2 after overloaded"),
        (cast[0], 3, "retry 2 of 2 after server error"),
    ]
    assert (response.success, response.provider_name) == (True, cast[0])
    assert stage.counts == [3, 2]
    assert [attempt.wait for attempt in response.attempts] == [0.0, 0.0, *waits]
    assert all(0 < EXACT.backoff(retry) - wait < 4 for retry, wait in zip([0, 0, 1], waits, strict=True))


@casts
@ways
def test_when_both_stay_in_trouble_each_is_asked_as_often_as_the_policy_says(stage, cast, how):
    stage.open(cast, EXACT)
    stage.primary.always(faults.server_error())
    stage.fallback.always(faults.overloaded())
    with no_waiting() as waits:
        response = stage.ask(how)
    assert response.error == f"All LLM providers failed: [{cast[0]}: server error, {cast[1]}: overloaded]"
    assert stage.counts == [3, 3]
    assert [attempt.wait for attempt in response.attempts] == [0.0, 0.0, *waits]


@ways
def test_only_then_time_is_spent_on_waiting(stage, how):
    stage.open(["gemini", "claude"], Policy.eager(retry_delay=0.2, jitter="none"))
    stage.warm_up(how, "gemini", "claude")
    stage.primary.next(faults.server_error())
    stage.fallback.next(faults.overloaded())
    response = stage.ask(how)
    assert response.provider_name == "gemini"
    waits = [attempt.wait for attempt in response.attempts]
    assert waits == [0.0, 0.0, waits[2]]
    assert 0 < waits[2] <= 0.2 <= stage.seconds < 0.2 + response.attempts[2].seconds + SLACK


@casts
@ways
def test_a_quota_is_not_come_back_to_in_the_same_call(stage, cast, how):
    stage.open(cast, EXACT)
    stage.primary.always(faults.rate_limited())
    stage.fallback.always(faults.server_error())
    with no_waiting() as waits:
        response = stage.ask(how)
    assert not response.success
    assert stage.counts == [1, 3]
    assert waits == [5, 10]


@casts
@ways
def test_twenty_calls_into_an_outage(stage, cast, how):
    stage.open(cast, "eager")
    stage.primary.always(faults.server_error())
    with no_waiting() as waits:
        responses = [stage.ask(how) for _ in range(20)]
    assert {response.provider_name for response in responses} == {cast[1]}
    assert waits == []
    assert stage.counts == [10, 20]
    firsts = [type(response.attempts[0].failure) for response in responses]
    assert firsts == [ServerError] * 10 + [CircuitOpen] * 10
