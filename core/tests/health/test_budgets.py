"""What a factory may do besides first attempts: retries (I10), second requests, and calls at the same time."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.health.budgets import BURST, WINDOW, Bulkhead, HedgeBudget, RetryBudget
from understudy.testing import VirtualClock


def budget_of(share=0.1, reserve=1.0):
    clock = VirtualClock()
    return RetryBudget(share, reserve, lambda: clock.now), clock


def takes(budget):
    """Take a retry; return whether there was one."""
    return budget.withdraw() is not None


def test_calls_of_one_second_are_counted_as_one_number():
    budget, clock = budget_of()
    for _ in range(1000):
        budget.deposit()
    assert len(budget._calls) == 1
    clock.advance(WINDOW)
    budget.deposit()
    assert len(budget._calls) == 1


def test_without_calls_there_is_the_reserve():
    budget, clock = budget_of(reserve=1.0)
    assert [takes(budget) for _ in range(11)] == [True] * 10 + [False]
    clock.advance(9.999)
    assert not takes(budget)
    clock.advance(0.001)
    assert budget.left() == 10


def test_calls_allow_a_share_of_retries():
    budget, clock = budget_of(share=0.1, reserve=0.0)
    for _ in range(29):
        budget.deposit()
    assert [takes(budget) for _ in range(3)] == [True, True, False]
    clock.advance(10.0)
    assert budget.left() == 0
    budget.deposit()
    assert not takes(budget)


def test_nothing_is_allowed_where_share_and_reserve_are_nothing():
    budget, _ = budget_of(0.0, 0.0)
    budget.deposit()
    assert not takes(budget)


def test_what_was_not_made_is_given_back():
    budget, _ = budget_of(share=0.0, reserve=0.1)
    taken = budget.withdraw()
    assert not takes(budget)
    budget.give_back(taken)
    assert takes(budget)
    assert not takes(budget)


def test_it_is_this_very_retry_that_is_given_back():
    """Another call's, made later, counts for its own ten seconds."""
    budget, clock = budget_of(share=0.0, reserve=0.2)
    mine = budget.withdraw()
    clock.advance(6)
    assert takes(budget)
    budget.give_back(mine)
    assert budget.left() == 1
    clock.advance(5)
    assert budget.left() == 1
    clock.advance(5)
    assert budget.left() == 2


def test_giving_back_what_is_already_forgotten_adds_nothing():
    budget, clock = budget_of(share=0.0, reserve=0.1)
    taken = budget.withdraw()
    clock.advance(60)
    assert budget.left() == 1
    budget.give_back(taken)
    assert budget.left() == 1


events = st.lists(st.tuples(st.floats(0, 3), st.sampled_from(["call", "call", "retry"])), max_size=300)


@given(events, st.floats(0, 1), st.floats(0, 2))
@settings(max_examples=150, deadline=None)
def test_over_any_ten_seconds_retries_are_a_share_and_the_reserve(events, share, reserve):
    """I10."""
    budget, clock = budget_of(share, reserve)
    calls, retries = [], []
    for seconds, what in events:
        clock.advance(seconds)
        if what == "call":
            budget.deposit()
            calls.append(clock.now)
        elif takes(budget):
            retries.append(clock.now)
            within = sum(1 for at in retries if at > clock.now - WINDOW)
            assert within <= share * sum(1 for at in calls if at > clock.now - WINDOW) + reserve * WINDOW
        else:  # it is not refused for nothing: calls are counted by the second
            within = sum(1 for at in retries if at > clock.now - WINDOW)
            surely = sum(1 for at in calls if at > clock.now - WINDOW + 1)
            assert within + 1 > share * surely + reserve * WINDOW - 1e-9


def test_threads_take_no_more_than_there_is():
    budget, _ = budget_of(share=0.0, reserve=5.0)
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda _: takes(budget), range(400)))
    assert sum(taken) == 50


# ---- second requests ----


def test_second_requests_are_a_share_of_calls():
    budget = HedgeBudget(0.05)
    made = 0
    for _ in range(1000):
        budget.deposit()
        made += budget.withdraw()
    assert made == 51  # one is there at the beginning


def test_an_idle_time_saves_up_only_so_many():
    budget = HedgeBudget(0.5)
    for _ in range(1000):
        budget.deposit()
    assert [budget.withdraw() for _ in range(12)] == [True] * int(BURST) + [False] * 2


def test_a_share_of_nothing_allows_nothing():
    budget = HedgeBudget(0.0)
    budget.deposit()
    assert not budget.withdraw()


def test_a_second_request_that_is_not_made_is_given_back():
    budget = HedgeBudget(0.05)
    assert budget.withdraw()
    budget.give_back()
    assert budget.withdraw()
    assert not budget.withdraw()
    for _ in range(100):
        budget.give_back()
    assert sum(budget.withdraw() for _ in range(100)) == BURST


@given(st.lists(st.booleans(), max_size=300), st.floats(0, 1))
@settings(max_examples=100, deadline=None)
def test_second_requests_never_pass_their_share(wanted, share):
    budget, made = HedgeBudget(share), 0
    for calls, want in enumerate(wanted, start=1):
        budget.deposit()
        made += want and budget.withdraw()
        assert made <= 1 + share * calls + 1e-6


# ---- calls at the same time ----


def test_one_call_more_than_the_limit_is_refused():
    bulkhead = Bulkhead(2)
    assert [bulkhead.enter() for _ in range(3)] == [True, True, False]
    bulkhead.leave()
    assert bulkhead.enter()
    assert bulkhead.under_way == 2


@pytest.mark.parametrize("limit", [1, 7])
def test_threads_are_never_more_than_the_limit(limit):
    bulkhead, most = Bulkhead(limit), []

    def call(_):
        if bulkhead.enter():
            most.append(bulkhead.under_way)
            bulkhead.leave()

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(call, range(400)))
    assert 1 <= max(most) <= limit
    assert bulkhead.under_way == 0
