"""The health store in memory: leases, limits, latencies, and what an outcome says of its target."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from timed import claim

from understudy import Limits, Policy, StreamInterrupted
from understudy.errors import (
    AuthenticationFailed,
    Cancelled,
    ConnectionFailed,
    ContentBlocked,
    ContextTooLong,
    Effect,
    EmptyResponse,
    InvalidRequest,
    MalformedResponse,
    ModelNotFound,
    Overloaded,
    PermissionDenied,
    ProviderUnavailable,
    QuotaExhausted,
    RateLimited,
    RequestRefused,
    RequestTooLarge,
    ResponseRejected,
    ServerError,
    Timeout,
    UnsupportedRequest,
)
from understudy.health.admission import effect_of, report_of
from understudy.health.in_memory import MOST_TARGETS, InMemoryHealthStore
from understudy.health.latency import Latency
from understudy.health.record import SLOWEST_SIGN
from understudy.health.store import HealthStore, Report
from understudy.testing import VirtualClock

EAGER = Policy.eager(breaker_jitter=0.0)
OPEN = EAGER.breaker_open  # seconds


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
    before = fail(store, times=7)
    assert (before.granted, before.state, before.changed) == (True, "closed", False)
    assert before.failing == 0.6  # six of ten, the latest left out
    last = fail(store, times=1)
    assert (last.granted, last.state, last.free_in, last.reason, last.changed) == (False, "open", OPEN, "breaker", True)
    health = store.look("a", EAGER)
    assert (health.state, health.free_in, health.failures) == ("open", OPEN, 8)


def test_an_open_target_is_refused_with_the_time_that_is_left():
    store, clock = opened()
    clock.advance(2)
    lease = store.take("a", claim())
    assert (lease.granted, lease.state, lease.free_in, lease.reason) == (False, "open", OPEN - 2, "breaker")
    assert store.take("b", claim()).granted


def test_the_probe_is_granted_once_and_one_success_closes():
    store, clock = opened()
    clock.advance(OPEN)
    probe = store.take("a", claim())
    assert (probe.granted, probe.state, probe.changed) == (True, "half-open", True)
    assert probe.probe
    other = store.take("a", claim(2))
    assert (other.granted, other.free_in, other.state, other.busy) == (False, SLOWEST_SIGN, "half-open", True)
    assert not other.changed
    after = store.give("a", probe, claim(), Report(Effect.SUCCESS))
    assert (after.granted, after.state, after.changed) == (True, "closed", True)
    assert not store.take("a", claim(2)).probe


def test_a_target_that_was_closed_too_soon_opens_sooner_and_wants_two_successes():
    store, clock = opened()
    clock.advance(OPEN)
    store.give("a", store.take("a", claim()), claim(), Report(Effect.SUCCESS))
    assert fail(store, times=2).free_in == EAGER.breaker_longest
    clock.advance(EAGER.breaker_longest)
    for state in ("half-open", "closed"):
        assert store.give("a", store.take("a", claim()), claim(), Report(Effect.SUCCESS)).state == state


@pytest.mark.parametrize(
    ("late", "lease", "seconds"),
    [(None, 60.0, SLOWEST_SIGN), (30.0, 60.0, EAGER.breaker_longest), (30.0, 5.0, 5.0), (None, 1.0, 1.0)],
)
def test_a_probe_that_takes_long_or_was_abandoned_is_followed_by_another(late, lease, seconds):
    """One of a target that hung gets more time than one of a target that failed at once."""
    store, clock = store_of()
    fail(store, late=late)
    clock.advance(OPEN)
    first = store.take("a", claim(1, EAGER, lease))
    clock.advance(seconds - 0.01)
    assert not store.take("a", claim(2, EAGER, lease)).granted
    clock.advance(0.01)
    second = store.take("a", claim(2, EAGER, lease))
    assert second.probe > first.probe
    assert store.give("a", first, claim(), Report(Effect.FAILURE)).state == "half-open"
    assert store.give("a", second, claim(2), Report(Effect.SUCCESS)).state == "closed"


def test_a_probe_that_was_overtaken_and_is_answered_closes():
    store, clock = opened()
    clock.advance(OPEN)
    first = store.take("a", claim())
    clock.advance(SLOWEST_SIGN)
    assert store.take("a", claim(2)).probe
    assert store.give("a", first, claim(), Report(Effect.SUCCESS)).state == "closed"


def test_a_late_outcome_of_an_older_generation_changes_nothing():
    store, clock = store_of()
    early = store.take("a", claim(99))
    fail(store)
    clock.advance(1)
    assert not store.give("a", early, claim(99), Report(Effect.SUCCESS)).granted
    assert store.look("a", EAGER).free_in == OPEN - 1
    clock.advance(OPEN - 1)
    probe = store.take("a", claim())
    store.give("a", early, claim(99), Report(Effect.FAILURE))
    assert store.look("a", EAGER).state == "half-open"
    assert probe.generation > early.generation


@pytest.mark.parametrize("seconds", [1, OPEN])
def test_a_forced_attempt_is_granted_and_neither_probe_nor_evidence(seconds):
    store, clock = opened()
    clock.advance(seconds)
    if seconds == OPEN:
        assert store.take("a", claim()).probe
    forced = store.take("a", claim(forced=True))
    assert (forced.granted, forced.probe) == (True, 0)
    state = store.look("a", EAGER).state
    for effect in (Effect.SUCCESS, Effect.FAILURE, Effect.RATE_LIMITED):
        store.give("a", forced, claim(forced=True), Report(effect))
    assert store.look("a", EAGER).state == state


def test_a_forced_attempt_is_the_probe_where_it_may_be():
    store, clock = opened()
    clock.advance(OPEN)
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
    clock.advance(OPEN - 1)
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


def test_targets_that_never_answer_are_forgotten_before_one_that_did():
    store, _ = store_of()
    store.give("known", store.take("known", claim()), claim(), Report(Effect.SUCCESS))
    fail(store, "known")
    for number in range(3 * MOST_TARGETS):  # such as models of other people's invention
        name = f"target {number}"
        store.give(name, store.take(name, claim()), claim(), Report(Effect.REFUSED))
        assert len(store._records) <= MOST_TARGETS
    assert store.look(f"target {number}", EAGER).state == "cooling"
    assert store.look("known", EAGER).state == "open"


def test_threads_get_one_probe_and_lose_no_failure():
    store, clock = store_of()
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda call: fail(store, policy=Policy.eager(breaker_failures=400)), range(39)))
        assert store.look("a", EAGER).failures == 390
        fail(store, policy=Policy.eager(breaker_failures=400, breaker_jitter=0.0))
        clock.advance(OPEN)
        leases = list(pool.map(lambda call: store.take("a", claim(call)), range(200)))
    assert sum(lease.granted for lease in leases) == 1


# ---- who is late ----


def answered(store, clock, seconds=2.0, times=20):
    """Let a target answer after so many seconds, one call after the other."""
    for call in range(times):
        wanted = claim(-1 - call)
        lease = store.take("a", wanted)
        clock.advance(seconds)
        store.give("a", lease, wanted, Report(Effect.SUCCESS, seconds, end=seconds))


def begin(store, number):
    wanted = claim(number)
    return store.take("a", wanted), wanted


def test_who_is_late_while_one_that_began_later_was_answered_is_not_down():
    store, clock = store_of()
    for number in range(20):
        early, wanted = begin(store, 2 * number)
        clock.advance(1)
        later, other = begin(store, 2 * number + 1)
        store.give("a", later, other, Report(Effect.SUCCESS))
        after = store.give("a", early, wanted, Report(Effect.FAILURE, late=50.0, failed=True))
        assert (after.alive, after.granted) == (True, True)
    health = store.look("a", EAGER)
    assert (health.state, health.failures, health.failing) == ("closed", 0, 0.0)


def test_who_is_late_and_answered_nobody_since_has_failed():
    store, clock = store_of()
    answered(store, clock, times=1)
    for number in range(7):
        lease, wanted = begin(store, number)
        clock.advance(1)
        after = store.give("a", lease, wanted, Report(Effect.FAILURE, late=50.0, failed=True))
        assert not after.alive
    assert (after.state, store.look("a", EAGER).failures, store.look("a", EAGER).failing) == ("open", 7, 1.0)


def test_an_answer_to_one_that_began_earlier_shows_nothing():
    store, clock = store_of()
    early, wanted = begin(store, 1)
    clock.advance(1)
    late, other = begin(store, 2)
    store.give("a", early, wanted, Report(Effect.SUCCESS))
    assert not store.give("a", late, other, Report(Effect.FAILURE, late=50.0, failed=True)).alive


# ---- who answers nobody ----


def crowd(store, clock, number=60, every=0.25, first=0):
    """Have a call begin every so many seconds, and return their leases."""
    leases = []
    for call in range(first, first + number):
        leases.append(begin(store, call))
        clock.advance(every)
    return leases


def test_a_target_that_answers_nobody_is_doubted_and_then_left_alone():
    store, clock = store_of()
    answered(store, clock)
    began = clock.now
    leases = [lease for lease, _ in crowd(store, clock)]
    doubted = [lease.granted and lease.doubt for lease in leases].index(True)
    refused = [lease.granted for lease in leases].index(False)
    assert doubted * 0.25 >= 4.0  # some of those under way have waited for long enough to tell
    assert (refused - doubted) * 0.25 >= 3.0  # those who were asked in doubt had time for a sign of life
    assert refused * 0.25 <= 12.0
    assert all(lease.doubt for lease in leases[doubted:refused])
    assert (leases[refused].state, leases[refused].reason, leases[refused].changed) == ("open", "breaker", True)
    assert clock.now - began == 15.0


def test_whether_it_answers_anybody_is_told_without_asking_it():
    store, clock = store_of()
    answered(store, clock)
    crowd(store, clock, 20)
    suspect = []
    for _ in range(8):
        health = store.look("a", EAGER)
        suspect.append(health.suspect)
        assert health.state == "closed"
        clock.advance(1)
    assert (suspect[0], suspect[-1]) == (False, True)


def test_one_sign_of_life_of_a_later_request_ends_all_doubt():
    store, clock = store_of()
    answered(store, clock)
    leases = crowd(store, clock, 24)
    assert leases[-1][0].doubt
    store.give("a", *leases[-1], Report(Effect.SUCCESS, first=0.5))
    clock.advance(1)
    lease, _ = begin(store, 100)
    assert (lease.granted, lease.doubt) == (True, False)
    assert not store.look("a", EAGER).suspect


def test_a_sign_of_life_of_an_earlier_request_ends_no_doubt():
    store, clock = store_of()
    answered(store, clock)
    leases = crowd(store, clock, 18)
    assert leases[-1][0].doubt
    store.give("a", *leases[0], Report(Effect.SUCCESS, first=0.5))
    clock.advance(0.5)
    assert begin(store, 100)[0].doubt


def test_a_target_three_times_as_slow_is_asked_on_once_it_gave_a_sign_of_life():
    store, clock = store_of()
    answered(store, clock)
    waiting, doubted = [], 0
    for call in range(200):
        lease, wanted = begin(store, call)
        assert lease.granted
        doubted += lease.doubt
        waiting.append((clock.now + (1.5 if lease.doubt else 6.0), lease, wanted))
        clock.advance(0.25)
        for each in [each for each in waiting if each[0] <= clock.now]:
            waiting.remove(each)
            seconds = None if each[1].doubt else 6.0
            store.give("a", *each[1:], Report(Effect.SUCCESS, seconds, end=seconds, first=None if seconds else 1.5))
    assert doubted
    assert store.look("a", EAGER).state == "closed"


def test_thinking_requests_are_doubted_by_what_thinking_answers_take():
    store, clock = store_of()
    answered(store, clock)
    leases = []
    for call in range(60):
        leases.append(store.take("a", claim(call, thinks=True)))
        clock.advance(0.25)
    assert [(lease.granted, lease.doubt) for lease in leases] == [(True, False)] * 60


@pytest.mark.parametrize(("learnt", "number"), [(0, 60), (20, 5)])
def test_where_nothing_is_known_or_few_wait_nobody_is_doubted(learnt, number):
    store, clock = store_of()
    answered(store, clock, times=learnt)
    leases = crowd(store, clock, number, every=10.0)
    assert [(lease.granted, lease.doubt) for lease, _ in leases] == [(True, False)] * number
    assert not store.look("a", EAGER).suspect


@pytest.mark.parametrize("policy", [EAGER, Policy(), Policy(breaker=False)])
def test_a_policy_without_a_breaker_asks_on(policy):
    store, clock = store_of()
    answered(store, clock)
    granted = []
    for call in range(60):
        granted.append(store.take("a", claim(call, policy)).granted)
        clock.advance(0.25)
    assert all(granted) is not policy.breaker


@pytest.mark.parametrize("effect", [Effect.SUCCESS, Effect.FAILURE, Effect.NOTHING, Effect.ALIVE])
def test_whoever_has_ended_is_not_under_way(effect):
    store, clock = store_of()
    answered(store, clock)
    leases = crowd(store, clock, 24)
    for lease, wanted in leases:
        store.give("a", lease, wanted, Report(effect))
    assert not any(store._records["a"]._under_way)
    assert not store.look("a", EAGER).suspect


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
        (RequestRefused(), Effect.ALIVE),
        (InvalidRequest(), Effect.NOTHING),
        (ContextTooLong(), Effect.ALIVE),
        (AuthenticationFailed(), Effect.REFUSED),
        (PermissionDenied(), Effect.REFUSED),
        (ModelNotFound(), Effect.REFUSED),
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
    assert effect_of(failure) is effect


def test_what_broke_a_stream_off_says_it():
    for cause, effect in (
        (Timeout(), Effect.FAILURE),
        (RateLimited(), Effect.RATE_LIMITED),
        (Cancelled(), Effect.NOTHING),
    ):
        interrupted = StreamInterrupted(partial="a")
        interrupted.__cause__ = cause
        assert effect_of(interrupted) is effect


@pytest.mark.parametrize(
    ("failure", "failed"),
    [
        (ServerError(), True),
        (Timeout(), True),
        (RateLimited(), True),
        (QuotaExhausted(), True),
        (AuthenticationFailed(), True),
        (MalformedResponse(), True),
        (EmptyResponse(), True),
        (ContextTooLong(), False),
        (UnsupportedRequest(), False),
        (InvalidRequest(), False),
        (RequestRefused(), False),
        (ContentBlocked(), False),
        (Cancelled(), False),
    ],
)
def test_a_target_that_gave_no_answer_is_asked_later_unless_the_request_or_the_caller_is_at_fault(failure, failed):
    assert report_of(failure, None, "a", priced=False).failed is failed


def test_what_was_refused_and_when_to_come_back_is_reported():
    report = report_of(ModelNotFound("no such model"), None, "a", priced=False)
    assert (report.effect, report.why, report.sent) == (Effect.REFUSED, "model not found", True)
    report = report_of(RateLimited(retry_after=7.0), None, "a", priced=False)
    assert (report.hint, report.tokens) == (7.0, 0.0)  # nobody charges for a refusal
    assert report_of(Timeout(), None, "a", priced=False).tokens is None
    assert report_of(InvalidRequest("bad", status=400), None, "a", priced=False).tokens == 0.0  # it is not charged
    assert report_of(MalformedResponse("odd", status=200), None, "a", priced=False).tokens is None  # it may be
    assert not report_of(ProviderUnavailable(), None, "a", priced=False).sent
    assert not report_of(UnsupportedRequest("no tools"), None, "a", priced=False).sent
    assert report_of(UnsupportedRequest("no tools", status=400), None, "a", priced=False).sent  # the vendor says so


def test_a_target_that_refuses_its_key_rests_and_says_why():
    store, clock = store_of()
    for seconds in (30, 60, 120, 240, 300, 300):
        after = fail(store, times=1, effect=Effect.REFUSED, why="key refused")
        assert (after.state, after.free_in, after.refused, after.changed) == ("cooling", seconds, "key refused", True)
        lease = store.take("a", claim())
        assert (lease.granted, lease.reason, lease.refused) == (False, "refusal", "key refused")
        assert store.look("a", EAGER).refused == "key refused"
        clock.advance(seconds)
    assert store.look("a", EAGER).refused == ""
    store.give("a", store.take("a", claim()), claim(), Report(Effect.SUCCESS))
    assert fail(store, times=1, effect=Effect.REFUSED, why="key refused").free_in == 30
    assert fail(store, "b", times=1, effect=Effect.REFUSED, why="key refused", policy=Policy()).free_in == 30
    restless = Policy(refusal_cooldown=None)
    assert fail(store, "c", effect=Effect.REFUSED, why="key refused", policy=restless).granted
