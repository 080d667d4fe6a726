"""A late target is not cut off: the next one is asked beside it, by what was learnt or by a deadline's shares."""

import asyncio

import pytest
from timed import NEVER, Player, Stage, ask, held_leases, record

from understudy import Finish, LLMFactory, Policy
from understudy.errors import Overloaded, ServerError
from understudy.health.budgets import BURST
from understudy.provider import Pace
from understudy.response import Heartbeat

ASYNC = ["async", "astream"]
both = pytest.mark.parametrize("how", ASYNC)
LONG = {"max_tokens": 5000}  # requested as a stream internally
AS_KNOWN = 20  # answers from which on it is known what they take


class Paced(Player):
    """A player of whose pace something is known beforehand."""

    def __init__(self, name, *lines, pace, **more):
        super().__init__(name, *lines, **more)
        self._pace = pace

    def pace(self, request):
        return self._pace


def stage_of(*players, saved=BURST, **changes):
    stage = Stage(*players, policy=Policy.eager(**{"max_retries": 0, **changes}))
    stage.factory._admission.hedges._saved = saved
    return stage


def learnt(seconds, *lines, how="async", others=(), make=Player, saved=BURST, options=None, **more):
    """A stage whose first player has answered 20 times after so many seconds; then it plays these lines."""
    changes = {key: more.pop(key) for key in list(more) if key in Policy.__dataclass_fields__}
    stage = stage_of(make("a", *[(seconds, "fine")] * AS_KNOWN, *lines, **more), *others, saved=saved, **changes)
    for _ in range(AS_KNOWN):
        assert stage.ask(how, **options or {}).provider_name == "a"
    stage.began = stage.clock.now
    return stage


def since(stage):
    return pytest.approx(stage.clock.now - stage.began)


def nothing_is_left(stage):
    return held_leases(stage.factory) == {} and not any(player.under_way for player in stage.players)


# ---- late, by what was learnt ----


@both
def test_who_is_late_goes_on_and_its_answer_is_taken_where_it_comes_first(how):
    stage = learnt(5.0, (25.0, "mine"), how=how, others=[Player("b", (30.0, "late"))])
    response = stage.ask(how)
    assert (response.content, since(stage)) == ("mine", 25.0)
    assert record(response) == [("b", "cancelled"), ("a", "succeeded")]
    assert stage.clock.now - stage.players[1].times[0] == pytest.approx(5.0)  # four times what answers take
    assert nothing_is_left(stage)
    assert stage.factory._admission.look(0).failures == 0


@both
def test_who_is_late_is_overtaken_and_counts_as_failed_where_nobody_was_answered_since(how):
    stage = learnt(5.0, (NEVER, "late"), how=how, others=[Player("b", (1.0, "quick"))])
    response = stage.ask(how)
    assert (response.content, since(stage)) == ("quick", 21.0)
    assert record(response) == [("a", "cancelled"), ("b", "succeeded")]
    assert response.attempts[1].reason == "hedge: no answer from a within 20 s"
    assert nothing_is_left(stage)
    assert stage.factory._admission.look(0).failures == 1


def gather(stage, how, *delays, **options):
    """Make a call after each of these delays, all at once; return their responses, and when each ended."""

    async def call(delay):
        await asyncio.sleep(delay)
        if how == "async":
            response = await stage.factory.agenerate_content("hello", **options)
        else:
            events = [event async for event in stage.factory.astream_content("hello", **options)]
            assert isinstance(events[-1], Finish)
            response = events[-1].response
        return response, stage.clock.now - stage.began

    async def all_of_them():
        return await asyncio.gather(*map(call, delays))

    return stage.clock.run(all_of_them())


@both
def test_who_is_late_while_others_are_answered_has_not_failed(how):
    """A long answer is not an outage."""
    stage = learnt(5.0, (NEVER, "late"), (5.0, "fine"), how=how, others=[Player("b", (1.0, "quick"))])
    (overtaken, _), (answered, _) = gather(stage, how, 0.0, 1.0)
    assert (overtaken.provider_name, answered.provider_name) == ("b", "a")
    assert stage.factory._admission.look(0).failures == 0
    assert stage.factory._admission.hedges._saved == pytest.approx(BURST - 1, abs=0.1)


@both
def test_asking_beside_a_target_that_answered_nobody_costs_nothing_of_the_share(how):
    """It did not come on top of an answer."""
    stage = learnt(5.0, (NEVER, "late"), how=how, others=[Player("b", (1.0, "quick"))], saved=5.0)
    before = stage.factory._admission.hedges._saved
    assert stage.ask(how).provider_name == "b"
    assert stage.factory._admission.hedges._saved >= before


@both
def test_before_anything_is_known_a_minute_is_late(how):
    stage = stage_of(Player("a", (NEVER, "late")), Player("b", (1.0, "quick")))
    assert stage.ask(how).provider_name == "b"
    assert stage.clock.now == pytest.approx(61.0)


@both
@pytest.mark.parametrize(("usual", "late"), [(0.5, 10.0), (5.0, 20.0), (40.0, 90.0)])
def test_late_has_bounds(how, usual, late):
    stage = learnt(usual, (NEVER, "late"), how=how, others=[Player("b", (1.0, "quick"))])
    assert stage.ask(how).provider_name == "b"
    assert since(stage) == late + 1


@both
def test_a_share_of_the_calls_is_overlapped_and_the_rest_is_waited_for(how):
    stage = learnt(5.0, (25.0, "mine"), how=how, others=[Player("b", (1.0, "quick"))], hedge_share=0.0)
    response = stage.ask(how)
    assert record(response) == [("a", "succeeded")]
    assert response.attempts[0].decision == "not hedged: limit reached (hedge_share of 0)"
    assert stage.players[1].requests == []


@both
def test_the_patient_overlap_nobody(how):
    stage = Stage(Player("a", (70.0, "mine")), Player("b"), policy=Policy.patient(first_token_timeout=100.0))
    assert record(stage.ask(how)) == [("a", "succeeded")]
    assert stage.players[1].requests == []


@both
def test_a_quick_retry_that_is_late_is_overlapped_too(how):
    stage = learnt(5.0, ServerError("blip"), (NEVER, "late"), how=how, others=[Player("b")], max_retries=1)
    response = stage.ask(how)
    assert record(response) == [("a", "failed"), ("a", "cancelled"), ("b", "succeeded")]
    assert [attempt.number for attempt in response.attempts] == [1, 2, 1]
    assert nothing_is_left(stage)


@both
@pytest.mark.parametrize("line", [(30.0, Overloaded("down")), (NEVER, "late")])
def test_where_the_second_fails_the_third_is_asked_in_its_place(how, line):
    others = [Player("b", (2.0, Overloaded("down"))), Player("c", (0.5, "fine"))]
    stage = learnt(5.0, line, how=how, others=others, saved=5.0)
    response = stage.ask(how)
    assert record(response) == [("b", "failed"), ("a", "cancelled"), ("c", "succeeded")]
    assert since(stage) == 22.5
    assert nothing_is_left(stage)


@both
def test_both_fail_and_the_third_is_asked(how):
    others = [Player("b", (2.0, Overloaded("down"))), Player("c", (0.5, "fine"))]
    stage = learnt(5.0, (21.0, Overloaded("down")), how=how, others=others)
    response = stage.ask(how)
    assert record(response) == [("a", "failed"), ("b", "failed"), ("c", "succeeded")]
    assert since(stage) == 22.5
    assert nothing_is_left(stage)


@both
def test_a_hung_target_leaves_the_third_its_turn_before_the_deadline(how):
    """Also where both that were asked before it hang, and where nobody may be asked beside a late one."""
    others = [Player("b", (NEVER, "late")), Player("c", (5.0, "fine"))]
    for options in ({}, {"hedge_share": 0.0}, {"hedge_after": 50.0}, {"hedge_after": 5.0, "hedge_share": 0.0}):
        stage = stage_of(Player("a", (NEVER, "late")), *others, deadline=60.0, **options)
        response = stage.ask(how)
        assert record(response) == [("b", "failed"), ("a", "cancelled"), ("c", "succeeded")], options
        assert [player.times[-1] for player in stage.players] == pytest.approx([0.0, 30.0, 50.0])
        assert nothing_is_left(stage)


@both
def test_a_caller_who_gives_up_meanwhile_leaves_nothing_behind(how):
    stage = learnt(5.0, (NEVER, "late"), how=how, others=[Player("b", (NEVER, "late"))])

    async def give_up():
        task = asyncio.ensure_future(stage.factory.agenerate_content("hello") if how == "async" else take())
        await asyncio.sleep(25.0)
        assert [player.under_way for player in stage.players] == [1, 1]
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.all_tasks() == {asyncio.current_task()}

    async def take():
        return [event async for event in stage.factory.astream_content("hello")]

    stage.clock.run(give_up())
    assert nothing_is_left(stage)
    assert [stage.factory._admission.look(index).failures for index in (0, 1)] == [0, 0]


# ---- what is at work is not late ----


def test_a_stream_whose_first_piece_came_is_not_overlapped():
    stage = learnt(1.0, (9.0, "one ", 50.0, "two"), how="astream", others=[Player("b")])
    assert record(stage.ask("astream")) == [("a", "succeeded")]
    assert stage.players[1].requests == []


@pytest.mark.parametrize("first", [2.0, 9.0])
def test_a_whole_answer_whose_pieces_come_inside_is_not_overlapped(first):
    """Also where the first of them comes after it was looked once whether the target answers anybody."""
    line = (first, "one ", *(5.0, "more ") * 10)
    stage = learnt(1.0, line, others=[Player("b")], options=LONG)
    assert record(stage.ask("async", **LONG)) == [("a", "succeeded")]
    assert since(stage) == first + 50
    assert stage.players[1].requests == []


def test_a_whole_answer_without_a_piece_is_late_inside_too():
    stage = learnt(1.0, (NEVER, "late"), others=[Player("b", (1.0, "quick"))], options=LONG)
    assert stage.ask("async", **LONG).provider_name == "b"
    assert since(stage) == 11.0


def test_pieces_that_a_buffer_holds_are_signs_of_work():
    line = (2.0, "one ", *(5.0, "more ") * 10)
    stage = learnt(1.0, line, how="astream", others=[Player("b")], stream_recovery="buffer")
    assert record(stage.ask("astream")) == [("a", "succeeded")]
    assert stage.players[1].requests == []


@both
def test_a_thinking_model_whose_vendor_sends_signs_of_life_is_waited_for(how):
    line = (*(Heartbeat(), 20.0) * 25, "thought over")
    stage = stage_of(Paced("a", line, pace=Pace(thinks=True, heartbeat=20.0)), Player("b"))
    assert record(stage.ask(how)) == [("a", "succeeded")]
    assert stage.clock.now == pytest.approx(500.0)
    assert stage.players[1].requests == []


@both
def test_a_thinking_model_without_signs_of_life_is_late_after_nine_minutes(how):
    stage = stage_of(Paced("a", (NEVER, "late"), pace=Pace(thinks=True)), Player("b", (1.0, "quick")))
    assert stage.ask(how).provider_name == "b"
    assert stage.clock.now == pytest.approx(541.0)


@both
def test_a_model_that_is_loaded_is_not_late_for_that(how):
    line = (*(50.0,) * 5, "loaded")
    stage = stage_of(Paced("a", line, pace=Pace(loading=300.0)), Player("b"))
    assert record(stage.ask(how)) == [("a", "succeeded")]
    assert stage.players[1].requests == []


# ---- from this machine to another ----

HERE = Pace(local=True)


@both
def test_what_is_asked_of_this_machine_is_not_sent_elsewhere_because_it_is_late(how):
    stage = learnt(5.0, (25.0, "mine"), how=how, others=[Player("b")], make=Paced, pace=HERE)
    response = stage.ask(how)
    assert record(response) == [("a", "succeeded")]
    words = "not hedged: limit reached (a request to this machine is not sent elsewhere unasked)"
    assert response.attempts[0].decision == words
    assert stage.players[1].requests == []


@both
@pytest.mark.parametrize("pace", [HERE, Pace()])
def test_another_target_on_this_machine_may_be_asked_beside_whichever_is_late(how, pace):
    others = [Paced("b", (1.0, "quick"), pace=HERE)]
    stage = learnt(5.0, (50.0, "mine"), how=how, others=others, make=Paced, pace=pace)
    assert stage.ask(how).provider_name == "b"


@both
def test_who_names_a_time_has_asked_for_it(how):
    players = Paced("a", (50.0, "mine"), pace=HERE), Player("b", (1.0, "quick"))
    stage = stage_of(*players, hedge_after=4.0)
    assert stage.ask(how).provider_name == "b"
    assert stage.clock.now == pytest.approx(5.0)


# ---- its turn: a deadline's shares ----


@both
def test_at_the_end_of_its_share_of_the_time_the_next_one_is_asked_beside_it(how):
    stage = stage_of(Player("a", (NEVER, "late")), Player("b", (1.0, "quick")), deadline=30, hedge_share=0.0)
    response = stage.ask(how)
    assert record(response) == [("a", "cancelled"), ("b", "succeeded")]
    assert stage.clock.now == pytest.approx(21.0)  # two shares of three
    assert response.attempts[1].reason == "hedge: no answer from a within 20 s"
    assert nothing_is_left(stage)


@both
def test_an_answer_that_comes_after_its_turn_is_taken_all_the_same(how):
    stage = stage_of(Player("a", (25.0, "mine")), Player("b", (9.0, "late")), deadline=30)
    response = stage.ask(how)
    assert (response.content, record(response)) == ("mine", [("b", "cancelled"), ("a", "succeeded")])
    assert stage.clock.now == pytest.approx(25.0)


@both
def test_where_nobody_answers_the_deadline_holds(how):
    stage = stage_of(Player("a", (NEVER, "late")), Player("b", (NEVER, "late")), deadline=30)
    response = stage.ask(how)
    assert not response.success
    assert stage.clock.now == pytest.approx(30.0)
    assert {attempt.target for attempt in response.attempts} == {"a", "b"}
    assert nothing_is_left(stage)


@both
def test_what_is_asked_of_this_machine_is_asked_elsewhere_when_its_turn_is_over(how):
    """It would be asked there instead."""
    stage = stage_of(Paced("a", (NEVER, "late"), pace=HERE), Player("b", (1.0, "quick")), deadline=30)
    assert stage.ask(how).provider_name == "b"


@both
def test_who_is_known_to_answer_in_time_gets_the_time_for_it(how):
    """All but what an answer of the next one takes; late, by what was learnt, it is before."""
    stage = learnt(7.0, (NEVER, "late"), how=how, others=[Player("b", (1.0, "quick"))], deadline=33)
    assert stage.ask(how).provider_name == "b"
    assert since(stage) == 33 - 7 + 1
    stage = learnt(5.0, (NEVER, "late"), how=how, others=[Player("b", (1.0, "quick"))], deadline=33)
    assert stage.ask(how).provider_name == "b"
    assert since(stage) == 20 + 1


@both
def test_of_three_the_first_has_half_of_the_time_and_the_second_two_thirds_of_the_rest(how):
    players = Player("a", (20.0, ServerError("down"))), Player("b", (NEVER, "late")), Player("c", (1.0, "quick"))
    stage = stage_of(*players, deadline=60)
    response = stage.ask(how)
    assert record(response) == [("a", "failed"), ("b", "cancelled"), ("c", "succeeded")]
    assert stage.clock.now == pytest.approx(20 + 40 * 2 / 3 + 1)


def test_pieces_that_come_slowly_do_not_use_up_the_next_ones_turn():
    """Where the caller is given the answer whole, what came of it is of no use to them."""
    stage = stage_of(Player("a", ("piece ", 1.0) * 1000), Player("b", (1.0, "quick")), deadline=30)
    assert stage.ask("async", **LONG).provider_name == "b"
    assert stage.clock.now == pytest.approx(21.0)
    assert nothing_is_left(stage)
    assert stage.factory._admission.look(0).failures == 0  # it was at work


def test_pieces_that_began_to_come_before_it_was_late_leave_the_next_one_its_turn():
    line = (9.0, *("piece ", 1.0) * 1000)
    stage = learnt(1.0, line, others=[Player("b", (0.5, "quick"))], options=LONG, deadline=60)
    assert stage.ask("async", **LONG).provider_name == "b"
    assert since(stage) == 60 * 2 / 3 + 0.5  # of an answer that takes so much longer than ever nothing is known


# ---- who answers nobody ----


@both
def test_those_who_wait_for_a_target_that_answers_nobody_are_given_the_next_one_together(how):
    """No percentile is waited for, and hedge_share is not charged: nobody is answered twice."""
    others = [Player("b", (1.0, "quick"))]
    stage = learnt(4.0, (NEVER, "late"), how=how, others=others, hedge_share=0.0)
    ended = gather(stage, how, *(0.25 * number for number in range(80)))
    assert {response.provider_name for response, _ in ended} == {"b"}
    waited = [seconds - 0.25 * number for number, (_, seconds) in enumerate(ended)]
    assert max(waited) <= 14.0  # late would be after 16 seconds
    assert max(waited[60:]) == pytest.approx(1.0)  # the circuit is open
    assert stage.state() != "closed"
    assert nothing_is_left(stage)


@both
def test_a_target_that_is_slow_and_answers_is_waited_for(how):
    """In doubt it is asked for a stream, and its first piece ends all doubt."""
    stage = learnt(4.0, (2.0, "slow ", 8.0, "answer"), how=how, others=[Player("b")])
    ended = gather(stage, how, *(0.25 * number for number in range(80)))
    assert {response.provider_name for response, _ in ended} == {"a"}
    assert stage.state() == "closed"


# ---- sync calls ----


@pytest.mark.parametrize("how", ["sync", "stream"])
def test_a_sync_call_gives_the_next_target_its_turn_too(how):
    """On the background loop, in real time: the one that hangs is asked beside the other, and given up."""
    first, second = Player("a", (60.0, "late"), keeps_deadline=False), Player("b", keeps_deadline=False)
    policy = Policy.eager(deadline=3.0, max_retries=0)
    factory = LLMFactory(first, [second], settings={}, extensions=[], policy=policy)
    response = ask(factory, how)
    assert record(response) == [("a", "cancelled"), ("b", "succeeded")]
    assert response.attempts[1].reason.startswith("hedge: no answer from a within ")
    assert (first.under_way, second.under_way) == (0, 0)
    assert held_leases(factory) == {}


def test_where_sync_calls_run_in_place_each_target_gets_its_share():
    stage = stage_of(Player("a", ServerError("down")), Player("b"), deadline=30)
    assert stage.ask().provider_name == "b"
    assert [player.requests[0].timeout for player in stage.players] == [pytest.approx(20), pytest.approx(30)]
