"""The moving averages of what answers take, the time in which 95 of 100 come, and how often a target fails."""

import pytest
from timed import claim

from understudy import InMemoryHealthStore, Policy
from understudy.breaker import Effect
from understudy.health import Report
from understudy.latencies import (
    ENOUGH_SAMPLES,
    FADING,
    SHORTEST_PATIENCE,
    STALE,
    TRACE,
    Failing,
    Latencies,
    Latency,
)
from understudy.testing import VirtualClock


def series(*seconds, now=0.0):
    made = Latencies()
    for each in seconds:
        made.add(each, now)
    return made


# ---- what answers take ----


def test_nothing_is_known_at_first():
    assert Latencies().look(0.0) == Latency(None, None)
    assert Latency().patience is None


def test_latencies_are_averaged_and_the_slowest_of_twenty_left_out():
    assert series(1.0, 2.0).look(0.0) == Latency(1.2, None)
    assert series(*[1.0] * (ENOUGH_SAMPLES - 1)).look(0.0).p95 is None
    many = series(*map(float, range(1, 101)))
    assert many.look(0.0).p95 == 95.0
    for _ in range(100):
        many.add(3.0, 0.0)
    assert many.look(0.0).p95 == 3.0


@pytest.mark.parametrize("known", [1, 30])
def test_both_say_nothing_when_the_last_is_old_and_begin_anew(known):
    made = series(*[50.0] * known)
    assert made.look(STALE).seconds == 50.0
    assert made.look(STALE).p95 == (50.0 if known > 20 else None)
    assert made.look(STALE + 1) == Latency()
    made.add(1.0, STALE + 1)
    assert made.look(STALE + 1) == Latency(1.0, None)  # and not a tenth of it


def test_instant_answers_are_not_hedged_at_once():
    assert series(*[0.0001] * 30).look(0.0).patience == SHORTEST_PATIENCE
    assert series(*[2.0] * 30).look(0.0).patience == 2.0


# ---- how often it fails ----


def test_one_failure_counts_whole_and_fades():
    failing = Failing()
    assert failing.look(0.0) == 0.0
    failing.fail(100.0)
    assert failing.look(100.0) == 1.0
    assert failing.look(100.0 + FADING) == pytest.approx(0.37, abs=0.01)
    assert failing.look(1e9) == TRACE  # never wholly: nothing better has been heard of it


def test_answers_make_up_for_failures():
    failing = Failing()
    failing.fail(0.0)
    shares = []
    for _ in range(40):
        failing.succeed(0.0)
        shares.append(failing.look(0.0))
    assert shares[:2] == pytest.approx([0.8, 0.64])
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] == 0.0


def test_one_answer_makes_up_for_an_old_failure():
    failing = Failing()
    failing.fail(0.0)
    failing.succeed(1000.0)
    assert failing.look(1000.0) == 0.0


# ---- in a store ----


def test_a_store_keeps_two_series_for_each_target():
    clock = VirtualClock()
    store, policy = InMemoryHealthStore(lambda: clock.now), Policy()

    def give(report):
        store.give("a", store.take("a", claim()), claim(), report)
        return store.look("a", policy)

    for _ in range(25):
        give(Report(Effect.SUCCESS, 0.5))
    for _ in range(20):
        health = give(Report(Effect.SUCCESS, 0.01, streamed=True))
    assert health.answers == Latency(pytest.approx(0.5), 0.5)
    assert health.first_tokens == Latency(pytest.approx(0.01), 0.01)
    assert (health.latency(streaming=True), health.latency(streaming=False)) == (health.first_tokens, health.answers)
    assert give(Report(Effect.ALIVE, 500.0)) == health  # what does not answer is not measured
    assert give(Report(Effect.ALIVE, failed=True)).failing == 1.0
    assert give(Report(Effect.SUCCESS, 0.5)).failing == pytest.approx(0.8)
    clock.advance(STALE + 1)
    assert (store.look("a", policy).answers, store.look("a", policy).first_tokens) == (Latency(), Latency())
    assert store.look("b", policy).latency(streaming=True) == Latency()
