"""The circuit breaker: what opens it, and what must not."""

from itertools import pairwise

import pytest
from breakers import CLOSED, EAGER, HALF_OPEN, LEASE, OPEN, PATIENT, fail, tell
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy import Policy
from understudy.errors import Effect
from understudy.health.breaker import TRANSITIONS, Breaker, Signal
from understudy.target import BreakerState

# ---- what opens it ----


@pytest.mark.parametrize(("policy", "number"), [(EAGER, 8), (PATIENT, 10)])
def test_failures_in_a_row_open_it(policy, number):
    breaker = Breaker()
    now = fail(breaker, number - 1, policy=policy, step=5.0)  # too slow for the share in the window
    assert breaker.state is CLOSED
    tell(breaker, Effect.FAILURE, now, 99, policy)
    assert (breaker.state, breaker.until, breaker.trips) == (OPEN, now + 5.0, 1)
    assert breaker.admit(now + 4.5) == 0.5
    assert breaker.admit(now + 5.0) == 0.0


def test_a_success_ends_the_row():
    breaker = Breaker()
    now = fail(breaker, 7, step=5.0)
    tell(breaker, Effect.SUCCESS, now)
    now = fail(breaker, 7, now + 31, step=5.0)
    assert breaker.state is CLOSED
    tell(breaker, Effect.FAILURE, now, 99)
    assert breaker.state is OPEN


def test_of_very_many_calls_at_once_more_must_fail_in_a_row():
    """A quarter of those of the last seconds, so that a moment of errors among a thousand calls opens nothing."""
    breaker = Breaker()
    for call in range(1000):
        tell(breaker, Effect.SUCCESS, 0.5, call)
    fail(breaker, 300, 1.0, step=0.0)
    assert breaker.state is CLOSED
    fail(breaker, 40, 1.0, step=0.0)  # 340 of 1340
    assert breaker.state is OPEN


def attempts_until_open(pattern, policy, most=600):
    """Repeat a pattern of failed (F) and answered attempts, ten a second; return how many it took to open it."""
    breaker = Breaker()
    for number in range(most):
        failed = pattern[number % len(pattern)] == "F"
        tell(breaker, Effect.FAILURE if failed else Effect.SUCCESS, number / 10, number, policy)
        if breaker.state is OPEN:
            return number + 1
    return None


@pytest.mark.parametrize(("policy", "pattern", "attempts"), [(EAGER, "...F", 12), (PATIENT, ".F", 10)])
def test_a_share_of_the_attempts_in_the_window_opens_it(policy, pattern, attempts):
    assert attempts_until_open(pattern, policy) == attempts


@pytest.mark.parametrize(("policy", "pattern"), [(EAGER, "....F"), (PATIENT, "..F")])
def test_a_smaller_share_does_not_open_it(policy, pattern):
    assert attempts_until_open(pattern, policy) is None


def test_few_attempts_make_no_share():
    assert attempts_until_open("F..", Policy.eager(breaker_requests=1)) == 10  # the first failure after the eighth


def test_what_is_older_than_the_window_does_not_count():
    breaker = Breaker()
    fail(breaker, 7, 0.0)
    tell(breaker, Effect.SUCCESS, 1.0)  # so that they are not in a row
    for now in (31.5, 32.0):
        tell(breaker, Effect.FAILURE, now, int(now * 10))
    assert breaker.state is CLOSED
    assert breaker.failures(32.0, EAGER) == 2


# ---- little traffic ----


@pytest.mark.parametrize("policy", [EAGER, PATIENT])
def test_where_there_is_little_traffic_three_in_a_row_over_a_minute_open_it(policy):
    breaker = Breaker()
    fail(breaker, 2, policy=policy, step=30.0)
    assert breaker.state is CLOSED
    tell(breaker, Effect.FAILURE, 59.9, 2, policy)
    assert breaker.state is CLOSED  # not yet a minute
    tell(breaker, Effect.FAILURE, 60.0, 3, policy)
    assert (breaker.state, breaker.until) == (OPEN, 65.0)


def test_three_in_a_row_open_nothing_where_there_are_attempts_enough_for_a_share():
    policy = Policy.eager(breaker_jitter=0.0, breaker_failures=8, breaker_rate=1.0, breaker_window=100.0)
    breaker = Breaker()
    for number in range(5):
        tell(breaker, Effect.SUCCESS, 0.0, number, policy)
    for number, now in enumerate((1.0, 40.0, 61.0)):
        tell(breaker, Effect.FAILURE, now, number, policy)
    assert breaker.state is CLOSED  # eight attempts


def test_two_in_a_row_open_nothing_however_long_they_take():
    breaker = Breaker()
    fail(breaker, 2, step=250.0)
    tell(breaker, Effect.SUCCESS, 300.0)
    fail(breaker, 2, 310.0, step=250.0)
    assert breaker.state is CLOSED


def test_failures_longer_apart_than_the_memory_are_not_in_a_row():
    breaker = Breaker()
    fail(breaker, 30, step=151.0)  # never three within five minutes
    assert breaker.state is CLOSED


def test_an_old_failure_hides_no_row_that_begins_after_it():
    breaker = Breaker()
    tell(breaker, Effect.FAILURE, 0.0, 1)
    fail(breaker, 2, 301.0, step=40.0, calls=[2, 3])
    assert breaker.state is CLOSED
    tell(breaker, Effect.FAILURE, 381.0, 4)
    assert breaker.state is OPEN


def test_a_row_is_as_long_as_what_is_remembered_of_it():
    breaker = Breaker()
    for call, now in enumerate((0.0, 290.0, 310.0, 349.0)):  # the first is forgotten at 310
        tell(breaker, Effect.FAILURE, now, call)
    assert breaker.state is CLOSED
    tell(breaker, Effect.FAILURE, 350.0, 4)
    assert breaker.state is OPEN


def test_one_poisonous_prompt_that_is_retried_over_a_minute_opens_nothing():
    """Though two other calls have failed before the last success."""
    breaker = Breaker()
    fail(breaker, 2, calls=[1, 2])
    tell(breaker, Effect.SUCCESS, 1.0, 3)
    fail(breaker, 6, 10.0, calls=[7], step=31.0)
    assert breaker.state is CLOSED
    fail(breaker, 2, 200.0, calls=[8, 9], step=0.0)
    assert breaker.state is OPEN


# ---- a lasting brown-out ----


def brown_out(pattern, seconds):
    """Answer everybody for 30 s, then fail (F) by a pattern; return for how long it went on until it opened."""
    breaker, policy = Breaker(), Policy.patient(breaker_jitter=0.0, breaker_rate=0.4)
    for tick in range(120 + int(seconds * 4)):  # 4 calls a second
        failed = tick >= 120 and pattern[tick % len(pattern)] == "F"
        tell(breaker, Effect.FAILURE if failed else Effect.SUCCESS, tick / 4, tick, policy)
        if breaker.state is OPEN:
            return tick / 4 - 30
    return None


def test_a_brown_out_that_lasts_opens_it_before_its_share_is_that_of_a_whole_window():
    assert brown_out(".F", 12.0) is None
    assert 14 < brown_out(".F", 30.0) < 15.5  # 0.4 of 18 s; of 30 s it would be after 24


def test_errors_last_from_twelve_seconds_on():
    for begun, state in ((88.0, OPEN), (89.0, CLOSED)):
        breaker, policy = Breaker(), Policy.patient(breaker_jitter=0.0, breaker_rate=0.4)
        for number in range(60):
            tell(breaker, Effect.SUCCESS, 75.0, number, policy)
        for number, now in enumerate([begun] * 3 + [99.0] * 6 + [100.0]):
            tell(breaker, Effect.SUCCESS, now, 2 * number, policy)
            tell(breaker, Effect.FAILURE, now, 2 * number + 1, policy)
        assert breaker.state is state


def test_a_burst_of_errors_that_passes_opens_nothing():
    """Though their share of the last 18 s is large enough after ten already."""
    assert brown_out(".FFF", 12.0) is None
    assert 12 < brown_out(".FFF", 30.0) < 15


def test_where_the_errors_come_from_few_calls_it_does_not_last_long_enough():
    breaker = Breaker()
    for tick in range(120):
        tell(breaker, Effect.SUCCESS, tick / 4, tick, PATIENT)
    for tick in range(120, 240):  # one prompt, again and again, beside others that are answered
        failed = tick % 2
        tell(breaker, Effect.FAILURE if failed else Effect.SUCCESS, tick / 4, 1 if failed else tick, PATIENT)
    assert breaker.state is CLOSED


# ---- what must not open it ----


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
    fail(breaker, 7, policy=policy, step=0.0)
    for call in range(100):
        tell(breaker, effect, 0.0, 100 + call, policy)
    assert (breaker.state, breaker.generation, breaker.failures(0.0, policy)) == (CLOSED, 0, 7 * policy.breaker)


def test_switched_off_it_never_opens():
    breaker = Breaker()
    fail(breaker, 500, policy=Policy.eager(breaker=False))
    assert (breaker.state, breaker.generation) == (CLOSED, 0)


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
    quota_calls=st.integers(1, 3),
    refusal_cooldown=st.none() | st.floats(1, 60),
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
                tell(breaker, effect, now, call, policy, hint=hint)  # of a call that nobody else can answer
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
