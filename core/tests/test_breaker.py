"""The circuit breaker: what opens it, what closes it, and what must not."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy import Policy
from understudy.breaker import TRANSITIONS, Breaker, BreakerState, Effect, Signal

CLOSED, OPEN, COOLING, HALF_OPEN = (
    BreakerState.CLOSED,
    BreakerState.OPEN,
    BreakerState.COOLING,
    BreakerState.HALF_OPEN,
)
EAGER, PATIENT = Policy.eager(breaker_jitter=0.0), Policy.patient(breaker_jitter=0.0)
LEASE = 61.0


def tell(breaker, effect, now, call=1, policy=EAGER, *, probe=0, generation=None, hint=None, draw=0.5):
    generation = breaker.generation if generation is None else generation
    breaker.record(effect, now, call=call, generation=generation, probe=probe, policy=policy, draw=draw, hint=hint)


def fail(breaker, times, now=0.0, policy=EAGER, calls=None, step=0.1):
    """Have so many attempts fail, of as many distinct calls or of those given in turn; return the time after them."""
    for number in range(times):
        tell(breaker, Effect.FAILURE, now, calls[number % len(calls)] if calls else number, policy)
        now += step
    return now


def opened(policy=EAGER):
    """A breaker that has just opened at 0 seconds."""
    breaker = Breaker()
    fail(breaker, policy.breaker_failures, policy=policy, step=0.0)
    assert breaker.state is OPEN
    return breaker


def probe(breaker, now, effect, policy=EAGER, **more):
    assert breaker.admit(now) == 0.0
    tell(breaker, effect, now, policy=policy, probe=breaker.send_probe(now, LEASE), **more)


# ---- what opens it ----


@pytest.mark.parametrize("policy", [EAGER, PATIENT])
def test_failures_in_a_row_open_it_at_the_tenth(policy):
    breaker = Breaker()
    fail(breaker, 9, policy=policy, step=40.0)  # too slow for the share in the window
    assert breaker.state is CLOSED
    tell(breaker, Effect.FAILURE, 300.0, 99, policy)
    assert (breaker.state, breaker.until, breaker.trips) == (OPEN, 330.0, 1)
    assert breaker.admit(329.5) == 0.5
    assert breaker.admit(330.0) == 0.0


def test_failures_longer_apart_than_the_memory_are_not_in_a_row():
    breaker = Breaker()
    fail(breaker, 30, step=34.0)  # ten of them take 306 s
    assert breaker.state is CLOSED


def test_a_success_ends_the_row():
    breaker = Breaker()
    now = fail(breaker, 9, step=31.0)
    tell(breaker, Effect.SUCCESS, now)
    fail(breaker, 9, now, step=31.0)
    assert breaker.state is CLOSED


def test_half_of_ten_attempts_in_the_window_open_it():
    breaker = Breaker()
    for number in range(5):
        tell(breaker, Effect.SUCCESS, number, number)
    fail(breaker, 4, 5.0)
    assert breaker.state is CLOSED
    tell(breaker, Effect.FAILURE, 10.0, 9)
    assert breaker.state is OPEN


def test_a_smaller_share_does_not_open_it():
    breaker = Breaker()
    for number in range(200):
        effect = Effect.FAILURE if number % 5 in (0, 2) else Effect.SUCCESS
        tell(breaker, effect, number / 10, number)
    assert breaker.state is CLOSED
    assert breaker.failures(20.0, EAGER) == 80


def test_what_is_older_than_the_window_does_not_count():
    breaker = Breaker()
    fail(breaker, 8, 0.0)
    tell(breaker, Effect.SUCCESS, 1.0)  # so that they are not in a row
    for now in (31.5, 32.0):
        tell(breaker, Effect.FAILURE, now, int(now * 10))
    assert breaker.state is CLOSED
    assert breaker.failures(32.0, EAGER) == 2


@pytest.mark.parametrize("policy", [EAGER, PATIENT])
def test_fewer_distinct_calls_than_the_policy_wants_never_open_it(policy):
    breaker = Breaker()
    few = list(range(policy.breaker_requests - 1))
    fail(breaker, 200, policy=policy, calls=few)
    assert breaker.state is CLOSED
    tell(breaker, Effect.FAILURE, 20.1, 77, policy)
    assert breaker.state is OPEN


def test_distinct_calls_from_before_the_row_do_not_count():
    """One poisonous prompt that is retried opens nothing, though others had failed before the last success."""
    breaker = Breaker()
    now = fail(breaker, 5, 0.0, calls=[1, 2, 3])
    tell(breaker, Effect.SUCCESS, now)
    fail(breaker, 40, now + 31, calls=[7], step=1.0)
    assert breaker.state is CLOSED


@pytest.mark.parametrize("effect", [Effect.ALIVE, Effect.NOTHING])
@pytest.mark.parametrize("policy", [EAGER, PATIENT, Policy.eager(breaker=False)])
def test_what_says_nothing_of_its_health_changes_nothing(effect, policy):
    breaker = Breaker()
    fail(breaker, 9, policy=policy, step=0.0)
    for call in range(100):
        tell(breaker, effect, 0.0, 100 + call, policy)
    assert (breaker.state, breaker.generation) == (CLOSED, 0)


def test_switched_off_it_never_opens():
    breaker = Breaker()
    fail(breaker, 500, policy=Policy.eager(breaker=False))
    assert (breaker.state, breaker.generation) == (CLOSED, 0)


# ---- half-open ----


def test_two_probes_one_after_the_other_close_it():
    breaker = opened()
    probe(breaker, 30.0, Effect.SUCCESS)
    assert breaker.state is HALF_OPEN
    probe(breaker, 30.5, Effect.SUCCESS)
    assert (breaker.state, breaker.trips, breaker.failures(30.5, EAGER)) == (CLOSED, 0, 0)
    fail(breaker, 9, 31.0)
    assert breaker.state is CLOSED  # what was before is forgotten


def test_while_a_probe_is_under_way_nobody_else_is_let_in():
    breaker = opened()
    assert breaker.admit(30.0) == 0.0
    token = breaker.send_probe(30.0, LEASE)
    assert breaker.admit(40.0) == 51.0
    tell(breaker, Effect.SUCCESS, 41.0, probe=token)
    assert breaker.admit(41.0) == 0.0


def test_a_failed_probe_opens_it_for_longer_each_time():
    breaker, now, seconds = opened(), 0.0, []
    for _ in range(12):
        seconds.append(breaker.until - now)
        now = breaker.until
        probe(breaker, now, Effect.FAILURE)
    assert seconds == [*range(30, 300, 30), 300, 300, 300]


def test_one_failure_is_enough_even_after_a_success():
    breaker = opened()
    probe(breaker, 30.0, Effect.SUCCESS)
    probe(breaker, 31.0, Effect.FAILURE)
    assert (breaker.state, breaker.until) == (OPEN, 91.0)
    probe(breaker, 91.0, Effect.SUCCESS)
    assert breaker.state is HALF_OPEN  # the success from before does not count
    probe(breaker, 92.0, Effect.SUCCESS)
    assert breaker.state is CLOSED


def test_after_it_was_closed_the_first_opening_is_short_again():
    breaker = opened()
    probe(breaker, 30.0, Effect.FAILURE)
    for now in (90.0, 91.0):
        probe(breaker, now, Effect.SUCCESS)
    fail(breaker, 10, 100.0, step=0.0)
    assert breaker.until == 130.0


def test_jitter_makes_it_longer_by_a_tenth_at_most():
    breaker = Breaker()
    for call in range(10):
        tell(breaker, Effect.FAILURE, 0.0, call, Policy.eager(), draw=0.5)
    assert breaker.until == pytest.approx(31.5)


@pytest.mark.parametrize("effect", [Effect.ALIVE, Effect.SUCCESS])
def test_a_probe_that_is_answered_counts_as_alive(effect):
    breaker = opened()
    probe(breaker, 30.0, effect)
    probe(breaker, 30.0, effect)
    assert breaker.state is CLOSED


@pytest.mark.parametrize("effect", [Effect.RATE_LIMITED, Effect.EXHAUSTED])
def test_a_quota_reply_to_a_probe_counts_as_alive_where_nothing_cools(effect):
    breaker = opened(PATIENT)
    probe(breaker, 30.0, effect, PATIENT, hint=45.0)
    probe(breaker, 30.0, effect, PATIENT, hint=45.0)
    assert breaker.state is CLOSED


def test_a_quota_reply_to_a_probe_cools_it_where_that_is_the_policy():
    breaker = opened()
    probe(breaker, 30.0, Effect.RATE_LIMITED, hint=45.0)
    assert (breaker.state, breaker.until) == (COOLING, 75.0)
    probe(breaker, 75.0, Effect.SUCCESS)  # one is enough: a quota comes back whole
    assert breaker.state is CLOSED


def test_a_probe_of_which_nothing_was_learnt_makes_the_next_request_the_probe():
    breaker = opened()
    probe(breaker, 30.0, Effect.NOTHING)
    assert breaker.state is HALF_OPEN
    assert breaker.admit(30.0) == 0.0
    assert breaker.trips == 1


def test_an_abandoned_probes_lease_ends_and_its_late_outcome_counts_for_nothing():
    breaker = opened()
    breaker.admit(30.0)
    first = breaker.send_probe(30.0, LEASE)
    assert breaker.admit(91.0 - 0.001) > 0
    assert breaker.admit(91.0) == 0.0
    second = breaker.send_probe(91.0, LEASE)
    assert second != first
    tell(breaker, Effect.FAILURE, 92.0, probe=first)
    assert breaker.state is HALF_OPEN
    assert breaker.admit(92.0) > 0  # the second is still under way
    tell(breaker, Effect.FAILURE, 93.0, probe=second)
    assert breaker.state is OPEN


@pytest.mark.parametrize("effect", list(Effect))
def test_only_the_probe_counts_in_half_open(effect):
    """The panic attempt of a call that nobody else can answer, for example."""
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
    assert (breaker.state, breaker.until) == (OPEN, 30.0)


@pytest.mark.parametrize("effect", [Effect.FAILURE, Effect.RATE_LIMITED, Effect.EXHAUSTED, Effect.SUCCESS])
def test_what_began_before_it_opened_says_nothing_once_it_is_closed_again(effect):
    breaker = opened()
    for now in (30.0, 31.0):
        probe(breaker, now, Effect.SUCCESS)
    fail(breaker, 9, 32.0, step=0.0)
    for call in range(20):
        tell(breaker, effect, 32.0, 100 + call, generation=0)
    assert (breaker.state, breaker.failures(32.0, EAGER)) == (CLOSED, 9)
    tell(breaker, Effect.FAILURE, 32.0, 99)
    assert breaker.state is OPEN  # the row was not ended either


# ---- cooldowns ----


def cooled(*effects, policy=EAGER, hint=None):
    """Return the seconds of each cooldown, where each probe is answered by the next effect."""
    breaker, now, seconds = Breaker(), 0.0, []
    for effect in effects:
        if breaker.state is CLOSED:
            tell(breaker, effect, now, policy=policy, hint=hint)
        else:
            probe(breaker, now, effect, policy, hint=hint)
        if breaker.state is not COOLING:
            continue
        seconds.append(breaker.until - now)
        now = breaker.until
    return seconds


LIMITED, EXHAUSTED, SUCCESS = Effect.RATE_LIMITED, Effect.EXHAUSTED, Effect.SUCCESS


def test_without_a_hint_a_rate_limit_cools_twice_as_long_each_time_up_to_a_minute():
    assert cooled(*[LIMITED] * 7) == [5, 10, 20, 40, 60, 60, 60]


def test_an_exhausted_account_cools_for_minutes_up_to_an_hour():
    assert cooled(*[EXHAUSTED] * 6) == [300, 600, 1200, 2400, 3600, 3600]


def test_a_success_begins_anew():
    assert cooled(LIMITED, LIMITED, SUCCESS, LIMITED) == [5, 10, 5]


@pytest.mark.parametrize(("hint", "expected"), [(0.0, 0), (7.5, 7.5), (299, 299), (4000, 300)])
def test_the_vendors_hint_is_kept_within_reason(hint, expected):
    assert cooled(LIMITED, LIMITED, hint=hint) == [expected, expected]


def test_a_longer_cooldown_of_the_policys_own_is_kept():
    assert cooled(*[LIMITED] * 2, policy=Policy.eager(rate_limit_cooldown=90)) == [90, 90]


def test_many_cooldowns_in_a_row_overflow_nothing():
    assert cooled(*[LIMITED] * 2000)[-1] == 60
    assert cooled(*[EXHAUSTED] * 2000)[-1] == 3600


def test_patience_never_cools():
    assert cooled(*[LIMITED, EXHAUSTED] * 10, policy=PATIENT, hint=30) == []


# ---- properties ----

effects = st.sampled_from(list(Effect))
policies = st.builds(
    Policy,
    breaker=st.sampled_from([True, True, True, False]),
    breaker_failures=st.integers(1, 12),
    breaker_rate=st.floats(0.05, 1),
    breaker_window=st.floats(1, 60),
    breaker_requests=st.integers(1, 6),
    breaker_open=st.floats(0, 60),
    breaker_longest=st.floats(0, 300),
    breaker_successes=st.integers(1, 3),
    quota_cooldown=st.booleans(),
)
hints = st.none() | st.floats(0, 1000)
steps = st.tuples(st.floats(0, 40), effects, st.integers(1, 8), hints, st.booleans())


@given(policies, st.lists(steps, max_size=120))
@settings(max_examples=100, deadline=None)
def test_any_history_keeps_the_invariants(policy, history):
    """I11, I13, and that an older generation changes nothing."""
    breaker, now = Breaker(), 0.0
    under_way = []  # (token, generation, lease's end)
    seen = [(breaker.state, breaker.generation)]
    for seconds, effect, call, hint, abandon in history:
        now += seconds
        wait = breaker.admit(now)
        seen.append((breaker.state, breaker.generation))
        assert wait >= 0
        if wait > 0:  # I13: nobody is let in before its time
            if breaker.state is HALF_OPEN:
                assert any(token and end > now for token, generation, end in under_way)
            else:
                assert wait == breaker.until - now
            if effect is not Effect.NOTHING:
                tell(breaker, effect, now, call, policy, hint=hint)  # the panic attempt
                assert breaker.admit(now) == wait
            continue
        token = 0
        if breaker.state is HALF_OPEN:
            live = [end for token, generation, end in under_way if generation == breaker.generation and end > now]
            assert not live  # I11
            token = breaker.send_probe(now, LEASE)
        if abandon:
            under_way.append((token, breaker.generation, now + LEASE))
            continue
        generation = breaker.generation
        tell(breaker, effect, now, call, policy, probe=token, hint=hint)
        seen.append((breaker.state, breaker.generation))
        if breaker.generation != generation:
            before = (breaker.state, breaker.until, breaker.trips, breaker.generation)
            for late in Effect:
                tell(breaker, late, now, 99, policy, generation=generation, probe=token)
            assert before == (breaker.state, breaker.until, breaker.trips, breaker.generation)
        assert breaker.until - now <= max(policy.breaker_longest * 1.1, policy.longest_cooldown)
    # every change of state is one of the table
    for (before, one), (after, other) in pairwise(seen):
        assert other - one in (0, 1)
        if other != one:
            assert after in {to for (come_from, _), to in TRANSITIONS.items() if come_from is before}


@given(policies, st.lists(st.tuples(st.floats(0, 20), effects), max_size=150))
@settings(max_examples=100, deadline=None)
def test_one_call_alone_never_opens_it(policy, history):
    """I18, for every policy that wants more than one."""
    breaker, now = Breaker(), 0.0
    for seconds, effect in history:
        now += seconds
        if breaker.admit(now) > 0:
            continue
        token = breaker.send_probe(now, LEASE) if breaker.state is HALF_OPEN else 0
        tell(breaker, effect, now, 1, policy, probe=token)
        if policy.breaker_requests > 1:
            assert breaker.trips == 0 or token  # a probe may fail; but it was a quota that made it one
        if breaker.state is OPEN and policy.breaker_requests > 1:
            assert token


def test_every_state_is_left_again():
    for state in BreakerState:
        assert {to for (come_from, _), to in TRANSITIONS.items() if come_from is state}
    assert {signal for _, signal in TRANSITIONS} == set(Signal)
