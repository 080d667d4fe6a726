"""When a target seems to answer nobody: whose waiting tells so, and for how long it does."""

from timed import claim

from understudy import Limits, Policy
from understudy.engine.timeouts import NOTHING_LEARNT
from understudy.errors import Effect
from understudy.health import InMemoryHealthStore
from understudy.health.record import LOOK, LOST
from understudy.health.store import Report
from understudy.testing import VirtualClock

EAGER = Policy.eager(breaker_jitter=0.0)
PLAIN, THINKING = 2.0, 60.0  # seconds that the answers of a target take


class Target:
    """A target that has answered some calls of either kind: those without thinking quickly, the others slowly."""

    def __init__(self):
        self.clock = VirtualClock()
        self.store = InMemoryHealthStore(lambda: self.clock.now, lambda: 0.0)
        self.calls = 0
        for thinks, seconds in ((False, PLAIN), (True, THINKING)):
            for _ in range(20):
                self.end(*self.begin(thinks), Report(Effect.SUCCESS, seconds, end=seconds))

    def begin(self, thinks=False, **more):
        self.calls += 1
        wanted = claim(self.calls, EAGER, thinks=thinks, **more)
        return self.store.take("a", wanted), wanted

    def end(self, lease, wanted, report):
        self.clock.advance(0.001)  # so that whoever begins now began later
        return self.store.give("a", lease, wanted, report)

    def pass_by(self, seconds):
        """Let time pass; return whether the target seemed to answer nobody at its end."""
        self.clock.advance(max(seconds, LOOK))
        return self.store.look("a", EAGER).suspect


def test_six_calls_that_wait_raise_doubt_and_the_breaker_opens_once_a_sign_of_life_has_had_its_time():
    target = Target()
    for _ in range(6):
        target.begin()
    assert not target.pass_by(3.9)
    assert not target.begin()[0].doubt
    assert not target.pass_by(3.1)
    lease, _ = target.begin()
    assert (lease.granted, lease.doubt) == (True, True)
    target.clock.advance(2.8)
    assert target.begin()[0].granted
    target.clock.advance(0.3)
    refused, _ = target.begin()
    assert (refused.granted, refused.state, refused.changed, refused.free_in) == (False, "open", True, 5.0)


def test_five_never_do():
    target = Target()
    for _ in range(5):
        target.begin()
    assert not target.pass_by(300.0)
    target.begin()
    assert not target.pass_by(299.0)  # the sixth raises doubt, and nothing follows from it at once
    assert target.begin()[0].doubt


def test_calls_of_which_nothing_was_heard_for_as_long_as_an_attempt_may_take_tell_nothing_any_more():
    told = []
    for age in (LOST - 4.0, LOST + 1.0):
        target = Target()
        for _ in range(30):
            target.begin()  # and their callers die, or cannot reach the store any more
        target.clock.advance(age)
        told.append(target.begin()[0].doubt)
        told.append(target.pass_by(3.5))
    assert told == [True, True, False, False]


def test_an_answer_ends_the_doubt_at_once():
    target = Target()
    for _ in range(20):
        target.begin()
    target.pass_by(7.0)
    target.clock.advance(3.1)
    assert not target.begin()[0].granted  # it answers nobody
    target.clock.advance(5.1)
    probe = target.begin()
    assert target.store.look("a", EAGER).suspect
    target.end(*probe, Report(Effect.SUCCESS, 0.001))
    lease, _ = target.begin()
    assert (lease.granted, lease.state, lease.doubt) == (True, "closed", False)
    assert not target.store.look("a", EAGER).suspect


def test_those_who_began_before_somebody_who_was_answered_do_not_count():
    target = Target()
    for _ in range(50):
        target.begin()
    target.clock.advance(1.0)
    target.end(*target.begin(), Report(Effect.SUCCESS, 0.0))
    for _ in range(5):
        target.begin()
    assert not target.pass_by(1000.0)
    assert not target.pass_by(1000.0)
    assert not target.begin()[0].doubt


def test_each_call_is_judged_by_what_answers_of_its_own_kind_take():
    """Six thinking calls that think as long as ever say nothing, also to somebody whose answer would take 2 s."""
    target = Target()
    for _ in range(6):
        target.begin(thinks=True)
    for _ in range(5):
        assert not target.pass_by(THINKING / 6)
        lease, wanted = target.begin()
        assert (lease.granted, lease.doubt) == (True, False)
        target.store.give("a", lease, wanted, Report(Effect.NOTHING))  # it was cancelled
    target.pass_by(3 * THINKING)
    assert target.pass_by(3.0)


def test_calls_of_both_kinds_are_weighed_together():
    target = Target()
    for number in range(6):
        target.begin(thinks=number % 2 > 0)
    target.pass_by(10.0)
    assert not target.pass_by(10.0)  # three plain ones alone say too little
    target.pass_by(4 * THINKING)
    assert target.pass_by(3.0)


def test_an_answer_of_either_kind_shows_that_somebody_is_there():
    target = Target()
    for _ in range(10):
        target.begin(thinks=True)
    assert not target.pass_by(3 * THINKING)  # in doubt from now on
    target.end(*target.begin(), Report(Effect.NOTHING, first=0.5))  # a piece is enough
    assert not target.pass_by(3.0)
    lease, _ = target.begin(thinks=True)
    assert (lease.granted, lease.doubt) == (True, False)


def test_what_has_not_been_learnt_of_a_kind_is_no_reason_for_doubt():
    clock = VirtualClock()
    store = InMemoryHealthStore(lambda: clock.now)
    for number in range(20):
        wanted = claim(number, EAGER)
        store.give("a", store.take("a", wanted), wanted, Report(Effect.SUCCESS, PLAIN, end=PLAIN))
    for number in range(100, 150):
        assert not store.take("a", claim(number, EAGER, thinks=True)).doubt
        clock.advance(5.0)
    assert not store.look("a", EAGER).suspect


def test_doubt_begins_anew_after_nobody_waited():
    """Otherwise those who wait later would open the breaker without anybody having been asked in doubt."""
    target = Target()
    waiting = [target.begin() for _ in range(6)]
    target.pass_by(10.0)
    waiting.append(target.begin())
    assert waiting[-1][0].doubt
    for lease, wanted in waiting:
        target.end(lease, wanted, Report(Effect.NOTHING))
    target.clock.advance(500.0)
    for _ in range(6):
        target.begin()
    target.clock.advance(10.0)
    lease, _ = target.begin()
    assert (lease.granted, lease.doubt) == (True, True)
    target.clock.advance(3.0)
    assert not target.begin()[0].granted


def test_callers_with_limits_are_seen_waiting_too():
    target, limits = Target(), Limits(concurrent=100)
    for _ in range(8):
        target.begin(limits=limits)
    target.clock.advance(10.0)
    assert target.begin(limits=limits)[0].doubt
    target.clock.advance(3.0)
    assert not target.begin(limits=limits)[0].granted


def test_one_request_finds_out_afterwards_and_is_given_the_time_of_a_hang():
    target = Target()
    for _ in range(10):
        target.begin()
    target.pass_by(10.0)
    target.pass_by(3.0)
    assert target.begin()[0].state == "open"
    target.clock.advance(5.0)
    assert target.begin()[0].probe
    other, _ = target.begin()
    assert (other.granted, other.free_in) == (False, EAGER.breaker_longest)


def test_what_was_learnt_grows_old_for_those_who_ask_as_usual():
    target = Target()
    lease, wanted = target.begin()
    assert lease.learned.end_median == PLAIN
    target.end(lease, wanted, Report(Effect.NOTHING))
    target.clock.advance(3601.0)
    assert target.begin()[0].learned == NOTHING_LEARNT
