"""Orders of targets beyond the route's own."""

import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from understudy.health.latency import TRACE
from understudy.routing.strategies import (
    EXPLORED,
    cheapest,
    check_names,
    check_order,
    describe,
    fastest,
    find_strategy,
    ordered,
    weighted,
)
from understudy.target import Candidate

SEVERAL = some.lists(
    some.builds(
        Candidate,
        index=some.just(0),
        label=some.sampled_from(["gemini", "claude", "claude:small", "openai"]),
        provider=some.sampled_from(["gemini", "claude", "openai"]),
        seconds=some.none() | some.floats(0, 60),
        price=some.none() | some.floats(0, 1),
        ready=some.booleans(),
        failing=some.floats(0, 1),
    ),
    max_size=6,
).map(lambda many: [replace(candidate, index=index) for index, candidate in enumerate(many)])
STRATEGIES = {
    "ordered": ordered,
    "fastest": fastest,
    "cheapest": cheapest,
    "weighted": weighted({"gemini": 3, "claude": 0.5, "claude:small": 0}),
}


def route(*candidates: dict) -> list[Candidate]:
    names = ["gemini", "claude", "openai", "cohere"]
    return [Candidate(i, names[i], names[i], **known) for i, known in enumerate(candidates)]


def never() -> float:
    raise AssertionError("nothing is drawn here")


def firsts(strategy, candidates, times=4000):
    draw = random.Random(20).random
    return Counter(strategy(candidates, draw)[0] for _ in range(times))


@pytest.mark.parametrize("name", STRATEGIES)
@given(candidates=SEVERAL, seed=some.integers(0, 1000))
@settings(deadline=None)  # of Hypothesis, which a busy machine does not keep
def test_every_target_comes_once(name, candidates, seed):
    order = STRATEGIES[name](candidates, random.Random(seed).random)
    assert sorted(check_order(STRATEGIES[name], candidates, order)) == list(range(len(candidates)))


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize("edge", [0.0, 1 - 2**-53])
def test_the_edges_of_the_randomness_are_no_edge(name, edge):
    candidates = route({}, {"seconds": 1}, {"seconds": 2}, {"seconds": 3})
    assert sorted(STRATEGIES[name](candidates, lambda: edge)) == [0, 1, 2, 3]


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_indices_of_a_part_of_the_route_stay_its_own(name):
    part = [Candidate(5, "gemini", "gemini"), Candidate(2, "claude", "claude")]
    assert sorted(STRATEGIES[name](part, random.Random(1).random)) == [2, 5]


def test_ordered_draws_nothing_and_asks_for_no_price():
    assert ordered(route({"price": never}, {"seconds": 9.0}), never) == [0, 1]


# ---- fastest ----


def shares(*candidates, strategy=fastest):
    count = firsts(strategy, route(*candidates))
    return [count[index] / 4000 for index in range(len(candidates))]


def near(*wanted):
    return pytest.approx(wanted, abs=0.03)


def test_the_quicker_of_two_comes_first():
    assert shares({"seconds": 2.0}, {"seconds": 1.0}) == [0, 1]


def test_who_is_not_ready_comes_last():
    candidates = route({"seconds": 0.1, "ready": False}, {"seconds": 3.0}, {"ready": False}, {"seconds": 2.0})
    assert fastest(candidates, lambda: 0.5) == [3, 1, 0, 2]
    assert shares({"ready": False, "seconds": 0.1}, {"seconds": 3.0}, {"ready": False}) == [0, 1, 0]
    assert fastest(route({"ready": False, "seconds": 2.0}, {"ready": False, "seconds": 1.0}), never) == [1, 0]


def test_where_nobody_is_known_all_share():
    assert shares({}, {}) == near(1 / 2, 1 / 2)
    assert shares({}, {}, {}, {}) == near(1 / 4, 1 / 4, 1 / 4, 1 / 4)


def test_who_was_not_measured_lately_is_asked_now_and_then():
    assert shares({"seconds": 0.1}, {}) == near(1 - EXPLORED, EXPLORED)
    assert shares({}, {"seconds": 0.1}, {}) == near(EXPLORED, 1 - 2 * EXPLORED, EXPLORED)
    assert fastest(route({}, {"seconds": 0.1}, {"seconds": 9.0}), lambda: 0.5)[-1] == 0  # as fallback the last


def test_who_has_just_failed_is_not_asked_before_others():
    assert shares({"failing": 1.0}, {"seconds": 50.0}) == [0, 1]
    assert shares({"seconds": 0.1, "failing": 1.0}, {"seconds": 50.0}) == [0, 1]
    assert shares({"failing": 1.0}, {}) == [0, 1]
    assert fastest(route({"failing": 1.0}, {}, {"seconds": 9.0}), lambda: 0.5) == [2, 1, 0]


def test_of_many_that_fail_none_is_drawn():
    """Two at random would both be dead in one of six calls."""
    for known in ({}, {"seconds": 1.0}):
        dead = {**known, "failing": 1.0}
        assert shares(dead, {"seconds": 2.0}, dead, {"seconds": 3.0}) == [0, 1, 0, 0]
        assert shares(dead, {}, dead, {}) == near(0, 1 / 2, 0, 1 / 2)


def test_where_everybody_fails_the_one_that_failed_longer_ago_is_first():
    assert shares({"failing": 1.0}, {"failing": 0.7}) == [0, 1]


def test_a_failure_that_has_faded_leaves_a_target_its_speed_or_its_share():
    assert shares({"seconds": 0.1, "failing": TRACE}, {"seconds": 1.0}) == [1, 0]
    assert shares({"failing": TRACE}, {"seconds": 1.0}) == near(EXPLORED, 1 - EXPLORED)
    rare = shares({"failing": TRACE}, {})  # who fails is known, and nothing else
    assert rare == near(EXPLORED, 1 - EXPLORED)


def test_the_slowest_of_three_is_never_first_and_the_others_share():
    count = firsts(fastest, route({"seconds": 3.0}, {"seconds": 2.0}, {"seconds": 1.0}))
    assert set(count) == {1, 2}
    assert count[2] / 4000 == pytest.approx(2 / 3, abs=0.03)


def test_after_the_one_that_was_drawn_the_others_follow_by_their_speed():
    candidates = route({"seconds": 3.0}, {"seconds": 2.0}, {"seconds": 1.0}, {"seconds": 4.0})
    orders = {tuple(fastest(candidates, random.Random(seed).random)) for seed in range(200)}
    assert orders == {(2, 1, 0, 3), (1, 2, 0, 3), (0, 2, 1, 3)}


# ---- cheapest ----


def test_the_cheapest_comes_first_and_who_has_no_price_last():
    candidates = route({"price": None}, {"price": 0.2}, {"price": lambda: 0.1}, {"price": lambda: None})
    assert cheapest(candidates, never) == [2, 1, 0, 3]


def test_what_costs_nothing_has_a_price():
    assert cheapest(route({"price": 0.1}, {}, {"price": 0.0}), never) == [2, 0, 1]


def test_among_equal_prices_the_route_decides():
    assert cheapest(route({"price": 0.1}, {"price": 0.1}), never) == [0, 1]


def test_each_price_is_found_out_once():
    asked = []
    cheapest([Candidate(i, "x", "x", price=lambda: asked.append(1) or 1.0) for i in range(3)], never)
    assert len(asked) == 3


# ---- weighted ----


def test_who_comes_first_follows_the_weights():
    count = firsts(weighted({"gemini": 3, "claude": 1}), route({}, {}, {}))
    assert set(count) == {0, 1}
    assert count[0] / 4000 == pytest.approx(0.75, abs=0.03)


def test_the_second_is_drawn_by_the_weights_of_the_rest():
    strategy, candidates = weighted({"gemini": 100, "claude": 3, "openai": 1}), route({}, {}, {})
    draw = random.Random(4).random
    seconds = Counter(order[1] for order in (strategy(candidates, draw) for _ in range(4000)) if order[0] == 0)
    assert seconds[1] / seconds.total() == pytest.approx(0.75, abs=0.03)


def test_without_a_weight_or_with_none_one_is_only_a_fallback():
    assert weighted({"openai": 1, "gemini": 0})(route({}, {}, {}, {}), lambda: 0.5) == [2, 0, 1, 3]


def test_a_labels_weight_stands_above_its_providers():
    small, large = Candidate(0, "claude:small", "claude"), Candidate(1, "claude:large", "claude")
    assert set(firsts(weighted({"claude": 1, "claude:small": 0}), [small, large], 50)) == {1}


@pytest.mark.parametrize(
    ("weights", "kind", "complaint"),
    [
        ({"gemini": -1}, ValueError, "weight of 'gemini' as 0 or more, found -1"),
        ({"gemini": float("nan")}, ValueError, "0 or more"),
        ({"gemini": float("inf")}, ValueError, "0 or more"),
        ({"gemini": "3"}, TypeError, "as a number, found '3'"),
        ({"gemini": True}, TypeError, "as a number"),
        ({"gemini": 0}, ValueError, "at least one weight above 0"),
        ({}, ValueError, "at least one weight above 0"),
    ],
)
def test_weights_that_mean_nothing_are_refused(weights, kind, complaint):
    with pytest.raises(kind, match=complaint):
        weighted(weights)


def test_weights_given_are_weights_kept():
    mine = {"gemini": 1}
    strategy = weighted(mine)
    mine["gemini"] = 0
    assert repr(strategy) == "weighted({'gemini': 1})"
    assert strategy == weighted({"gemini": 1})
    assert hash(strategy) == hash(weighted({"gemini": 1}))  # a Policy that holds it can be a key


def test_a_weight_for_nobody_is_refused_when_the_route_is_known():
    strategy = weighted({"gemini": 1, "cluade": 1})
    with pytest.raises(ValueError, match=r"found 'cluade'; did you mean 'claude'\?"):
        check_names(strategy, ["gemini", "claude:small", "claude"])
    check_names(strategy, ["gemini", "cluade"])
    check_names(ordered, [])


# ---- the names, and strategies of one's own ----


@pytest.mark.parametrize("name", ["ordered", "fastest", "cheapest"])
def test_a_strategy_is_found_by_its_name_which_is_how_it_is_called(name):
    assert find_strategy(name) is STRATEGIES[name]
    assert describe(STRATEGIES[name]) == name


def test_a_function_is_a_strategy():
    assert find_strategy(never) is never


@pytest.mark.parametrize(
    ("routing", "hint"),
    [
        ("fastst", "did you mean 'fastest'"),
        ("weighted", r"weighted\({"),
        ({"gemini": 3}, r"weighted\({"),
        ("nonsense", "found 'nonsense'$"),
        (None, "found None$"),
    ],
)
def test_what_is_no_strategy_is_refused(routing, hint):
    with pytest.raises(ValueError, match=rf"expected routing as ordered, fastest, cheapest, weighted.*{hint}"):
        find_strategy(routing)


def alphabetical(candidates, draw):
    return [one.index for one in sorted(candidates, key=lambda one: one.label)]


def test_an_order_of_ones_own_is_taken():
    candidates = route({}, {}, {})
    assert check_order(alphabetical, candidates, alphabetical(candidates, never)) == (1, 0, 2)


@pytest.mark.parametrize(
    "order", [[0, 0, 1], [0, 1], [0, 1, 2, 2], [0, 1, 3], [], None, 5, ["a", "b", "c"], [[0], 1, 2]]
)
def test_an_order_that_leaves_one_out_or_names_one_twice_is_refused(order):
    with pytest.raises(ValueError, match=r"routing alphabetical: expected each of the indices 0, 1, 2 once, found"):
        check_order(alphabetical, route({}, {}, {}), order)
