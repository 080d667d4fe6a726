"""How the time before a deadline is shared out, and what ends in time whatever a provider does."""

import time

import pytest
from timed import NEVER, WAYS, Player, Stage, ask

from understudy import LLMFactory, Policy
from understudy.engine.call_state import CallState
from understudy.engine.commands import Outcome
from understudy.errors import Overloaded, ServerError
from understudy.target import Target

DOWN = ServerError("down")
EXACT = {"jitter": "none", "breaker_jitter": 0.0}
every_way = pytest.mark.parametrize("how", WAYS)
both = pytest.mark.parametrize("how", ["async", "astream"])


def eager(**changes):
    return Policy.eager(**{**EXACT, **changes})


# ---- shares ----


def share(deadline, targets=2, *, usual=None, median=None, unable=(), visited=(), due=(), tries=0, now=0.0):
    """Return the seconds that the first target has for itself."""
    route = [Target(f"p{index}", f"p{index}", position=index) for index in range(targets)]
    call = CallState(route, eager(deadline=deadline), 0.0, unable)
    call.now = now
    for index in (0, *visited):
        call.states[index].visited = True
    for index in due:
        call.states[index].due = now + 1
    call.states[0].tries = tries
    return pytest.approx(call.share_of(0, Outcome(now, usual=usual, median=median)))


@pytest.mark.parametrize(("targets", "seconds"), [(1, 60), (2, 40), (3, 30), (4, 24)])
def test_the_first_has_twice_the_share_of_each_other(targets, seconds):
    assert share(60, targets) == seconds


def test_shares_are_of_the_time_that_is_left():
    assert share(60, now=30) == 20


def test_who_cannot_answer_or_was_come_to_already_has_no_share():
    assert share(60, 3, unable={1}) == 40
    assert share(60, 3, visited=[1]) == 40
    assert share(60, 3, visited=[1, 2]) == 60


def test_what_has_failed_takes_time_from_another_retry_only():
    assert share(60, 3, visited=[1, 2], due=[1, 2]) == 60
    assert share(60, 3, visited=[1, 2], due=[1, 2], tries=1) == 30


def test_who_is_known_to_answer_in_time_leaves_the_others_what_their_answers_may_take():
    assert share(33, usual=7, median=4) == 33 - 7
    assert share(33, 3, usual=7, median=4) == 33 - 2 * 7


def test_where_there_is_no_time_for_both_the_others_have_what_half_of_the_answers_take_at_most():
    assert share(10, usual=4, median=3) == 10 - 3  # 4 s are left after what nine in ten take: more than an unusual one
    assert share(10, usual=8, median=5) == 10 - 5 / 2
    assert share(10, usual=12, median=9) == 10 * 2 / 3  # never less than without knowledge


def test_no_time_is_kept_for_an_answer_that_will_not_come():
    assert share(60, usual=2, median=1) == 40
    assert share(60, usual=11, median=5) == 44
    assert share(60, usual=12, median=5) == 48


# ---- in calls ----


@both
def test_every_target_gets_its_slice_of_a_hang(how):
    """I25: a hang of all but the last costs it nothing."""
    stage = Stage(
        Player("a", (NEVER, "late")),
        Player("b", (NEVER, "late")),
        Player("c", (9.0, "fine")),
        policy=eager(deadline=60, first_token_timeout=60, hedge_after=None),
    )
    response = stage.ask(how)
    assert response.provider_name == "c"
    assert [player.times for player in stage.players] == [[0.0], [30.0], [50.0]]
    messages = [attempt.failure.message for attempt in response.attempts[:2]]
    assert messages == ["no answer within 30 s", "no answer within 20 s"]


@every_way
def test_a_provider_is_told_what_is_left_to_it(how):
    stage = Stage(Player("a", Overloaded("busy")), Player("b"), policy=eager(deadline=15, hedge_after=None))
    stage.ask(how, max_retries=0)
    first, second = (player.requests[0].timeout for player in stage.players)
    # The timeout of a stream is that between two of its pieces: the clock of the first is the call's own.
    assert (first, second) == ((10, 15) if how in ("sync", "async") else (15, 15))


@both
def test_the_call_ends_with_its_deadline(how):
    """I4."""
    for policy in (eager(deadline=30), Policy(deadline=30)):
        stage = Stage(Player("a", (NEVER, "late")), Player("b", (NEVER, "late")), policy=policy)
        response = stage.ask(how)
        assert stage.clock.now == pytest.approx(30)
        assert "a: timeout" in response.error
        assert "b: timeout" in response.error
        assert [player.under_way for player in stage.players] == [0, 0]


@every_way
def test_no_wait_begins_that_would_end_too_late(how):
    stage = Stage(Player("a", DOWN), policy=eager(deadline=3.0, retry_reserve=100, quick_retries=0))
    response = stage.ask(how)
    assert stage.clock.waits == [0.5, 1.0]  # the next would have been two seconds
    assert response.attempts[-1].decision == "no retry: it would begin too late for the deadline"


# ---- the times of a stream ----


def test_a_hang_costs_exactly_the_first_tokens_timeout():
    stage = Stage(Player("a", (NEVER, "late")), Player("b"), policy=eager(first_token_timeout=15))
    response = stage.ask("astream")
    assert stage.clock.now == pytest.approx(15)
    assert response.attempts[0].failure.message == "no answer within 15 s"
    assert response.attempts[0].seconds == pytest.approx(15)


def test_a_stream_that_stalls_ends_with_the_idle_timeout():
    line = (10.0, "one ", 19.0, "two ", NEVER, "late")
    stage = Stage(Player("a", line), Player("b"), policy=eager(idle_timeout=20))
    assert stage.ask("astream") is None
    assert stage.clock.now == pytest.approx(10 + 19 + 20)
    assert "no further piece within 20 s" in str(stage.error)
    assert stage.error.partial == "one two "


def test_white_space_is_no_first_token():
    policy = eager(first_token_timeout=15)
    stage = Stage(Player("a", ("\n", 5.0) * 100), Player("b"), policy=policy)
    assert stage.ask("astream").provider_name == "b"
    assert stage.clock.now == pytest.approx(15)


def test_a_dribble_of_pieces_is_ended_by_the_deadline_alone():
    stage = Stage(Player("a", ("piece ", 10.0) * 100), Player("b"))
    assert stage.ask("astream", deadline=120) is None
    assert stage.clock.now == pytest.approx(120)
    assert stage.state() == "closed"
    assert stage.ask("astream").provider_name == "a"


def test_before_anything_is_known_an_answer_is_waited_for_by_its_tokens():
    stage = Stage(Player("a", (NEVER, "late")), Player("b"), policy=eager(hedge_after=None))
    response = stage.ask("async", max_tokens=300)
    assert response.provider_name == "b"
    assert response.attempts[0].seconds == pytest.approx(30 + 300 / 15)


@pytest.mark.parametrize("how", ["sync", "stream"])
@pytest.mark.parametrize("line", [(60.0, "late"), (0.01, " ") * 5000])
def test_sync_calls_end_in_time_too(how, line):
    """I4, for a provider that keeps no deadline itself: in real time."""
    first = Player("a", line, keeps_deadline=False)
    policy = eager(deadline=3.0, first_token_timeout=0.5, idle_timeout=0.5)
    factory = LLMFactory(first, [Player("b")], settings={}, extensions=[], policy=policy)
    begun = time.monotonic()
    response = ask(factory, how)
    assert time.monotonic() - begun > (1.9 if how == "sync" else 0.49)  # its share, or the time for a first piece
    assert response.provider_name == "b"
    assert first.under_way == 0


def test_a_sync_stream_that_stalls_ends_with_the_idle_timeout():
    first = Player("a", ("one", 60.0, "two"), keeps_deadline=False)
    policy = eager(first_token_timeout=10, idle_timeout=0.2)
    factory = LLMFactory(first, [Player("b")], settings={}, extensions=[], policy=policy)
    stage = Stage(Player("nobody"))
    begun = time.monotonic()
    assert ask(factory, "stream", into=stage) is None
    assert time.monotonic() - begun > 0.19
    assert "no further piece within 0.2 s" in str(stage.error)
    assert first.under_way == 0


# ---- whose hurry it is ----


ONE_IS_ENOUGH = {"breaker_failures": 1, "breaker_requests": 1}


@both
@pytest.mark.parametrize("hedge_after", ["late", None])
def test_a_slice_of_less_than_a_second_is_no_evidence(how, hedge_after):
    policy = eager(hedge_after=hedge_after, **ONE_IS_ENOUGH)
    stage = Stage(Player("a", (NEVER, "late")), Player("b"), policy=policy)
    for _ in range(3):
        assert stage.ask(how, deadline=1.4).provider_name == "b"
    assert stage.state() == "closed"
    stage.ask(how, deadline=4)
    assert stage.state() == "open"


@both
@pytest.mark.parametrize("hedge_after", ["late", None])
@pytest.mark.parametrize(("deadline", "state"), [(12, "closed"), (60, "open")])
def test_a_hurried_callers_deadline_opens_nobodys_circuit(how, hedge_after, deadline, state):
    """It takes 10 s as ever, and somebody's deadline leaves it eight."""
    policy = eager(hedge_after=hedge_after, **ONE_IS_ENOUGH)
    stage = Stage(Player("a", *[(10.0, "fine")] * 20, (NEVER, "late")), Player("b"), policy=policy)
    for _ in range(20):
        assert stage.ask(how).provider_name == "a"
    assert stage.ask(how, deadline=deadline).provider_name == "b"
    assert stage.state() == state


def test_a_hurried_first_token_is_no_evidence_either():
    policy = eager(first_token_timeout=0.5, **ONE_IS_ENOUGH)
    stage = Stage(Player("a", (NEVER, "late")), Player("b"), policy=policy)
    assert stage.ask("astream").provider_name == "b"
    assert stage.state() == "closed"
