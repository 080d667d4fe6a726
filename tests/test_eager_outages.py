"""The eager policy and every fault, in all four ways of calling, through the real SDKs over sockets.

Beside a healthy backup it waits a moment at most: what failed fast is asked once more, since most blips are over by
then; anything else costs one request. Then the backup is asked, and the record says why.
"""

from fault_matrix import MATRIX
from staging import QUICK, STREAMS, casts, check_call, check_quick_retry, named, ways

from understudy import Policy
from understudy.errors import CircuitOpen, CoolingDown, RateLimited, ServerError
from understudy.testing import no_waiting
from understudy_sandbox import faults

EAGER = Policy.eager()
EXACT = Policy.eager(retry_delay=5, max_delay=60, max_retries=2, jitter="none")  # seconds
SLACK = 1  # seconds besides the attempts themselves: a wait for the vendor would be 30


@casts
@ways
@named(MATRIX)
def test_a_fault_costs_one_request_and_no_wait_or_two_and_a_moment(stage, cast, how, row):
    outcome = row.outcome(cast[0], how in STREAMS)
    call, waits = stage.meet(cast, "eager", how, row.fault, begun=outcome.begun)
    check_call(stage, call, outcome)
    check_quick_retry(call, outcome, waits)
    first, *others = call.attempts
    hint = outcome.hint or 0.0
    decision = f"no retry: the vendor asks for {hint:g} s, more than max_delay" if hint > EAGER.max_delay else ""
    assert (first.decision, first.wait) == (decision, 0.0)
    assert [(one.target, one.number, one.reason, one.wait) for one in others[len(waits) :]] == (
        [(cast[1], 1, f"after {cast[0]}: {first.failure.brief}", 0.0)]
        if outcome.failure is not None and not outcome.final
        else []
    )


@casts
@ways
def test_what_fails_for_a_moment_is_answered_by_the_primary_all_the_same(stage, cast, how):
    stage.open(cast, "eager")
    stage.primary.next(faults.server_error())
    with no_waiting() as waits:
        response = stage.ask(how)
    assert (response.success, response.provider_name, stage.counts) == (True, cast[0], [2, 0])
    assert [(a.number, a.reason, a.outcome, a.wait) for a in response.attempts] == [
        (1, "primary", "failed", 0.0),
        (2, "quick retry after server error", "succeeded", waits[0]),
    ]
    assert QUICK[0] <= waits[0] <= QUICK[1]
    assert len(waits) == 1


@casts
@ways
def test_a_hint_of_30_seconds_delays_nobody(stage, cast, how):
    stage.warm_up(how, *cast)
    stage.open(cast, "eager")
    stage.primary.next(faults.rate_limited(retry_after=30))
    response = stage.ask(how)
    assert response.provider_name == cast[1]
    assert stage.counts == [1, 1]
    assert isinstance(response.attempts[0].failure, RateLimited)
    assert stage.seconds < sum(attempt.seconds for attempt in response.attempts) + SLACK

    response = stage.ask(how)
    assert (response.provider_name, stage.counts) == (cast[0], [2, 1]), "one refusal binds nobody else"


@casts
@ways
def test_a_hint_is_remembered_once_several_calls_were_given_it(stage, cast, how):
    stage.open(cast, "eager")
    stage.primary.always(faults.rate_limited(retry_after=30))
    for call in range(1, EAGER.quota_calls + 1):
        assert stage.ask(how).provider_name == cast[1]
        assert stage.counts == [call, call]

    response = stage.ask(how)
    assert response.provider_name == cast[1]
    assert stage.counts == [EAGER.quota_calls, EAGER.quota_calls + 1]
    skipped, answered = response.attempts
    assert (skipped.target, skipped.outcome, skipped.number, skipped.breaker) == (cast[0], "skipped", 0, "cooling")
    assert isinstance(skipped.failure, CoolingDown)
    assert 0 < skipped.failure.retry_after <= EAGER.longest_hint
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
        (cast[0], 2, "quick retry after server error"),
        (cast[1], 1, f"after {cast[0]}: server error"),
        (cast[1], 2, "quick retry after overloaded"),
        (cast[0], 3, "retry 2 of 2 after server error"),
    ]
    assert (response.success, response.provider_name) == (True, cast[0])
    assert stage.counts == [3, 2]
    first, second, later = waits
    assert [attempt.wait for attempt in response.attempts] == [0.0, first, 0.0, second, later]
    assert QUICK[0] <= min(first, second) <= max(first, second) <= QUICK[1]
    assert 0 < EXACT.backoff(0) - later < 4


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
    first, second, *later = waits
    assert [attempt.wait for attempt in response.attempts] == [0.0, first, 0.0, second, *later]


@ways
def test_only_then_time_is_spent_on_waiting(stage, how):
    stage.open(["gemini", "claude"], Policy.eager(retry_delay=0.2, jitter="none", quick_retries=0))
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
def test_a_quota_is_come_back_to_only_where_nobody_else_is_left(stage, cast, how):
    stage.open(cast, EXACT)
    stage.primary.always(faults.rate_limited())
    stage.fallback.always(faults.server_error())
    with no_waiting() as waits:
        response = stage.ask(how)
    assert not response.success
    assert [(a.target, a.number, a.reason) for a in response.attempts] == [
        (cast[0], 1, "primary"),
        (cast[1], 1, f"after {cast[0]}: quota exceeded"),
        (cast[1], 2, "quick retry after server error"),
        (cast[0], 2, "free again after quota exceeded"),
        (cast[1], 3, "retry 2 of 2 after server error"),
        (cast[0], 3, "free again after quota exceeded"),
    ]
    assert stage.counts == [3, 3]
    assert [attempt.wait for attempt in response.attempts] == [0.0, 0.0, *waits]


@casts
@ways
def test_twenty_calls_into_an_outage(stage, cast, how):
    """The circuit opens at the eighth failure in a row: the first call asks twice, and what is not well only once."""
    stage.open(cast, "eager")
    stage.primary.always(faults.server_error())
    with no_waiting() as waits:
        responses = [stage.ask(how) for _ in range(20)]
    assert {response.provider_name for response in responses} == {cast[1]}
    assert stage.counts == [8, 20]
    assert waits == [responses[0].attempts[1].wait]
    firsts = [type(response.attempts[0].failure) for response in responses]
    assert firsts == [ServerError] * 7 + [CircuitOpen] * 13
