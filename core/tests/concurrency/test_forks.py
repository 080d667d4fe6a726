"""Processes that fork while other threads are in the middle of a call: the child can do all that its parent can."""

import gc
import os
import subprocess
import sys
import weakref

import pytest

from understudy.concurrency import fork_safety
from understudy.health import InMemoryHealthStore
from understudy.health.budgets import Bulkhead

PROLOGUE = """
import os, signal, threading, warnings
from understudy import LLMFactory, Limits, Policy
from understudy.health import InMemoryHealthStore
from understudy.errors import Effect
from understudy.health.budgets import Bulkhead, HedgeBudget, RetryBudget
from understudy.health.shared import GuardedStore
from understudy.health import Claim, Report
from understudy.testing import ScriptedProvider

warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn of threads and forks

def fork(check):
    '''Have a forked process check something, in five seconds.'''
    child = os.fork()
    if not child:
        status = 1
        try:
            signal.alarm(5)
            check()
            status = 0
        except BaseException:
            import traceback
            traceback.print_exc()
        finally:
            os._exit(status)
    status = os.waitpid(child, 0)[1]
    assert status == 0, f"the child ended with {status}, where {signal.SIGALRM.value} says that it hung"

def elsewhere(function):
    '''Have another thread run a function.'''
    threading.Thread(target=function, daemon=True).start()

def hold(lock):
    '''Have another thread hold a lock from now on.'''
    held = threading.Event()
    def work():
        with lock:
            held.set()
            threading.Event().wait()
    elsewhere(work)
    assert held.wait(60)

wanted = Claim(1, Policy.eager(), 60.0, Limits(concurrent=1))
"""

forking = pytest.mark.skipif(not hasattr(os, "fork"), reason="expected POSIX, found no os.fork")


def run(program):
    done = subprocess.run(
        [sys.executable, "-c", PROLOGUE + program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@forking
def test_calls_of_other_threads_take_no_place_in_the_child():
    run("""
inside, go = threading.Event(), threading.Event()
class Slow(ScriptedProvider):
    def generate(self, request):
        inside.set()
        go.wait(60)
        return super().generate(request)

factory = LLMFactory(
    Slow("fine"), settings={}, extensions=[], limits={"script": Limits(concurrent=1)},
    policy=Policy.patient(max_concurrent_calls=1),
)
calling = threading.Thread(target=factory.generate_content, args=("hello",))
calling.start()
assert inside.wait(60)

def child():
    go.set()
    for _ in range(3):
        response = factory.generate_content("hello", max_retries=0)
        assert response.success, response.error

fork(child)
assert not factory.generate_content("hello").success  # here it is under way still
go.set()
calling.join()
assert factory.generate_content("hello").success
""")


@forking
def test_a_call_that_the_child_inherits_may_end_there():
    run("""
bulkhead = Bulkhead(1)
assert bulkhead.enter()

def child():
    bulkhead.leave()
    assert bulkhead.under_way == 0
    assert [bulkhead.enter(), bulkhead.enter()] == [True, False]

fork(child)
assert bulkhead.under_way == 1
""")


@forking
def test_no_lock_stays_locked():
    run("""
bulkhead, retries, hedges = Bulkhead(1), RetryBudget(0.1, 1.0, lambda: 0.0), HedgeBudget(0.5)
store = InMemoryHealthStore()
shared = InMemoryHealthStore()
guard = GuardedStore(shared, InMemoryHealthStore(), lambda: 0.0)
store.give("a", store.take("a", wanted), wanted, Report(Effect.FAILURE))
guard.take("a", wanted)
guard._rest("it is gone")
for owner in (bulkhead, retries, hedges, store, guard, shared):
    hold(owner._lock)

def child():
    retries.deposit()
    assert retries.withdraw() is not None
    hedges.deposit()
    assert hedges.withdraw()
    assert bulkhead.enter()
    store.give("b", store.take("b", wanted), wanted, Report(Effect.FAILURE))
    assert store.take("a", wanted).granted
    assert store.look("a", wanted.policy).failures == 1
    assert guard.take("a", wanted).local
    guard._rest_until = 0.0
    assert not guard.take("a", wanted).local

fork(child)
""")


@forking
def test_leases_of_the_parent_bind_it_alone():
    run("""
store = InMemoryHealthStore()
probing = Claim(1, Policy.eager(refusal_cooldown=1e-6), 60.0, Limits(concurrent=1, requests_per_minute=5))
store.give("a", store.take("a", probing), probing, Report(Effect.REFUSED))
lease = store.take("a", probing)
assert lease.probe and lease.slot

def child():
    own = store.take("a", probing)
    assert own.granted and own.probe, own
    assert store.look("a", probing.policy).left["requests a minute"] == 2  # what is used stays used
    store.give("a", lease, probing, Report(Effect.FAILURE))  # by a call that the child inherited
    assert store.look("a", probing.policy).state == "half-open"
    store.give("a", own, probing, Report(Effect.SUCCESS))
    assert store.look("a", probing.policy).state == "closed"

fork(child)
assert not store.take("a", probing).granted
""")


@forking
def test_the_child_asks_a_store_that_hung_in_the_parent():
    run("""
from understudy.health import shared
shared.MOST_AT_ONCE = 2
now, free, shared = [0.0], threading.Event(), InMemoryHealthStore()
given = []
class Remote:
    blocks = True
    def take(self, target, claim):
        free.wait()
        return shared.take(target, claim)
    def give(self, target, lease, claim, report):
        given.append(lease)
        return shared.give(target, lease, claim, report)
    look = None

guard = GuardedStore(Remote(), InMemoryHealthStore(), lambda: now[0])
free.set()
mine = guard.take("a", wanted)
free.clear()
for _ in range(2):  # the second one tries, and hangs as well
    assert guard.take("b", wanted).local
    now[0] += 100
assert guard._trying
assert guard.give("a", mine, wanted, Report(Effect.SUCCESS)).local

def child():
    free.set()
    assert not guard.take("c", wanted).local
    assert not guard.take("d", wanted).local
    threading.Event().wait(0.1)
    assert given == []  # the parent's to give back

fork(child)
""")


@forking
def test_the_child_is_told_that_a_stream_goes_on_in_its_parent_alone():
    run("""
from understudy.concurrency import portal

async def pieces():
    yield 1
    yield 2

stream = portal.iterate(pieces)
assert next(stream) == 1

def child():
    try:
        next(stream)
    except RuntimeError as error:
        assert "in the parent alone" in str(error)
    else:
        raise AssertionError("the child was given a piece")
    assert list(portal.iterate(pieces)) == [1, 2]

fork(child)
assert list(stream) == [2]
""")


def test_nothing_is_kept_alive_for_a_fork():
    bulkhead, store = Bulkhead(1), InMemoryHealthStore()
    kept = weakref.ref(bulkhead), weakref.ref(store)
    known = len(fork_safety._known)
    del bulkhead, store
    gc.collect()
    assert [one() for one in kept] == [None, None]
    assert len(fork_safety._known) <= known - 2


def test_a_store_that_compares_by_value_is_known_too():
    class Equal(InMemoryHealthStore):
        def __eq__(self, other):
            return True

    first, second = Equal(), Equal()
    assert [id(one) in fork_safety._known for one in (first, second)] == [True, True]
