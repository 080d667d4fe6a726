"""What a store over a network cannot take with it when it is slow or hangs: leases (I15), threads, other calls."""

import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from timed import claim

from understudy import Limits, Policy
from understudy.errors import Effect
from understudy.health import InMemoryHealthStore, Report, shared
from understudy.health.shared import GuardedStore
from understudy.testing import VirtualClock

EAGER = Policy.eager(breaker_jitter=0.0, jitter="none")
LIMITS = Limits(concurrent=1, spend_per_day=1.0)
WANTED = claim(limits=LIMITS, cost=0.4)
PATIENCE = shared.PATIENCE


class Remote:
    """A health store that takes its time, fails, or hangs, as it is told."""

    blocks = True

    def __init__(self):
        # Its threads may outlast a test, and hypothesis minds who else draws from random.random.
        self.inner = InMemoryHealthStore(random=lambda: 0.5)
        self.seconds = 0.0
        self.error = None
        self.free = threading.Event()  # without which it hangs
        self.free.set()
        self.asked = []
        self.ended = []
        self.threads = set()

    def _hear(self, question):
        self.asked.append(question)
        self.threads.add(threading.current_thread())
        time.sleep(self.seconds)
        self.free.wait(10)
        if self.error:
            raise self.error

    def take(self, target, claim):
        self._hear("take")
        return self.inner.take(target, claim)

    def give(self, target, lease, claim, report):
        self._hear("give")
        try:
            return self.inner.give(target, lease, claim, report)
        finally:
            self.ended.append("give")

    def look(self, target, policy):
        self._hear("look")
        return self.inner.look(target, policy)

    def held(self):
        """Return the slots held, whether a probe is under way, and the dollars that are left."""
        record = self.inner._records["a"]
        left = self.inner.look("a", EAGER).left["dollars a day"]
        return len(record._allowance._slots), bool(record.breaker._probe), left


@pytest.fixture
def remote():
    store = Remote()
    yield store
    store.free.set()


@pytest.fixture(autouse=True)
def unhurried(monkeypatch):
    """Have a busy machine fail no test."""
    monkeypatch.setattr(shared, "PATIENCE", 5)


@pytest.fixture
def hurried(unhurried, monkeypatch):
    monkeypatch.setattr(shared, "PATIENCE", PATIENCE)


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
def guard(remote, clock):
    return GuardedStore(remote, InMemoryHealthStore(lambda: clock.now), lambda: clock.now)


def eventually(condition):
    latest = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < latest
        time.sleep(0.002)


def fail_once(guard, store):
    store.error = ConnectionError("gone")
    guard.look("a", EAGER)
    store.error = None


def take_too_late(guard, remote):
    remote.free.clear()
    assert guard.take("a", WANTED).local
    remote.free.set()


# ---- leases ----


@pytest.mark.usefixtures("hurried")
def test_what_is_granted_too_late_is_given_back(guard, remote):
    take_too_late(guard, remote)
    eventually(lambda: remote.ended == ["give"])
    assert remote.asked == ["take", "give"]
    assert remote.held() == (0, False, 1.0)


@pytest.mark.usefixtures("hurried")
def test_a_probe_that_is_granted_too_late_is_given_back(guard, remote):
    shared, seconds = remote.inner, 0.01
    wanted = claim(limits=LIMITS, cost=0.4, policy=Policy.eager(refusal_cooldown=seconds))
    shared.give("a", shared.take("a", wanted), wanted, Report(Effect.REFUSED, cost=0.0))
    time.sleep(2 * seconds)
    take_too_late(guard, remote)
    eventually(lambda: remote.ended == ["give"])
    assert remote.held() == (0, False, 1.0)
    assert shared.take("a", WANTED).probe


@pytest.mark.usefixtures("hurried")
def test_a_refusal_that_comes_too_late_is_no_lease(guard, remote):
    held = remote.take("a", WANTED)
    take_too_late(guard, remote)
    eventually(lambda: guard._places._value == shared.MOST_AT_ONCE)
    assert remote.asked == ["take", "take"]
    assert remote.held()[0] == held.granted == 1


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="expected POSIX, found no pthread_kill")
def test_what_is_granted_to_a_caller_who_was_interrupted_is_given_back(guard, remote):
    remote.free.clear()
    main = threading.main_thread().ident
    timer = threading.Timer(0.03, lambda: signal.pthread_kill(main, signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        guard.take("a", WANTED)
    timer.join()
    remote.free.set()
    eventually(lambda: remote.ended == ["give"])
    assert remote.held() == (0, False, 1.0)


def test_what_ends_while_the_store_is_left_alone_is_given_back_when_it_answers_again(guard, remote, clock):
    lease = guard.take("a", WANTED)
    fail_once(guard, remote)
    assert guard.give("a", lease, WANTED, Report(Effect.FAILURE, cost=0.1)).local
    assert "give" not in remote.asked
    assert remote.held()[0] == 1
    clock.advance(1)
    guard.look("a", EAGER)
    eventually(lambda: remote.ended == ["give"])
    assert remote.held() == (0, False, 0.9)
    assert remote.inner.look("a", EAGER).failures == 0  # it is not news any more
    guard.look("a", EAGER)
    assert remote.asked.count("give") == 1


@pytest.mark.parametrize("heard", [True, False])
def test_what_a_store_may_not_have_heard_of_is_given_back_once(guard, remote, clock, heard):
    lease = guard.take("a", WANTED)
    if heard:  # it takes note, and its answer is lost
        remote.inner.give("a", lease, WANTED, Report(Effect.SUCCESS, cost=0.1))
    remote.error = ConnectionError("gone")
    assert guard.give("a", lease, WANTED, Report(Effect.SUCCESS, cost=0.1)).local
    remote.error = None
    before = remote.held()
    clock.advance(1)
    guard.look("a", EAGER)
    eventually(lambda: remote.ended == ["give"])
    slots, probe, left = remote.held()
    assert (slots, probe) == (0, False)
    assert left == before[2]  # by the vendor's count where it was heard, else by the estimate
    assert heard is (left == 0.9)


def test_when_it_is_gone_again_the_others_are_given_back_another_time(guard, remote, clock):
    claims = [claim(call, limits=Limits(concurrent=9)) for call in range(3)]
    leases = [guard.take("a", each) for each in claims]
    fail_once(guard, remote)
    for lease, each in zip(leases, claims, strict=True):
        guard.give("a", lease, each, Report(Effect.SUCCESS))
    clock.advance(1)
    lost = remote.inner.give
    remote.inner.give = None  # not callable: this question alone fails
    guard.look("a", EAGER)
    eventually(lambda: remote.ended == ["give"] and not guard._repaying)
    remote.inner.give = lost
    guard.look("a", EAGER)
    eventually(lambda: remote.ended == ["give"] * 3)
    assert len(remote.inner._records["a"]._allowance._slots) == 1


def test_one_thread_at_a_time_gives_back(guard, remote, clock):
    leases = [guard.take("a", claim(call, limits=Limits(concurrent=9))) for call in range(3)]
    fail_once(guard, remote)
    for lease in leases:
        guard.give("a", lease, claim(limits=Limits(concurrent=9)), Report(Effect.SUCCESS))
    clock.advance(1)
    give, free = remote.give, threading.Event()

    def hang(*question):
        given.append(question)
        free.wait(10)
        return give(*question)

    given = []
    remote.give = hang
    for _ in range(3):
        guard.look("a", EAGER)
    eventually(lambda: given)
    time.sleep(0.02)
    assert len(given) == 1
    free.set()
    eventually(lambda: remote.ended == ["give"] * 3)


def test_only_so_many_wait_to_be_given_back(guard, remote):
    lease = guard.take("a", WANTED)
    fail_once(guard, remote)
    for _ in range(shared.MOST_OWED + 10):
        guard.give("a", lease, WANTED, Report(Effect.SUCCESS))
    assert len(guard._owed) == shared.MOST_OWED


# ---- threads ----


@pytest.mark.usefixtures("hurried")
def test_after_a_failure_one_question_at_a_time_tries(guard, remote, clock):
    remote.free.clear()
    guard.look("a", EAGER)
    assert len(remote.asked) == 1
    for _ in range(50):
        clock.advance(shared.LONGEST_REST)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: guard.look("a", EAGER), range(4)))
    assert len(remote.asked) == 2
    remote.free.set()
    eventually(lambda: not guard._trying)
    clock.advance(shared.LONGEST_REST)
    guard.look("a", EAGER)
    assert len(remote.asked) == 3


def test_while_one_tries_the_others_do_not_wait(guard, remote, clock):
    fail_once(guard, remote)
    clock.advance(1)
    remote.free.clear()
    trying = threading.Thread(target=guard.look, args=("a", EAGER))
    trying.start()
    eventually(lambda: len(remote.asked) == 2)
    assert guard.take("a", WANTED).local
    assert trying.is_alive()
    remote.free.set()
    trying.join()
    assert not guard.take("a", WANTED).local


@pytest.mark.usefixtures("hurried")
def test_callers_at_once_leave_no_more_threads_than_that_when_it_hangs(guard, remote):
    remote.free.clear()
    callers = [threading.Thread(target=guard.take, args=("a", WANTED)) for _ in range(3 * shared.MOST_AT_ONCE)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(10)
    assert guard._rests == 1
    assert len(remote.threads) <= shared.MOST_AT_ONCE


def test_in_a_crowd_one_waits_for_a_place(guard, remote, monkeypatch):
    monkeypatch.setattr(shared, "CROWD", 5)
    monkeypatch.setattr(shared, "MOST_AT_ONCE", 2)
    guard.begin_anew()
    remote.seconds = 0.01
    with ThreadPoolExecutor(8) as pool:
        leases = list(pool.map(lambda call: guard.take("a", claim(call)), range(8)))
    assert not any(lease.local for lease in leases)


def test_a_crowd_is_not_the_stores_fault(guard, remote, monkeypatch):
    monkeypatch.setattr(shared, "MOST_AT_ONCE", 1)
    guard.begin_anew()
    remote.free.clear()
    first = threading.Thread(target=guard.look, args=("a", EAGER))
    first.start()
    eventually(lambda: remote.asked)
    assert guard.take("a", WANTED).local
    remote.free.set()
    first.join()
    assert (guard._rests, len(remote.asked)) == (0, 1)
    assert not guard.take("a", WANTED).local


def test_an_answer_to_an_older_question_ends_no_rest(guard, remote, clock):
    remote.free.clear()
    older = threading.Thread(target=guard.look, args=("a", EAGER))
    older.start()
    eventually(lambda: remote.asked)
    guard._rest("somebody else's question failed")
    remote.free.set()
    older.join()
    assert guard._rests == 1
    guard.look("a", EAGER)
    assert len(remote.asked) == 1
    clock.advance(1)
    guard.look("a", EAGER)
    assert (guard._rests, len(remote.asked)) == (0, 2)


def test_where_no_thread_can_be_started_the_store_in_memory_answers(guard, remote, monkeypatch):
    def start(function):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(shared, "start", start)
        assert guard.take("a", WANTED).local
    assert (guard._rests, guard._places._value) == (0, shared.MOST_AT_ONCE)
    assert not guard.take("a", WANTED).local


def test_where_nothing_is_owed_no_thread_is_started_to_give_it_back(remote, monkeypatch):
    monkeypatch.setattr(GuardedStore, "_repay", lambda store: pytest.fail("there is nothing to give back"))
    started = []
    start = shared.start
    monkeypatch.setattr(shared, "start", lambda work: (started.append(work), start(work)))
    store = GuardedStore(remote, InMemoryHealthStore())
    store.take("a", WANTED)
    assert len(started) == 1  # the question itself
