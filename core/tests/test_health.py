"""The health store in memory: leases, limits, latencies, and what an outcome says of its target."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from timed import claim

from understudy import (
    AuthenticationFailed,
    Cancelled,
    ConnectionFailed,
    ContentBlocked,
    ContextTooLong,
    EmptyResponse,
    InMemoryHealthStore,
    InvalidRequest,
    Limits,
    MalformedResponse,
    Overloaded,
    Policy,
    ProviderUnavailable,
    QuotaExhausted,
    RateLimited,
    RequestTooLarge,
    ResponseRejected,
    ServerError,
    StreamInterrupted,
    Timeout,
    UnsupportedRequest,
)
from understudy.admission import effect_of
from understudy.breaker import Effect
from understudy.health import MOST_TARGETS, HealthStore, Lease, Report
from understudy.latencies import Latency
from understudy.testing import VirtualClock

EAGER = Policy.eager(breaker_jitter=0.0)


def store_of():
    clock = VirtualClock()
    return InMemoryHealthStore(lambda: clock.now, lambda: 0.5), clock


def fail(store, target="a", times=10, effect=Effect.FAILURE, policy=EAGER, **more):
    for call in range(times):
        wanted = claim(call, policy)
        last = store.give(target, store.take(target, wanted), wanted, Report(effect, **more))
    return last


def opened():
    store, clock = store_of()
    fail(store)
    return store, clock


# ---- the store ----


def test_it_is_a_health_store():
    store, _ = store_of()
    assert isinstance(store, HealthStore)
    assert not store.blocks


def test_an_unknown_target_is_well_and_asking_how_it_is_changes_nothing():
    store, _ = store_of()
    health = store.look("a", EAGER)
    assert (health.state, health.free_in, health.failures, health.failing) == ("closed", 0, 0, 0)
    assert health.answers == health.first_tokens == Latency()
    assert repr(store) == "InMemoryHealthStore(0 targets)"


def test_the_report_that_opens_it_says_so():
    store, _ = store_of()
    assert fail(store, times=9) == Lease(True)
    last = fail(store, times=1)
    assert (last.granted, last.state, last.free_in, last.reason, last.changed) == (False, "open", 30, "breaker", True)
    health = store.look("a", EAGER)
    assert (health.state, health.free_in, health.failures) == ("open", 30, 10)


def test_an_open_target_is_refused_with_the_time_that_is_left():
    store, clock = opened()
    clock.advance(10)
    lease = store.take("a", claim())
    assert (lease.granted, lease.state, lease.free_in, lease.reason) == (False, "open", 20, "breaker")
    assert store.take("b", claim()).granted


def test_the_probe_is_granted_once_and_says_that_it_is_one():
    store, clock = opened()
    clock.advance(30)
    probe = store.take("a", claim(lease=61))
    assert (probe.granted, probe.state, probe.changed) == (True, "half-open", True)
    assert probe.probe
    other = store.take("a", claim())
    assert (other.granted, other.free_in, other.state) == (False, 61, "half-open")
    assert not other.changed
    assert store.give("a", probe, claim(), Report(Effect.SUCCESS)).granted
    second = store.take("a", claim())
    assert second.probe
    after = store.give("a", second, claim(), Report(Effect.SUCCESS))
    assert (after.state, after.changed) == ("closed", True)


def test_an_abandoned_probes_lease_ends():
    store, clock = opened()
    clock.advance(30)
    assert store.take("a", claim(lease=5)).granted
    clock.advance(4.9)
    assert not store.take("a", claim()).granted
    clock.advance(0.1)
    assert store.take("a", claim()).granted


def test_a_late_outcome_of_an_older_generation_changes_nothing():
    store, clock = store_of()
    early = store.take("a", claim(99))
    fail(store)
    clock.advance(1)
    assert not store.give("a", early, claim(99), Report(Effect.SUCCESS)).granted
    assert store.look("a", EAGER).free_in == 29
    clock.advance(29)
    probe = store.take("a", claim())
    store.give("a", early, claim(99), Report(Effect.FAILURE))
    assert store.look("a", EAGER).state == "half-open"
    assert probe.generation > early.generation


@pytest.mark.parametrize("seconds", [1, 30])
def test_a_forced_attempt_is_granted_and_neither_probe_nor_evidence(seconds):
    store, clock = opened()
    clock.advance(seconds)
    if seconds == 30:
        assert store.take("a", claim()).probe
    forced = store.take("a", claim(forced=True))
    assert (forced.granted, forced.probe) == (True, 0)
    state = store.look("a", EAGER).state
    for effect in (Effect.SUCCESS, Effect.FAILURE, Effect.RATE_LIMITED):
        store.give("a", forced, claim(forced=True), Report(effect))
    assert store.look("a", EAGER).state == state


def test_a_forced_attempt_is_the_probe_where_it_may_be():
    store, clock = opened()
    clock.advance(30)
    assert store.take("a", claim(forced=True)).probe


def test_limits_hold_for_a_forced_attempt_too():
    store, _ = opened()
    limits = Limits(requests_per_minute=1)
    assert store.take("a", claim(limits=limits, forced=True)).granted
    lease = store.take("a", claim(limits=limits, forced=True))
    assert (lease.granted, lease.reason) == (False, "1 requests a minute")


def test_a_full_limit_takes_no_probe():
    store, clock = opened()
    limits = Limits(concurrent=1)
    clock.advance(29)
    slot = store.take("a", claim(limits=limits, forced=True))
    clock.advance(1)
    refused = store.take("a", claim(limits=limits))
    assert (refused.granted, refused.reason, refused.changed) == (False, "1 at once", True)
    store.give("a", slot, claim(limits=limits), Report(Effect.NOTHING))
    assert store.take("a", claim(limits=limits)).probe


def test_usage_is_settled_with_what_the_vendor_counted():
    store, _ = store_of()
    wanted = claim(limits=Limits(tokens_per_minute=1000), tokens=800)
    lease = store.take("a", wanted)
    assert not store.take("a", wanted).granted
    store.give("a", lease, wanted, Report(Effect.SUCCESS, tokens=150))
    assert store.look("a", EAGER).left == {"tokens a minute": 850}
    lease = store.take("a", wanted)
    store.give("a", lease, wanted, Report(Effect.SUCCESS))  # it did not say: the estimate stays
    assert store.look("a", EAGER).left == {"tokens a minute": 50}


@pytest.mark.parametrize(
    ("report", "left"),
    [
        (Report(Effect.FAILURE), {"requests a minute": 2, "tokens a minute": 900}),
        (Report(Effect.RATE_LIMITED, tokens=0.0), {"requests a minute": 2, "tokens a minute": 1000}),
        (Report(Effect.ALIVE, tokens=70.0), {"requests a minute": 2, "tokens a minute": 930}),
        (Report(Effect.NOTHING), {"requests a minute": 2, "tokens a minute": 900}),
        (Report(Effect.NOTHING, sent=False), {"requests a minute": 3, "tokens a minute": 1000}),
    ],
)
def test_a_failed_request_is_a_request_all_the_same(report, left):
    store, _ = store_of()
    wanted = claim(policy=Policy(), limits=Limits(requests_per_minute=3, tokens_per_minute=1000), tokens=100)
    store.give("a", store.take("a", wanted), wanted, report)
    assert store.look("a", EAGER).left == left


def test_programs_with_different_limits_share_a_store():
    store, _ = store_of()
    narrow, wide = Limits(requests_per_minute=2), Limits(requests_per_minute=5, concurrent=3)
    granted = {narrow: 0, wide: 0}
    for _ in range(8):
        for limits in granted:
            lease = store.take("a", claim(limits=limits))
            granted[limits] += lease.granted
            if lease.granted:
                store.give("a", lease, claim(limits=limits), Report(Effect.SUCCESS))
    assert granted == {narrow: 2, wide: 5}


def test_idle_targets_are_forgotten_before_there_are_too_many():
    store, _ = store_of()
    fail(store, "ill")
    for number in range(MOST_TARGETS + 10):
        store.take(f"target {number}", claim())
    assert len(store._records) <= MOST_TARGETS
    assert store.look("ill", EAGER).state == "open"
    store.forget()
    assert store.look("ill", EAGER).state == "closed"


def test_threads_get_one_probe_and_lose_no_failure():
    store, clock = store_of()
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda call: fail(store, policy=Policy.eager(breaker_failures=400)), range(39)))
        assert store.look("a", EAGER).failures == 390
        fail(store, policy=Policy.eager(breaker_failures=400, breaker_jitter=0.0))
        clock.advance(30)
        leases = list(pool.map(lambda call: store.take("a", claim(call)), range(200)))
    assert sum(lease.granted for lease in leases) == 1


# ---- what an outcome says ----


@pytest.mark.parametrize(
    ("failure", "effect"),
    [
        (None, Effect.SUCCESS),
        (ServerError(), Effect.FAILURE),
        (Overloaded(), Effect.FAILURE),
        (ConnectionFailed(), Effect.FAILURE),
        (Timeout(), Effect.FAILURE),
        (StreamInterrupted(), Effect.FAILURE),
        (RateLimited(), Effect.RATE_LIMITED),
        (QuotaExhausted(), Effect.EXHAUSTED),
        (RequestTooLarge(), Effect.ALIVE),
        (InvalidRequest(), Effect.ALIVE),
        (ContextTooLong(), Effect.ALIVE),
        (AuthenticationFailed(), Effect.ALIVE),
        (MalformedResponse(), Effect.ALIVE),
        (EmptyResponse(), Effect.REPLIED),
        (ContentBlocked(), Effect.REPLIED),
        (ResponseRejected(), Effect.REPLIED),
        (ProviderUnavailable(), Effect.NOTHING),
        (UnsupportedRequest(), Effect.NOTHING),
        (Cancelled(), Effect.NOTHING),
    ],
)
def test_a_failure_says_something_of_its_target(failure, effect):
    assert effect_of(failure, 60.0) is effect


def test_a_timeout_of_less_than_a_second_tells_of_the_callers_hurry():
    assert effect_of(Timeout(), 0.99) is Effect.NOTHING
    assert effect_of(Timeout(), 1.0) is Effect.FAILURE
    assert effect_of(ServerError(), 0.01) is Effect.FAILURE


def test_what_broke_a_stream_off_says_it():
    for cause, effect in (
        (Timeout(), Effect.FAILURE),
        (RateLimited(), Effect.RATE_LIMITED),
        (Cancelled(), Effect.NOTHING),
    ):
        interrupted = StreamInterrupted(partial="a")
        interrupted.__cause__ = cause
        assert effect_of(interrupted, 60.0) is effect
