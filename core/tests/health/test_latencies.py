"""The moving averages of what answers take, the time in which 95 of 100 come, and how often a target fails."""

import pytest
from timed import claim

from understudy import Policy
from understudy.engine.timeouts import NOTHING_LEARNT, Learned
from understudy.errors import Effect
from understudy.health import InMemoryHealthStore, Report
from understudy.health.latency import (
    ENOUGH_SAMPLES,
    FADING,
    REMEMBERED,
    SAMPLES,
    STALE,
    TRACE,
    UNSORTED,
    Durations,
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
    made = Latencies()
    assert made.look(0.0) == Latency(None, None)
    assert (made.p95, made.median, made.is_stale(1e9)) == (None, None, False)


def test_latencies_are_averaged_and_the_slowest_of_twenty_left_out():
    assert series(1.0, 2.0).look(0.0) == Latency(1.2, None)
    assert series(*[1.0] * (ENOUGH_SAMPLES - 1)).look(0.0).p95 is None
    many = series(*map(float, range(1, 101)))
    assert (many.look(0.0).p95, many.median) == (95.0, 51.0)
    for _ in range(SAMPLES):
        many.add(3.0, 0.0)
    assert (many.look(0.0).p95, many.median) == (3.0, 3.0)


def test_percentiles_are_found_anew_after_some_answers_and_say_so():
    made = Latencies()
    changed = [made.add(1.0, 0.0) for _ in range(ENOUGH_SAMPLES)]
    assert changed == [False] * (ENOUGH_SAMPLES - 1) + [True]
    changed = [made.add(9.0, 0.0) for _ in range(UNSORTED)]
    assert changed == [False] * (UNSORTED - 1) + [True]
    assert made.p95 == 9.0


@pytest.mark.parametrize("known", [1, 30])
def test_both_say_nothing_of_now_when_the_last_is_old(known):
    made = series(*[50.0] * known)
    assert made.look(STALE).seconds == 50.0
    assert made.look(STALE).p95 == (50.0 if known > 20 else None)
    assert made.look(STALE + 1) == Latency()
    made.add(1.0, STALE + 1)
    assert made.look(STALE + 1).seconds == 1.0  # and not a tenth of it


def test_percentiles_are_known_for_an_hour_and_then_found_anew_from_new_answers():
    made = series(*[50.0] * 30)
    made.add(50.0, REMEMBERED)
    assert made.p95 == 50.0
    assert not made.is_stale(2 * REMEMBERED)
    assert made.is_stale(2 * REMEMBERED + 1)
    made.add(1.0, 2 * REMEMBERED + 1)
    assert (made.p95, made.median) == (None, None)
    for _ in range(ENOUGH_SAMPLES - 1):
        made.add(1.0, 2 * REMEMBERED + 1)
    assert made.p95 == 1.0


def test_what_is_no_sample_counts_for_the_average_alone():
    made = series(*[1.0] * 30)
    assert not any(made.add(9.0, 0.0, sample=False) for _ in range(30))
    assert made.p95 == 1.0
    assert made.look(0.0).seconds > 8


# ---- what was learnt ----


def learned_of(times=ENOUGH_SAMPLES, **took):
    durations = Durations()
    changed = [durations.add(0.0, **took) for _ in range(times)]
    return durations.look(0.0), changed


def test_answers_first_pieces_and_pauses_are_learnt_apart():
    assert learned_of(answer=3.0, plain=True, end=3.0)[0] == Learned(
        answer_p95=3.0, answer_median=3.0, end_p95=3.0, end_median=3.0
    )
    assert learned_of(first=1.0, gap=2.0)[0] == Learned(first_p95=1.0, first_median=1.0, gap_p95=2.0)


def test_a_whole_answer_that_was_asked_for_as_a_stream_tells_nothing_of_plain_ones():
    learned, _ = learned_of(answer=90.0, plain=False, first=1.0, gap=2.0, end=90.0)
    assert (learned.answer_p95, learned.first_p95, learned.end_p95) == (None, 1.0, 90.0)


def test_nothing_is_learnt_before_there_are_twenty():
    learned, changed = learned_of(ENOUGH_SAMPLES - 1, answer=3.0, plain=True, end=3.0)
    assert learned is NOTHING_LEARNT
    assert not any(changed)
    assert learned_of(answer=3.0, plain=True)[1][-1]


def test_each_kind_is_forgotten_an_hour_after_its_own_last_answer():
    durations = Durations()
    for _ in range(ENOUGH_SAMPLES):
        durations.add(0.0, answer=3.0, plain=True)
        durations.add(100.0, first=1.0)
    assert durations.look(REMEMBERED).answer_p95 == 3.0
    assert durations.look(REMEMBERED + 50) == Learned(first_p95=1.0, first_median=1.0)
    assert durations.look(REMEMBERED + 101) == NOTHING_LEARNT


# ---- how often it fails ----


def test_one_failure_counts_whole_and_fades():
    failing = Failing()
    assert failing.look(0.0) == 0.0
    failing.fail(100.0)
    assert failing.look(100.0) == 1.0
    assert failing.look(100.0 + FADING) == pytest.approx(0.37, abs=0.01)
    assert failing.look(1e9) == TRACE  # never wholly: nothing better has been heard of it


def test_a_failure_counts_no_more_than_whole_where_another_thread_had_read_the_clock_before():
    failing = Failing()
    failing.fail(10.0)
    assert failing.look(8.0) == 1.0


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


class Learning:
    """A store that is told of attempts on one target."""

    def __init__(self):
        self.clock = VirtualClock()
        self.store = InMemoryHealthStore(lambda: self.clock.now)

    def give(self, report, began=None, **more):
        """Tell of an attempt; `began` is its lease, where others began after it."""
        wanted = claim(**more)
        self.store.give("a", began or self.store.take("a", wanted), wanted, report)
        return self.look()

    def look(self):
        return self.store.look("a", Policy())


def test_a_store_keeps_whole_answers_and_first_pieces_of_each_target():
    it = Learning()
    for _ in range(25):
        it.give(Report(Effect.SUCCESS, 0.5, end=0.5))
    for _ in range(20):
        health = it.give(Report(Effect.SUCCESS, first=0.01, gap=0.02, end=0.7), streamed=True)
    assert health.answers == Latency(pytest.approx(0.5), 0.5)
    assert health.first_tokens == Latency(pytest.approx(0.01), 0.01)
    assert (health.latency(streaming=True), health.latency(streaming=False)) == (health.first_tokens, health.answers)
    assert health.learned[0] == Learned(0.5, 0.5, 0.01, 0.01, 0.02, 0.7, 0.5)
    assert it.give(Report(Effect.ALIVE, 500.0)) == health  # what does not answer is not measured
    assert it.give(Report(Effect.ALIVE, failed=True)).failing == 1.0
    assert it.give(Report(Effect.SUCCESS, 0.5)).failing == pytest.approx(0.8)
    it.clock.advance(STALE + 1)
    assert (it.look().answers, it.look().first_tokens) == (Latency(), Latency())
    assert it.store.look("b", Policy()).latency(streaming=True) == Latency()


def test_what_thinking_answers_take_is_kept_apart():
    it = Learning()
    for _ in range(20):
        it.give(Report(Effect.SUCCESS, first=90.0, gap=30.0, end=200.0), streamed=True, thinks=True)
        health = it.give(Report(Effect.SUCCESS, first=0.5, gap=0.1, end=2.0), streamed=True)
    assert [learned.first_p95 for learned in health.learned] == [0.5, 90.0]
    leases = [it.store.take("a", claim(thinks=thinks)).learned.first_p95 for thinks in (False, True)]
    assert leases == [0.5, 90.0]


def test_what_was_given_up_while_others_were_answered_counts_as_longer_than_that():
    """Else what is learnt would never be longer than what is waited for."""
    it = Learning()
    for plain in (True, False):
        for number in range(20):
            wanted = claim(2 * number, streamed=not plain)
            lease = it.store.take("a", wanted)
            it.clock.advance(1.0)
            it.give(Report(Effect.SUCCESS), call=2 * number + 1)
            it.store.give("a", lease, wanted, Report(Effect.FAILURE, late=60.0, failed=True))
        learned = it.look().learned[0]
        assert (learned.answer_p95 if plain else learned.first_p95) == 120.0
    assert (it.look().state, it.look().failures) == ("closed", 0)


def test_a_stream_that_had_begun_when_it_was_given_up_tells_nothing_of_first_pieces():
    it = Learning()
    for number in range(20):
        wanted = claim(2 * number, streamed=True)
        lease = it.store.take("a", wanted)
        it.clock.advance(1.0)
        it.give(Report(Effect.SUCCESS), call=2 * number + 1)
        it.store.give("a", lease, wanted, Report(Effect.FAILURE, first=0.5, late=60.0, failed=True))
    assert it.look().learned[0] == NOTHING_LEARNT


def test_nearly_every_call_is_given_the_same_lease():
    it = Learning()
    first = it.store.take("a", claim(1))
    assert it.store.take("a", claim(2)) is first
    assert it.store.take("a", claim(3, thinks=True)) is not first
