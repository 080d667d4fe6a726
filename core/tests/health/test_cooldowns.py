"""How long a target rests that refused for its quota, its key, a permission or its model."""

import pytest
from breakers import CLOSED, COOLING, EAGER, HALF_OPEN, LEASE, OPEN, PATIENT, probe, tell

from understudy import Policy
from understudy.errors import Effect
from understudy.health.breaker import Breaker

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


def test_an_answer_right_after_a_cooldown_does_not_begin_anew():
    """It may be one of a few that get through."""
    breaker = refuse(Breaker(), [1, 2, 3], 0.0)
    breaker.admit(5.0)
    tell(breaker, SUCCESS, 9.9)
    refuse(breaker, [4, 5, 6], 10.0)
    assert (breaker.state, breaker.until) == (COOLING, pytest.approx(18.8))
    assert breaker.state_at(breaker.until) is HALF_OPEN


def test_an_answer_well_after_a_cooldown_begins_anew():
    breaker = refuse(Breaker(), [1, 2, 3], 0.0)
    breaker.admit(5.0)
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


def test_patience_never_cools_for_a_rate_limit():
    assert cooled(*[LIMITED] * 30, policy=PATIENT, hint=30) == []
    assert cooled(*[LIMITED, EXHAUSTED, REFUSED] * 10, policy=Policy(refusal_cooldown=None), hint=30) == []


def test_patience_asks_once_more_where_a_quota_is_used_up_then_rests():
    """The next request starts with the primary again, as for any quota; an empty account is not asked by each."""
    breaker, seconds, now = Breaker(), [], 0.0
    tell(breaker, EXHAUSTED, now, 1, PATIENT)
    assert breaker.state is CLOSED
    tell(breaker, Effect.SUCCESS, now, 2, PATIENT)
    tell(breaker, EXHAUSTED, now, 3, PATIENT)
    assert breaker.state is CLOSED  # between them it answered
    tell(breaker, EXHAUSTED, now, 4, PATIENT)
    while len(seconds) < 6:
        assert (breaker.state, breaker.refused) == (COOLING, "")
        seconds.append(breaker.until - now)
        now = breaker.until
        breaker.admit(now)
        tell(breaker, EXHAUSTED, now, 5, PATIENT, probe=breaker.send_probe(now, LEASE))
    assert seconds == [30, 60, 120, 240, 300, 300]


# ---- refused keys, rights and models ----


def turn_away(breaker, now, probe=0):
    tell(breaker, REFUSED, now, probe=probe, why="authentication failed")


def test_a_refused_key_rests_its_target_at_once_and_for_longer_each_time_up_to_five_minutes():
    breaker, now, seconds = Breaker(), 0.0, []
    turn_away(breaker, now)
    while len(seconds) < 6:
        assert (breaker.state, breaker.refused) == (COOLING, "authentication failed")
        seconds.append(breaker.until - now)
        now = breaker.until
        assert breaker.admit(now) == 0.0
        assert (breaker.state, breaker.refused) == (HALF_OPEN, "")
        turn_away(breaker, now, breaker.send_probe(now, LEASE))
    assert seconds == [30, 60, 120, 240, 300, 300]


def test_an_answer_ends_it_and_the_next_rest_is_short_again():
    breaker = Breaker()
    turn_away(breaker, 0.0)
    breaker.admit(30.0)
    turn_away(breaker, 30.0, breaker.send_probe(30.0, LEASE))
    probe(breaker, 90.0, SUCCESS)
    assert (breaker.state, breaker.refused) == (CLOSED, "")
    turn_away(breaker, 100.0)
    assert breaker.until == 130.0


def test_what_follows_a_refused_key_is_not_said_to_be_one():
    breaker = Breaker()
    turn_away(breaker, 0.0)
    probe(breaker, 30.0, Effect.FAILURE)
    assert (breaker.state, breaker.refused) == (OPEN, "")
    probe(breaker, 60.0, LIMITED)
    assert (breaker.state, breaker.refused) == (COOLING, "")


def test_thousands_of_refusals_overflow_nothing():
    breaker, now = Breaker(), 0.0
    turn_away(breaker, now)
    for _ in range(2000):
        now = breaker.until
        breaker.admit(now)
        turn_away(breaker, now, breaker.send_probe(now, LEASE))
    assert breaker.until - now == 300
