"""A caller's own limits: never more than the limit within any stretch of the window's length."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.health.rate_windows import DAY, MINUTE, SLICES, Allowance, Window
from understudy.limits import Limits

NEVER = float("inf")


def fill(window, amount, now):
    """Reserve an amount if it fits; return whether it did."""
    if window.wait_for(amount, now) > 0:
        return False
    window.reserve(amount, now)
    return True


def test_what_was_taken_is_back_after_the_window_and_at_most_a_slice():
    window = Window(3, MINUTE)
    assert [fill(window, 1, now) for now in (10.2, 10.4, 10.6, 10.8)] == [True, True, True, False]
    assert window.wait_for(1, 10.8) == pytest.approx(71 - 10.8)
    assert not fill(window, 1, 70.99)
    assert [fill(window, 1, 71.0) for _ in range(4)] == [True, True, True, False]


def test_the_wait_is_for_as_much_as_is_needed():
    window = Window(10, MINUTE)
    for now in (0.0, 1.0, 2.0):
        assert fill(window, 3, now)
    assert [window.wait_for(amount, 2.0) for amount in (1, 2, 4, 5, 7, 10, 11)] == [0, 59, 59, 60, 60, 61, NEVER]


def test_more_than_the_limit_never_fits():
    window = Window(5, MINUTE)
    assert window.wait_for(5.01, 0.0) == NEVER
    assert window.wait_for(5, 0.0) == 0.0


def test_settling_gives_back_what_was_too_much_and_takes_what_was_too_little():
    window = Window(100, MINUTE)
    first, second = window.reserve(50, 0.0), window.reserve(50, 30.0)
    assert window.wait_for(1, 30.0) > 0
    window.settle(first, 50, 20, 31.0)
    assert window.wait_for(30, 31.0) == 0.0
    window.settle(second, 50, 90, 32.0)
    assert window.used == 110  # it was more than the estimate: the next one waits for longer
    assert window.wait_for(1, 32.0) > 0
    assert window.wait_for(1, 61.0) == 0.0


def test_what_is_settled_after_its_window_counts_from_then_on():
    window = Window(100, MINUTE)
    number = window.reserve(10, 0.0)
    window.settle(number, 10, 60, 500.0)
    assert window.used == 60
    assert window.wait_for(41, 500.0) > 0


def test_what_is_released_after_its_window_leaves_nothing():
    window = Window(100, MINUTE)
    number = window.reserve(10, 0.0)
    window.settle(number, 10, 0, 500.0)
    assert window.used == 0


def test_a_clock_that_is_read_out_of_order_loses_nothing():
    window = Window(2, MINUTE)
    window.reserve(1, 100.0)
    number = window.reserve(1, 98.0)  # another thread had read the clock before
    assert window.wait_for(1, 100.0) > 0
    window.settle(number, 1, 0, 100.0)
    assert window.used == 1


def test_a_clock_that_is_read_out_of_order_lets_nobody_in_too_soon():
    window = Window(2, MINUTE)
    window.reserve(1, 100.0)
    window.reserve(1, 98.0)  # another thread had read the clock before
    assert window.wait_for(2, 100.0) == 61.0
    assert window.wait_for(2, 159.5) > 0  # what was taken at 100 counts until 161


moves = st.lists(
    st.tuples(st.floats(0, 40), st.floats(0.1, 6), st.sampled_from(["keep", "keep", "release", "late", "settle"])),
    max_size=150,
)


@given(moves, st.floats(3, 20), st.sampled_from([MINUTE, 10.0, 1.0]))
@settings(max_examples=150, deadline=None)
def test_within_any_stretch_of_the_window_there_is_never_more_than_the_limit(moves, limit, seconds):
    window, now = Window(limit, seconds), 0.0
    taken, later, again = [], [], []
    for pause, amount, what in moves:
        now += pause
        wait = window.wait_for(amount, now)
        if wait > 0:
            held = sum(each for at, each in taken + again if at > now - seconds - seconds / SLICES)
            assert amount > limit or held + amount > limit - 1e-6  # it is not refused for nothing
            if wait < NEVER:
                assert wait <= seconds + seconds / SLICES + 1e-9
            continue
        number = window.reserve(amount, now)
        if what == "release":
            window.settle(number, amount, 0, now)
            continue
        if what == "settle":
            window.settle(number, amount, amount / 2, now)
            amount /= 2
        if what == "late":
            later.append((number, amount))
        taken.append((now, amount))
        total = sum(each for at, each in taken if at > now - seconds)
        assert total <= limit + 1e-6
        if later and len(later) > 3:
            number, amount = later.pop(0)
            window.settle(number, amount, amount, now)
            again.append((now, amount))  # where its slice was over
    for pause in (0.0, 2.1):
        now += pause * seconds
        window.expire(now)
    assert window.used == 0.0  # all of it is back, and no rest of rounding


@given(moves, st.floats(6, 20))
@settings(max_examples=80, deadline=None)
def test_after_the_wait_that_it_names_an_amount_fits(moves, limit):
    window, now = Window(limit, MINUTE), 0.0
    for pause, amount, _ in moves:
        now += pause
        wait = window.wait_for(amount, now)
        now += wait
        assert window.wait_for(amount, now + 1e-6) == 0.0
        window.reserve(amount, now + 1e-6)


def test_no_rounding_makes_a_wait_endless():
    window = Window(6.0, MINUTE)
    window.reserve(2.999999999999999, 0.0)
    assert window.wait_for(6.0, 0.0) == MINUTE + MINUTE / SLICES
    assert window.wait_for(6.0, MINUTE + MINUTE / SLICES) == 0.0


# ---- one target's limits together ----


def test_all_limits_must_have_room_and_the_longest_wait_is_named():
    allowance = Allowance(Limits(requests_per_minute=2, tokens_per_minute=1000))
    assert allowance.wait_for(900, 0, 0.0) == (0.0, "", False)
    allowance.reserve(900, 0, 0.0, 1, 60.0)
    assert allowance.wait_for(200, 0, 5.0) == (56.0, "1000 tokens a minute", False)
    allowance.reserve(50, 0, 20.0, 2, 60.0)
    assert allowance.wait_for(10, 0, 20.0) == (41.0, "2 requests a minute", False)
    assert allowance.wait_for(2000, 0, 20.0) == (NEVER, "1000 tokens a minute", False)


def test_a_failed_request_counts_as_a_request_and_one_that_was_not_made_does_not():
    allowance = Allowance(Limits(requests_per_minute=1, tokens_per_minute=100))
    reserved = allowance.reserve(80, 0, 0.0, 1, 60.0)
    allowance.settle(reserved, (80, 0), (0.0, 0.0), 1.0, 1)
    assert allowance.left(1.0) == {"requests a minute": 0, "tokens a minute": 100}
    other = Allowance(Limits(requests_per_minute=1, tokens_per_minute=100))
    reserved = other.reserve(80, 0, 0.0, 1, 60.0)
    other.settle(reserved, (80, 0), None, 1.0, 1)
    assert other.left(1.0) == {"requests a minute": 1, "tokens a minute": 100}


def test_slots_are_given_back_and_those_of_the_dead_end_with_their_lease():
    allowance = Allowance(Limits(concurrent=2))
    for token in (1, 2):
        assert allowance.wait_for(0, 0, 0.0) == (0.0, "", False)
        allowance.reserve(0, 0, float(token), token, 60.0)
    assert allowance.wait_for(0, 0, 2.0) == (59.0, "2 at once", True)
    allowance.settle((), (0, 0), (0.0, 0.0), 3.0, 2)
    assert allowance.wait_for(0, 0, 3.0) == (0.0, "", False)
    allowance.reserve(0, 0, 3.0, 3, 60.0)
    assert allowance.wait_for(0, 0, 60.9)[1] == "2 at once"
    assert allowance.wait_for(0, 0, 61.0) == (0.0, "", False)  # the first one never came back
    allowance.settle((), (0, 0), (0.0, 0.0), 62.0, 1)  # late: nobody else loses a slot by it
    assert len(allowance._slots) == 1


def test_dollars_are_for_a_day():
    pytest.importorskip("genai_prices")
    allowance = Allowance(Limits(spend_per_day=1.0))
    reserved = allowance.reserve(0, 0.9, 0.0, 1, 60.0)
    wait, words, _ = allowance.wait_for(0, 0.2, 100.0)
    assert (wait, words) == (DAY + DAY / SLICES - 100, "1 dollars a day")
    allowance.settle(reserved, (0, 0.9), (0, 0.01), 100.0, 1)
    assert allowance.wait_for(0, 0.2, 100.0) == (0.0, "", False)
    assert allowance.left(100.0) == {"dollars a day": pytest.approx(0.99)}


def test_what_is_left_is_never_below_nothing():
    allowance = Allowance(Limits(tokens_per_minute=10))
    reserved = allowance.reserve(5, 0, 0.0, 1, 60.0)
    allowance.settle(reserved, (5, 0), (5000, 0), 0.0, 1)
    assert allowance.left(0.0) == {"tokens a minute": 0.0}
    assert allowance.left(500.0) == {"tokens a minute": 10.0}
