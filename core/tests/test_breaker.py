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
    """A quarter of those in the last seconds, so that a hundred that fail at one moment among thousands open nothing."""
    breaker = Breaker()
    for call in range(1000):
        tell(breaker, Effect.SUCCESS, 0.5, call)
    fail(breaker, 300, 1.0, step=0.0)
    assert breaker.state is CLOSED
    fail(breaker, 40, 1.0, step=0.0)  # 340 of 1340
    assert breaker.state is OPEN


@pytest.mark.parametrize(("policy", "good"), [(EAGER, 24), (PATIENT, 10)])
def test_a_share_of_the_attempts_in_the_window_opens_it(policy, good):
    """A quarter of them under `eager`, half of them under `patient`."""
    breaker = Breaker()
    for number in range(good):
        tell(breaker, Effect.SUCCESS, 0.0, number, policy)
    failures = good // 3 if policy is EAGER else good
    for number in range(failures - 1):
        tell(breaker, Effect.FAILURE, 1.0, 100 + number, policy)
        tell(breaker, Effect.REPLIED, 1.0, number, policy) if number == 0 else None  # no row
    tell(breaker, Effect.FAILURE, 2.0, 200, policy)
    assert breaker.state is CLOSED
    tell(breaker, Effect.FAILURE, 2.0, 201, policy)
    assert breaker.state is OPEN


@pytest.mark.parametrize(("policy", "every"), [(EAGER, 5), (PATIENT, 3)])
def test_a_smaller_share_does_not_open_it(policy, every):
    breaker = Breaker()
    for number in range(600):
        effect = Effect.SUCCESS if number % every else Effect.FAILURE
        tell(breaker, effect, number / 10, number, policy)
    assert breaker.state is CLOSED
    assert breaker.failures(59.9, policy) == 300 // every


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


def brown_out(seconds, policy=EAGER):
    """Answer everybody for 30 s at 4 calls a second, then fail every other one; return the breaker."""
    breaker = Breaker()
    for tick in range(120 + int(seconds * 4)):
        effect = Effect.FAILURE if tick >= 120 and tick % 2 else Effect.SUCCESS
        tell(breaker, effect, tick / 4, tick, policy)
        if breaker.state is OPEN:
            break
    return breaker, tick / 4 - 30


def test_a_burst_of_errors_that_passes_opens_nothing_and_one_that_lasts_does():
    """The share of a whole window is not waited for: a half of the attempts in a part of it fails, and goes on."""
    policy = Policy.patient(breaker_jitter=0.0, breaker_rate=0.4)  # of a whole window only after 24 s
    assert brown_out(12, policy)[0].state is CLOSED
    breaker, seconds = brown_out(30, policy)
    assert breaker.state is OPEN
    assert 12 < seconds < 18


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


# ---- half-open ----


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
    breaker = opened(PATIENT)
    probe(breaker, 30.0, effect, PATIENT, hint=45.0)
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


def overtaken():
    """A breaker whose first probe takes longer than its lease, so that a second is under way; and both tokens."""
    breaker = opened()
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
    breaker.record(
        Effect.FAILURE, 6.0, call=1, generation=breaker.generation, probe=token, policy=EAGER, draw=0, hint=None, late=True
    )
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


# ---- rate limits ----

LIMITED, EXHAUSTED, SUCCESS, REFUSED = Effect.RATE_LIMITED, Effect.EXHAUSTED, Effect.SUCCESS, Effect.REFUSED


def refuse(breaker, calls, now, policy=EAGER, hint=None):
    for call in calls:
        tell(breaker, LIMITED, now, call, policy, hint=hint)
    return breaker


def test_three_calls_that_are_refused_lately_cool_a_target_down_for_others():
    breaker = refuse(Breaker(), [1, 2], 0.0)
    assert breaker.state is CLOSED
    refuse(breaker, [3], 5.0)
    assert (breaker.state, breaker.until) == (COOLING, 10.0)


def test_one_call_that_is_refused_again_and_again_cools_nothing():
    breaker = refuse(Breaker(), [1, 2] * 50, 0.0)
    assert (breaker.state, breaker.generation) == (CLOSED, 0)


def test_refusals_of_some_time_ago_do_not_count():
    breaker = Breaker()
    for call in range(60):
        refuse(breaker, [call], call * 2.6)
    assert breaker.state is CLOSED


@pytest.mark.parametrize(("hint", "policy", "state"), [(8.0, EAGER, COOLING), (60.0, EAGER, CLOSED)])
def test_lately_is_as_long_as_the_vendors_hint_within_reason(hint, policy, state):
    step = 4.0 if state is COOLING else 4.5  # three of them in 8 s, and in no 8.8 s
    breaker = Breaker()
    for call in range(3):
        refuse(breaker, [call], call * step, policy, hint)
    assert breaker.state is state


def test_as_many_must_be_refused_as_were_answered_in_that_time():
    """A vendor that refuses one call in ten is at its limit, and answers the others."""
    breaker = Breaker()
    for call in range(6):
        tell(breaker, SUCCESS, 1.0, call)
    refuse(breaker, range(100, 105), 2.0)
    assert breaker.state is CLOSED
    refuse(breaker, [105], 2.0)
    assert breaker.state is COOLING


def test_answers_of_some_time_ago_do_not_weigh_against_refusals():
    breaker = Breaker()
    for call in range(50):
        tell(breaker, SUCCESS, 1.0, call)
    refuse(breaker, [100, 101, 102], 7.0)
    assert breaker.state is COOLING


def test_a_policy_may_want_one_call_or_many():
    assert refuse(Breaker(), [1], 0.0, Policy.eager(quota_calls=1)).state is COOLING
    breaker = refuse(Breaker(), range(9), 0.0, Policy.eager(quota_calls=10))
    assert breaker.state is CLOSED
    assert refuse(breaker, [9], 0.0, Policy.eager(quota_calls=10)).state is COOLING


def test_after_the_first_cooldown_all_may_ask_again():
    breaker = refuse(Breaker(), [1, 2, 3], 0.0)
    assert breaker.admit(4.0) == 1.0
    assert breaker.state_at(5.0) is CLOSED
    assert breaker.state is COOLING  # whoever looks changes nothing
    generation = breaker.generation
    assert [breaker.admit(5.0), breaker.admit(5.0)] == [0.0, 0.0]
    assert (breaker.state, breaker.generation) == (CLOSED, generation + 1)


def test_where_that_was_too_soon_one_request_finds_out_after_the_second():
    breaker = refuse(Breaker(), [1, 2, 3], 0.0)
    breaker.admit(5.0)
    refuse(breaker, [4, 5], 6.0)
    assert breaker.state is CLOSED
    refuse(breaker, [6], 6.0)
    assert (breaker.state, breaker.until) == (COOLING, 14.8)  # twice as long, up to 8.8
    assert breaker.state_at(14.8) is HALF_OPEN
    probe(breaker, 14.8, SUCCESS)
    assert breaker.state is CLOSED


def test_after_that_probe_a_single_refusal_is_enough():
    """It was limited twice a moment ago: it is so still."""
    breaker = refuse(Breaker(), [1, 2, 3], 0.0)
    breaker.admit(5.0)
    refuse(breaker, [4, 5, 6], 6.0)
    probe(breaker, 14.8, SUCCESS)
    refuse(breaker, [7], 15.0)
    assert breaker.state is COOLING
    assert breaker.state_at(breaker.until) is HALF_OPEN


def test_an_answer_well_after_a_cooldown_begins_anew():
    breaker = refuse(Breaker(), [1, 2, 3], 0.0)
    breaker.admit(5.0)
    tell(breaker, SUCCESS, 9.9)  # it may be one of a few that get through
    tell(breaker, SUCCESS, 10.1)
    refuse(breaker, [4, 5, 6], 16.0)
    assert (breaker.state, breaker.until) == (COOLING, 21.0)
    assert breaker.state_at(21.0) is CLOSED


def cooled(*effects, policy=EAGER, hint=None):
    """Return the seconds of each cooldown, where each probe is answered by the next effect."""
    breaker, now, seconds = Breaker(), 0.0, []
    for effect in effects:
        if breaker.admit(now) == 0.0 and breaker.state is CLOSED:
            for call in range(policy.quota_calls):
                tell(breaker, effect, now, call, policy, hint=hint)
        else:
            probe(breaker, now, effect, policy, hint=hint)
        if breaker.state is not COOLING:
            continue
        seconds.append(breaker.until - now)
        now = breaker.until
    return seconds


def test_without_a_hint_a_rate_limit_cools_twice_as_long_each_time_but_never_for_long():
    assert cooled(*[LIMITED] * 5) == pytest.approx([5, 8.8, 8.8, 8.8, 8.8])


def test_an_exhausted_account_cools_for_minutes_up_to_an_hour():
    assert cooled(*[EXHAUSTED] * 6) == [300, 600, 1200, 2400, 3600, 3600]


def test_one_reply_that_an_account_is_exhausted_is_enough_and_one_request_finds_out():
    breaker = Breaker()
    tell(breaker, EXHAUSTED, 0.0)
    assert (breaker.state, breaker.until) == (COOLING, 300.0)
    assert breaker.state_at(300.0) is HALF_OPEN


@pytest.mark.parametrize(("hint", "expected"), [(0.0, 0), (7.5, 7.5), (299, 8.8), (4000, 8.8)])
def test_the_vendors_hint_is_kept_within_reason(hint, expected):
    assert cooled(LIMITED, LIMITED, hint=hint) == pytest.approx([expected, expected])


def test_a_policy_may_believe_longer_hints():
    assert cooled(LIMITED, policy=Policy.eager(longest_hint=300.0), hint=299) == [299]


def test_a_longer_cooldown_of_the_policys_own_is_kept():
    assert cooled(*[LIMITED] * 2, policy=Policy.eager(rate_limit_cooldown=90)) == [90, 90]


def test_many_cooldowns_in_a_row_overflow_nothing():
    assert cooled(*[LIMITED] * 2000)[-1] == pytest.approx(8.8)
    assert cooled(*[EXHAUSTED] * 2000)[-1] == 3600


def test_patience_never_cools():
    assert cooled(*[LIMITED, EXHAUSTED, REFUSED] * 10, policy=PATIENT, hint=30) == []


# ---- refused keys, rights and models ----


def turn_away(breaker, now, why="authentication failed", **more):
    breaker.record(
        REFUSED, now, call=1, generation=breaker.generation, policy=EAGER, draw=0.5, hint=None, why=why, **more
    )


def test_a_refused_key_rests_its_target_at_once_and_for_longer_each_time_up_to_five_minutes():
    breaker, now, seconds = Breaker(), 0.0, []
    turn_away(breaker, now, probe=0)
    while len(seconds) < 6:
        assert (breaker.state, breaker.refused) == (COOLING, "authentication failed")
        seconds.append(breaker.until - now)
        now = breaker.until
        assert breaker.admit(now) == 0.0
        assert (breaker.state, breaker.refused) == (HALF_OPEN, "")
        turn_away(breaker, now, probe=breaker.send_probe(now, LEASE))
    assert seconds == [30, 60, 120, 240, 300, 300]


def test_an_answer_ends_it_and_the_next_rest_is_short_again():
    breaker = Breaker()
    turn_away(breaker, 0.0, probe=0)
    breaker.admit(30.0)
    turn_away(breaker, 30.0, probe=breaker.send_probe(30.0, LEASE))
    probe(breaker, 90.0, SUCCESS)
    assert (breaker.state, breaker.refused) == (CLOSED, "")
    turn_away(breaker, 100.0, probe=0)
    assert breaker.until == 130.0


def test_what_follows_a_refused_key_is_not_said_to_be_one():
    breaker = Breaker()
    turn_away(breaker, 0.0, probe=0)
    probe(breaker, 30.0, Effect.FAILURE)
    assert (breaker.state, breaker.refused) == (OPEN, "")
    probe(breaker, 60.0, LIMITED)
    assert (breaker.state, breaker.refused) == (COOLING, "")


def test_thousands_of_refusals_overflow_nothing():
    breaker, now = Breaker(), 0.0
    turn_away(breaker, now, probe=0)
    for _ in range(2000):
        now = breaker.until
        breaker.admit(now)
        turn_away(breaker, now, probe=breaker.send_probe(now, LEASE))
    assert breaker.until - now == 300


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
