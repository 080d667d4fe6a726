"""The circuit breaker after it has opened: what its probes change, and what comes after it was closed too soon."""

import pytest
from breakers import CLOSED, COOLING, EAGER, HALF_OPEN, LEASE, OPEN, fail, opened, probe, tell

from understudy import Policy
from understudy.errors import Effect
from understudy.health.breaker import Breaker


def test_one_answered_probe_closes_it():
    breaker = opened()
    probe(breaker, 5.0, Effect.SUCCESS)
    assert (breaker.state, breaker.trips, breaker.failures(5.0, EAGER)) == (CLOSED, 0, 0)
    fail(breaker, 7, 40.0)
    assert breaker.state is CLOSED  # what was before is forgotten


def test_a_policy_may_want_more_probes_than_one():
    policy = Policy.eager(breaker_jitter=0.0, breaker_successes=2)
    breaker = opened(policy)
    probe(breaker, 5.0, Effect.SUCCESS, policy)
    assert breaker.state is HALF_OPEN
    probe(breaker, 5.5, Effect.FAILURE, policy)
    assert breaker.state is OPEN
    probe(breaker, breaker.until, Effect.SUCCESS, policy)
    assert breaker.state is HALF_OPEN  # the success from before does not count
    probe(breaker, 30.0, Effect.SUCCESS, policy)
    assert breaker.state is CLOSED


def test_while_a_probe_is_under_way_nobody_else_is_let_in():
    breaker = opened()
    assert breaker.admit(30.0) == 0.0
    token = breaker.send_probe(30.0, LEASE)
    assert breaker.admit(40.0) == 51.0
    tell(breaker, Effect.SUCCESS, 41.0, probe=token)
    assert breaker.admit(41.0) == 0.0


def test_a_failed_probe_opens_it_for_twice_as_long_but_never_for_long():
    breaker, now, seconds = opened(), 0.0, []
    for _ in range(5):
        seconds.append(breaker.until - now)
        now = breaker.until
        probe(breaker, now, Effect.FAILURE)
    assert seconds == [5.0, 8.5, 8.5, 8.5, 8.5]
    policy = Policy.eager(breaker_jitter=0.0, breaker_longest=60.0)
    breaker, now, seconds = opened(policy), 0.0, []
    for _ in range(6):
        seconds.append(breaker.until - now)
        now = breaker.until
        probe(breaker, now, Effect.FAILURE, policy)
    assert seconds == [5, 10, 20, 40, 60, 60]


def test_many_failed_probes_in_a_row_overflow_nothing():
    breaker = opened()
    for _ in range(2000):
        probe(breaker, breaker.until, Effect.FAILURE)
    assert breaker.trips == 2001
    assert breaker.until <= 2001 * 8.5


def test_after_it_was_closed_the_first_opening_is_short_again():
    breaker = opened()
    probe(breaker, 5.0, Effect.FAILURE)
    probe(breaker, 20.0, Effect.SUCCESS)
    fail(breaker, 8, 100.0, step=0.0)
    assert breaker.until == 105.0


def test_jitter_makes_it_longer_by_a_tenth_at_most():
    breaker = Breaker()
    for call in range(8):
        tell(breaker, Effect.FAILURE, 0.0, call, Policy.eager(), draw=0.5)
    assert breaker.until == pytest.approx(5.25)


@pytest.mark.parametrize("effect", [Effect.ALIVE, Effect.REPLIED, Effect.SUCCESS])
def test_a_probe_that_is_answered_counts_as_alive(effect):
    breaker = opened()
    probe(breaker, 30.0, effect)
    assert breaker.state is CLOSED


@pytest.mark.parametrize("effect", [Effect.RATE_LIMITED, Effect.EXHAUSTED, Effect.REFUSED])
def test_a_refusal_of_a_probe_counts_as_alive_where_nothing_cools(effect):
    policy = Policy(refusal_cooldown=None)
    breaker = opened(policy)
    probe(breaker, 30.0, effect, policy, hint=45.0)
    assert breaker.state is CLOSED


def test_a_quota_reply_to_a_probe_cools_it_where_that_is_the_policy():
    breaker = opened()
    probe(breaker, 30.0, Effect.RATE_LIMITED, hint=7.0)
    assert (breaker.state, breaker.until) == (COOLING, 37.0)
    assert breaker.state_at(37.0) is HALF_OPEN  # it was not well before: one request finds out
    probe(breaker, 37.0, Effect.SUCCESS)
    assert breaker.state is CLOSED


def test_a_probe_of_which_nothing_was_learnt_makes_the_next_request_the_probe():
    breaker = opened()
    probe(breaker, 30.0, Effect.NOTHING)
    assert breaker.state is HALF_OPEN
    assert breaker.admit(30.0) == 0.0
    assert breaker.trips == 1


def overtaken(policy=EAGER):
    """A breaker whose first probe takes longer than its lease, so that a second is under way; and both tokens."""
    breaker = opened(policy)
    breaker.admit(30.0)
    first = breaker.send_probe(30.0, LEASE)
    assert breaker.admit(91.0 - 0.001) > 0
    assert breaker.admit(91.0) == 0.0
    second = breaker.send_probe(91.0, LEASE)
    assert second != first
    return breaker, first, second


@pytest.mark.parametrize("effect", [effect for effect in Effect if effect is not Effect.SUCCESS])
def test_an_overtaken_probe_that_is_not_answered_counts_for_nothing(effect):
    breaker, first, second = overtaken()
    tell(breaker, effect, 92.0, probe=first)
    assert breaker.state is HALF_OPEN
    assert breaker.admit(92.0) > 0  # the second is still under way
    tell(breaker, Effect.FAILURE, 93.0, probe=second)
    assert breaker.state is OPEN


def test_an_overtaken_probe_that_is_answered_closes_it_all_the_same():
    breaker, first, second = overtaken()
    tell(breaker, Effect.SUCCESS, 92.0, probe=first)
    assert breaker.state is CLOSED
    tell(breaker, Effect.FAILURE, 93.0, probe=second, generation=breaker.generation - 1)
    assert (breaker.state, breaker.failures(93.0, EAGER)) == (CLOSED, 0)


def test_an_overtaken_probe_that_is_answered_lets_nobody_in_beside_the_one_under_way():
    policy = Policy.eager(breaker_jitter=0.0, breaker_successes=2)
    breaker, first, second = overtaken(policy)
    tell(breaker, Effect.SUCCESS, 92.0, probe=first, policy=policy)
    assert (breaker.state, breaker.admit(92.0)) == (HALF_OPEN, 60.0)
    tell(breaker, Effect.SUCCESS, 93.0, probe=second, policy=policy)
    assert breaker.state is CLOSED


@pytest.mark.parametrize("effect", list(Effect))
def test_only_the_probe_counts_in_half_open(effect):
    """Not the attempt of a call that nobody else can answer, for example."""
    breaker = opened()
    breaker.admit(30.0)
    for _ in range(20):
        tell(breaker, effect, 30.0)
    assert breaker.state is HALF_OPEN


@pytest.mark.parametrize("effect", list(Effect))
def test_while_it_is_open_no_outcome_counts(effect):
    breaker = opened()
    for _ in range(20):
        tell(breaker, effect, 1.0)
    assert (breaker.state, breaker.until) == (OPEN, 5.0)


@pytest.mark.parametrize(
    "effect", [Effect.FAILURE, Effect.RATE_LIMITED, Effect.EXHAUSTED, Effect.REFUSED, Effect.SUCCESS]
)
def test_what_began_before_it_opened_says_nothing_once_it_is_closed_again(effect):
    breaker = opened()
    probe(breaker, 5.0, Effect.SUCCESS)
    fail(breaker, 7, 40.0, step=0.0)
    for call in range(20):
        tell(breaker, effect, 40.0, 100 + call, generation=0)
    assert (breaker.state, breaker.failures(40.0, EAGER)) == (CLOSED, 7)
    tell(breaker, Effect.FAILURE, 40.0, 99)
    assert breaker.state is OPEN  # the row was not ended either


def test_it_knows_whether_it_failed_by_not_answering():
    breaker = opened()
    assert not breaker.hangs
    breaker.admit(5.0)
    token = breaker.send_probe(5.0, LEASE)
    tell(breaker, Effect.FAILURE, 6.0, probe=token, late=True)
    assert breaker.hangs
    probe(breaker, 20.0, Effect.FAILURE)
    assert not breaker.hangs


# ---- closed too soon ----


def relapsed():
    """A breaker that was closed at 5 seconds, and opened again at 10 by the second call that failed after that."""
    breaker = opened()
    probe(breaker, 5.0, Effect.SUCCESS)
    tell(breaker, Effect.FAILURE, 9.0, 1)
    assert breaker.state is CLOSED
    tell(breaker, Effect.FAILURE, 10.0, 2)
    assert breaker.state is OPEN
    return breaker


def test_where_it_was_closed_too_soon_two_calls_open_it_for_longer_and_two_probes_close_it():
    breaker = relapsed()
    assert (breaker.trips, breaker.until) == (2, 18.5)
    probe(breaker, 18.5, Effect.SUCCESS)
    assert breaker.state is HALF_OPEN
    probe(breaker, 19.0, Effect.SUCCESS)
    assert breaker.state is CLOSED


def test_a_probe_that_fails_after_a_relapse_leaves_two_to_be_answered():
    breaker = relapsed()
    probe(breaker, 18.5, Effect.FAILURE)
    for now, state in ((30.0, HALF_OPEN), (31.0, CLOSED)):
        probe(breaker, now, Effect.SUCCESS)
        assert breaker.state is state


def test_a_relapse_is_of_the_last_half_minute_and_forgotten_after_it():
    breaker = opened()
    probe(breaker, 5.0, Effect.SUCCESS)
    fail(breaker, 7, 35.0, step=0.0)
    assert breaker.state is CLOSED
    tell(breaker, Effect.FAILURE, 35.0, 99)
    assert (breaker.trips, breaker.until) == (1, 40.0)
    probe(breaker, 40.0, Effect.SUCCESS)
    assert breaker.state is CLOSED


def test_one_call_that_fails_again_and_again_is_no_relapse():
    breaker = opened()
    probe(breaker, 5.0, Effect.SUCCESS)
    fail(breaker, 20, 6.0, calls=[1], step=1.0)
    assert breaker.state is CLOSED


def test_two_failures_among_many_answers_are_no_relapse():
    breaker = opened()
    probe(breaker, 5.0, Effect.SUCCESS)
    for call in range(10):
        tell(breaker, Effect.SUCCESS, 6.0, 10 + call)
    fail(breaker, 2, 7.0)
    assert breaker.state is CLOSED
    fail(breaker, 2, 8.0, calls=[3, 4])  # a quarter of them
    assert breaker.state is OPEN


def test_a_target_that_answers_nobody_opens_it_at_once():
    breaker = Breaker()
    breaker.open_for_silence(100.0, Policy.eager())
    assert (breaker.state, breaker.hangs) == (OPEN, True)
    assert 105.0 <= breaker.until <= 105.5
    breaker = Breaker()
    breaker.open_for_silence(100.0, Policy.eager(breaker=False))
    assert breaker.state is CLOSED
