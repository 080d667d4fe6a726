"""A second target asked beside a slow first one: who wins, who is cancelled, what it may cost, and what is left."""

import asyncio
import threading

import pytest
from timed import NEVER, Player, Stage, answer, ask, claim, held_leases, record

from understudy import Limits, LLMFactory, Policy, Restart, Usage, hookimpl
from understudy.errors import Effect, InvalidRequest, Overloaded, RateLimited, ServerError
from understudy.health.budgets import BURST

ASYNC = ["async", "astream"]
both = pytest.mark.parametrize("how", ASYNC)
LIMITS = {name: Limits(concurrent=1) for name in "abcd"}
DOWN = ServerError("down")


def stage_of(*players, **changes):
    changes = {"hedge_after": 1.0, "hedge_share": 1.0, "max_retries": 0, "jitter": "none", **changes}
    policy = Policy.patient(**changes) if changes.pop("patient", False) else Policy.eager(**changes)
    stage = Stage(*players, policy=policy, limits=LIMITS)
    if changes["hedge_share"]:
        stage.factory._admission.hedges._saved = BURST  # as after some calls
    return stage


def nothing_is_left(stage):
    return held_leases(stage.factory) == {} and not any(player.under_way for player in stage.players)


# ---- who wins ----


def test_nobody_is_asked_beside_the_one_that_goes_on_with_an_answer():
    players = Player("a", ("begun", DOWN)), Player("b", (5.0, "goes on")), Player("c")
    stage = stage_of(*players, stream_recovery="restart", quick_retries=0)
    assert record(stage.ask("astream")) == [("a", "failed"), ("b", "succeeded")]
    assert players[2].requests == []


@both
def test_who_answers_in_time_is_not_hedged(how):
    stage = stage_of(Player("a", (0.9, "fine")), Player("b"))
    assert stage.ask(how).provider_name == "a"
    assert stage.clock.now == pytest.approx(0.9)
    assert stage.players[1].requests == []
    assert nothing_is_left(stage)


@both
def test_the_second_wins_and_the_first_is_cancelled(how):
    stage = stage_of(Player("a", (30.0, "late")), Player("b", (0.5, "quick")))
    response = stage.ask(how)
    assert (response.content, response.provider_name) == ("quick", "b")
    assert stage.clock.now == pytest.approx(1.5)
    assert record(response) == [("a", "cancelled"), ("b", "succeeded")]
    cancelled, won = response.attempts
    assert (cancelled.number, won.number, cancelled.wait, won.wait) == (1, 1, 0, 0)
    assert (cancelled.seconds, won.seconds) == (pytest.approx(1.5), pytest.approx(0.5))
    assert won.reason == "hedge: no answer from a within 1 s"
    assert cancelled.failure.message == "another target was quicker"
    assert stage.players[0].cancelled == 1
    assert nothing_is_left(stage)
    assert stage.factory._admission.look(0).failures == 0  # who is slow has not failed


@both
def test_the_first_wins_and_the_second_is_cancelled(how):
    stage = stage_of(Player("a", (1.5, "mine")), Player("b", (9.0, "late")))
    response = stage.ask(how)
    assert (response.content, stage.clock.now) == ("mine", pytest.approx(1.5))
    assert record(response) == [("b", "cancelled"), ("a", "succeeded")]
    assert stage.players[1].cancelled == 1
    assert nothing_is_left(stage)


@both
def test_who_answers_at_the_very_moment_of_the_timer_is_taken(how):
    for seconds in (1.0, 1.0 + 1e-9):
        stage = stage_of(Player("a", (seconds, "mine")), Player("b", (5.0, "late")))
        response = stage.ask(how)
        assert response.content == "mine"
        assert stage.clock.now == pytest.approx(1.0)
        assert nothing_is_left(stage)


def test_what_the_loser_cost_is_told_where_it_had_an_answer_too():
    """Both are there at the same moment: the first one is taken."""
    usage = Usage(input_tokens=3, output_tokens=4)
    stage = stage_of(Player("a", (1.5, "mine")), Player("b", (0.5, answer("theirs", "b", usage=usage))))
    response = stage.ask("async")
    assert response.content == "mine"
    assert record(response) == [("b", "cancelled"), ("a", "succeeded")]
    assert (response.attempts[0].usage, response.attempts[0].model) == (usage, "script")
    assert (response.attempts[0].wasted, response.wasted_tokens) == (0, 7)  # the vendor told: nothing is estimated
    assert nothing_is_left(stage)


@both
def test_a_stream_is_hedged_until_its_first_piece(how):
    stage = stage_of(Player("a", ("one ", 5.0, "two")), Player("b"))
    response = stage.ask(how)
    hedged = how == "async"  # a whole answer is not there before its end
    assert response.provider_name == ("b" if hedged else "a")
    assert len(stage.players[1].requests) == hedged
    assert nothing_is_left(stage)


def test_the_first_piece_of_the_winner_and_all_the_rest_are_given():
    line = ("three ", 0.5, "pieces ", 0.5, "in order")
    for first, second in (((9.0, "late"), line), ((1.2, *line), (9.0, "late"))):
        stage = stage_of(Player("a", first), Player("b", second))
        response = stage.ask("astream")
        assert stage.text == response.content == "three pieces in order"
        assert nothing_is_left(stage)


@both
def test_who_may_not_be_asked_beside_is_passed_over_for_the_next(how):
    stage = stage_of(Player("a", (30.0, "late")), Player("b"), Player("c", (0.5, "quick")))
    stage.store.take(stage.factory._admission.name_of(1), claim(limits=LIMITS["b"]))  # it has one slot
    response = stage.ask(how)
    assert record(response) == [("a", "cancelled"), ("c", "succeeded")]
    assert stage.players[1].requests == []


def test_a_caller_who_leaves_ends_all_attempts_at_once_and_not_one_after_the_other():
    told = []

    class Slow(Player):
        async def astream(self, request):
            try:
                await asyncio.sleep(NEVER)
                yield
            except asyncio.CancelledError:
                told.append("cancelled")
                await asyncio.sleep(0.001)
                told.append("ended")
                raise

    async def leave(stage):
        call = asyncio.ensure_future(stage.factory.agenerate_content("hello"))
        await asyncio.sleep(2.0)
        call.cancel()
        await asyncio.wait({call})

    stage = stage_of(Slow("a"), Slow("b"))
    stage.clock.run(leave(stage))
    assert told == ["cancelled", "cancelled", "ended", "ended"]
    assert nothing_is_left(stage)


# ---- failures ----


@both
def test_the_first_fails_while_the_second_runs(how):
    stage = stage_of(Player("a", (2.0, DOWN)), Player("b", (3.0, "fine")))
    response = stage.ask(how)
    assert record(response) == [("a", "failed"), ("b", "succeeded")]
    assert stage.clock.now == pytest.approx(4.0)  # it went on, and was not asked anew
    assert [len(player.requests) for player in stage.players] == [1, 1]
    assert stage.factory._admission.look(0).failures == 1
    assert nothing_is_left(stage)


@both
def test_the_second_fails_while_the_first_runs(how):
    stage = stage_of(Player("a", (5.0, "fine")), Player("b", (1.0, DOWN)))
    response = stage.ask(how)
    assert record(response) == [("b", "failed"), ("a", "succeeded")]
    assert stage.clock.now == pytest.approx(5.0)
    assert [len(player.requests) for player in stage.players] == [1, 1]
    assert nothing_is_left(stage)


@both
def test_both_fail_and_the_third_is_asked(how):
    stage = stage_of(Player("a", (2.0, DOWN)), Player("b", (0.5, DOWN)), Player("c", (0.1, "fine")))
    response = stage.ask(how)
    assert record(response) == [("b", "failed"), ("a", "failed"), ("c", "succeeded")]
    assert response.attempts[2].reason == "after a: server error"
    assert nothing_is_left(stage)


@both
@pytest.mark.parametrize("first", [DOWN, RateLimited("429")])
def test_after_a_quick_failure_the_next_target_is_hedged_as_well(how, first):
    """Its outcome is its own, and not that of the attempt before."""
    stage = stage_of(Player("a", first), Player("b", (9.0, "late")), Player("c", (0.5, "fine")))
    response = stage.ask(how)
    assert record(response) == [("a", "failed"), ("b", "cancelled"), ("c", "succeeded")]
    assert stage.clock.now == pytest.approx(1.5)
    assert nothing_is_left(stage)


@both
def test_four_targets_two_at_a_time(how):
    lines = (2.0, DOWN), (2.0, DOWN), (3.0, DOWN), (1.0, "fine")
    stage = stage_of(*(Player(name, line) for name, line in zip("abcd", lines, strict=True)))
    response = stage.ask(how)
    assert record(response) == [("a", "failed"), ("b", "failed"), ("c", "cancelled"), ("d", "succeeded")]
    assert stage.clock.now == pytest.approx(3 + 2)
    assert nothing_is_left(stage)


@both
def test_both_fail_for_good(how):
    stage = stage_of(Player("a", (2.0, DOWN)), Player("b", (0.5, RateLimited("429"))))
    response = stage.ask(how)
    assert response.error == "All LLM providers failed: [a: server error, b: quota exceeded]"
    assert nothing_is_left(stage)


@both
def test_a_request_at_fault_ends_the_call_and_the_other_attempt(how):
    stage = stage_of(Player("a", (30.0, "late")), Player("b", (0.5, InvalidRequest("bad"))))
    response = stage.ask(how)
    assert isinstance(response.failure, InvalidRequest)
    assert record(response) == [("b", "failed"), ("a", "cancelled")]
    assert stage.clock.now == pytest.approx(1.5)
    assert nothing_is_left(stage)


@both
def test_eager_retries_go_to_whoever_is_due_first(how):
    budget = {"max_retries": 2, "retry_delay": 3.0, "retry_reserve": 10}
    stage = stage_of(Player("a", (2.0, DOWN), "fine"), Player("b", (2.0, DOWN)), quick_retries=0, **budget)
    response = stage.ask(how)
    assert record(response) == [("a", "failed"), ("b", "failed"), ("a", "succeeded")]
    assert response.attempts[2].wait == pytest.approx(2.0)  # three seconds from its failure at 2 s
    assert stage.clock.now == pytest.approx(5.0)
    assert nothing_is_left(stage)


@both
def test_patience_waits_for_the_hedged_target_too(how):
    """A target that was asked beside another is not asked again without its wait."""
    stage = stage_of(
        Player("a", (2.0, RateLimited("429"))),
        Player("b", (0.5, DOWN), "fine"),
        Player("c"),
        patient=True,
        max_retries=1,
    )
    response = stage.ask(how)
    assert record(response) == [("b", "failed"), ("a", "failed"), ("b", "succeeded")]
    assert stage.clock.now == pytest.approx(1.5 + 5)
    assert stage.clock.waits == [pytest.approx(4.5)]
    assert nothing_is_left(stage)


@both
def test_patience_insists_on_the_primary_first(how):
    stage = stage_of(Player("a", (2.0, DOWN), "fine"), Player("b", (2.0, DOWN)), patient=True, max_retries=1)
    response = stage.ask(how)
    assert record(response) == [("a", "failed"), ("b", "failed"), ("a", "succeeded")]
    assert response.attempts[2].reason == "retry 1 of 1 after server error"
    assert stage.clock.now == pytest.approx(7.0)  # five from its failure, though the other one failed later
    assert nothing_is_left(stage)


@both
def test_where_both_failed_fast_the_first_is_retried_at_once_and_then_the_other(how):
    """The quick retry of the first was due while the second was still under way."""
    stage = stage_of(Player("a", (2.0, DOWN)), Player("b", (2.0, DOWN), "fine"), max_retries=1, breaker=False)
    response = stage.ask(how)
    assert record(response) == [("a", "failed"), ("b", "failed"), ("a", "failed"), ("b", "succeeded")]
    assert [attempt.wait for attempt in response.attempts] == [0, 0, 0, 0]
    assert response.attempts[3].reason == "quick retry after server error"
    assert stage.clock.now == pytest.approx(1 + 2 + 2)
    assert nothing_is_left(stage)


@both
def test_a_retry_is_not_hedged(how):
    stage = stage_of(Player("a", DOWN, (8.0, "fine")), Player("b", RateLimited("429")), max_retries=1, quick_retries=0)
    response = stage.ask(how)
    assert record(response) == [("a", "failed"), ("b", "failed"), ("a", "succeeded")]
    assert len(stage.players[1].requests) == 1
    stage = stage_of(Player("a", DOWN, (8.0, "fine")), Player("b"), max_retries=1)
    assert record(stage.ask(how)) == [("a", "failed"), ("a", "succeeded")]


def test_the_winners_stream_breaks_and_the_third_restarts_it():
    """The caller holds the second target's text, and is told when it does not count any more."""
    first, second = Player("a", (30.0, "late")), Player("b", (0.5, "half", Overloaded("cut")))
    stage = stage_of(first, second, Player("c", "whole"), stream_recovery="restart")
    response = stage.ask("astream")
    assert [type(event).__name__ for event in stage.events] == ["TextDelta", "Restart", "TextDelta", "Finish"]
    told = next(event for event in stage.events if type(event) is Restart)
    assert (told.target, told.next_target, told.failure.partial) == ("b", "c", "half")
    assert record(response) == [("a", "cancelled"), ("b", "failed"), ("c", "succeeded")]
    assert response.attempts[2].reason == "after b: stream interrupted"
    assert nothing_is_left(stage)


def test_the_winners_stream_breaks_and_is_gone_on_with():
    first, second = Player("a", (30.0, "late")), Player("b", (0.5, "One", Overloaded("cut")))
    stage = stage_of(first, second, Player("c", " two", prefill=True), stream_recovery="continue")
    assert stage.ask("astream").content == stage.text == "One two"


def test_a_hedge_of_a_stream_that_fails_leaves_the_first_its_buffer():
    stage = stage_of(
        Player("a", (2.0, "1234", 2.0, "5678", 2.0, "9")), Player("b", (0.5, "12", DOWN)), stream_recovery="buffer"
    )
    assert stage.ask("astream").content == stage.text == "123456789"
    assert nothing_is_left(stage)


def test_after_a_hedge_a_target_is_asked_with_a_fresh_clock():
    """A second attempt on a target that was once asked beside another has its own time for the first piece."""
    lines = (2.0, DOWN), (14.0, DOWN), (14.0, "fine")
    stage = stage_of(Player("a", lines[0], RateLimited("429")), Player("b", *lines[1:]), max_retries=1)
    response = stage.ask("astream")
    assert record(response) == [("a", "failed"), ("b", "failed"), ("a", "failed"), ("b", "succeeded")]
    assert stage.text == "fine"


# ---- what it may cost ----


@both
def test_a_share_of_the_calls_is_hedged(how):
    stage = stage_of(Player("a", (2.0, "fine")), Player("b", (9.0, "late")), hedge_share=0.1)
    stage.factory._admission.hedges._saved = 1.0
    asked = []
    for _ in range(30):
        stage.ask(how)
        asked.append(len(stage.players[1].requests))
    assert asked[0] == 1
    assert asked[-1] in (3, 4)  # 1 + 30 * 0.1
    assert nothing_is_left(stage)


@both
def test_a_hedge_that_is_not_admitted_costs_nothing_and_the_first_goes_on(how):
    resting = stage_of(Player("a", (2.0, "fine")), Player("b"))
    store, name = resting.store, resting.factory._admission.name_of(1)
    record_of = store._add(name)
    for call in range(10):
        resting.factory._admission.store._records[name].breaker.record(
            Effect.FAILURE, 0.0, call=call, generation=0, probe=0, policy=Policy.eager(), draw=0.0, hint=None
        )
    assert record_of.breaker.state == "open"
    saved = resting.factory._admission.hedges._saved
    for _ in range(2):
        response = resting.ask(how)
        assert record(response) == [("a", "succeeded")]
        assert response.attempts[0].decision.startswith("not hedged: circuit open, back in ")
    assert resting.factory._admission.hedges._saved == saved == BURST
    assert nothing_is_left(resting)


@both
def test_a_target_that_was_not_hedged_with_is_still_asked_in_its_turn(how):
    stage = stage_of(Player("a", (2.0, DOWN)), Player("b", "fine"), hedge_share=0.0)
    response = stage.ask(how)
    assert record(response) == [("a", "failed"), ("b", "succeeded")]
    assert response.attempts[1].reason == "after a: server error"
    assert response.attempts[0].decision == "not hedged: limit reached (hedge_share of 0)"
    assert nothing_is_left(stage)


@both
def test_where_the_price_is_not_known_nothing_is_asked_twice(how):
    stage = stage_of(Player("a", (2.0, "fine")), Player("b"), hedge_cost=5.0)
    assert stage.ask(how).provider_name == "a"
    assert stage.players[1].requests == []


@both
def test_the_second_request_may_cost_so_much(how):
    pytest.importorskip("genai_prices")

    def stage_with(dollars):
        second = Player("openai", "quick", model="gpt-4o")
        return stage_of(Player("a", (2.0, "fine")), second, hedge_cost=dollars)

    assert stage_with(1.0).ask(how, max_tokens=1000).provider_name == "openai"
    assert stage_with(0.0001).ask(how, max_tokens=1000).provider_name == "a"


@both
def test_p95_is_not_known_before_there_are_some_answers_and_is_the_targets_own(how):
    lines = [(0.3, "fine")] * 3 + [(0.2, "fine")] * 27
    stage = stage_of(Player("a", *lines, (30.0, "late")), Player("b"), hedge_after="p95")
    for _ in range(30):
        stage.ask(how)
    assert stage.players[1].requests == []
    begun = stage.clock.now
    assert stage.ask(how).provider_name == "b"
    assert stage.clock.now - begun == pytest.approx(0.3)


def test_the_only_target_is_not_hedged_with_itself():
    stage = stage_of(Player("a", (9.0, "fine")))
    assert stage.ask("async").content == "fine"
    assert len(stage.players[0].requests) == 1


def test_one_call_may_hedge_where_the_factory_does_not():
    """I9; and its share is counted, so that not only the first such call may."""
    stage = Stage(Player("a", (2.0, "fine")), Player("b"), policy=Policy.eager(hedge_share=0.5))
    hedging = Policy.eager(hedge_after=1.0, hedge_share=0.5)
    names = [stage.ask("async", policy=hedging).provider_name for _ in range(6)]
    assert names.count("b") == 4
    assert stage.ask("async").provider_name == "a"


# ---- the caller gives up ----


@both
@pytest.mark.parametrize("after", [0.5, 1.0, 1.5])
def test_a_cancelled_call_leaves_nothing_running(how, after):
    """I15."""
    stage = stage_of(Player("a", (NEVER, "late")), Player("b", (NEVER, "late")), max_concurrent_calls=1)

    async def give_up():
        call = stage.factory.agenerate_content("hello") if how == "async" else take()
        task = asyncio.ensure_future(call)
        await asyncio.sleep(after)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert nothing_is_left(stage)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    async def take():
        return [event async for event in stage.factory.astream_content("hello")]

    stage.clock.run(give_up())
    assert stage.clock.now == pytest.approx(after)
    assert [len(player.requests) for player in stage.players] == [1, int(after > 1.0 or len(stage.players[1].requests))]
    assert stage.factory._admission.bulkhead.under_way == 0
    assert [stage.factory._admission.look(index).failures for index in (0, 1)] == [0, 0]


def test_a_stream_that_is_left_after_the_race_closes_the_winner():
    stage = stage_of(Player("a", (NEVER, "late")), Player("b", (0.5, "one", 0.5, "two")))

    async def leave():
        stream = stage.factory.astream_content("hello")
        assert (await anext(stream)).text == "one"
        assert [player.under_way for player in stage.players] == [0, 1]
        await stream.aclose()
        assert nothing_is_left(stage)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    stage.clock.run(leave())


@both
def test_a_loser_that_does_not_let_go_holds_nobody_up(how):
    ended = []

    class Stubborn(Player):
        async def agenerate(self, request):
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                await asyncio.sleep(5)
            ended.append(True)
            return answer("too late", "a")

        async def astream(self, request):
            await self.agenerate(request)
            yield

    stage = stage_of(Stubborn("a"), Player("b", (0.5, "quick")))

    async def call():
        if how == "async":
            response = await stage.factory.agenerate_content("hello")
        else:
            response = [event async for event in stage.factory.astream_content("hello")][-1].response
        now = stage.clock.now
        await asyncio.sleep(10)
        return response, now

    response, now = stage.clock.run(call())
    assert response.provider_name == "b"
    assert now == pytest.approx(1.5 + 0.05)
    assert ended
    assert nothing_is_left(stage)


# ---- sync calls, on the background loop ----


def real(*players, **changes):
    policy = Policy.eager(**{"hedge_after": 0.05, "hedge_share": 1.0, "max_retries": 0, **changes})
    factory = LLMFactory(players[0], players[1:], settings={}, extensions=[], policy=policy, limits=LIMITS)
    factory._admission.hedges._saved = BURST
    return factory


@pytest.mark.parametrize("how", ["sync", "stream"])
def test_sync_calls_are_hedged_on_the_background_loop(how):
    first, second = Player("a", (60.0, "late")), Player("b", (0.02, "quick"))
    factory = real(first, second)
    threads = threading.active_count()
    response = ask(factory, how)
    assert (response.content, record(response)) == ("quick", [("a", "cancelled"), ("b", "succeeded")])
    assert (first.cancelled, first.under_way, second.under_way) == (1, 0, 0)
    assert held_leases(factory) == {}
    assert threading.active_count() <= threads + 1  # the loop's own


@pytest.mark.parametrize("how", ["sync", "stream"])
@pytest.mark.parametrize("extensions", [[], ["a listener"]], ids=["nobody listens", "somebody listens"])
def test_what_a_loser_may_have_cost_is_in_the_record_whoever_listens(how, extensions):
    """A listener is told elsewhere, since it must not hold up the background loop."""

    class Listener:
        @hookimpl
        def understudy_event(self, event):
            pass

    players = Player("a", (5.0, "late")), Player("b", "quick")
    policy = Policy.eager(hedge_after=0.02, hedge_share=1.0)
    factory = LLMFactory(
        players[0], players[1:], settings={}, extensions=[Listener() for _ in extensions], policy=policy
    )
    response = ask(factory, how, "word " * 40)
    assert record(response) == [("a", "cancelled"), ("b", "succeeded")]
    assert response.attempts[0].wasted >= 50
    assert response.wasted_tokens == response.attempts[0].wasted


def test_a_sync_stream_that_is_left_while_both_run_closes_both():
    first, second = Player("a", (5.0, "late")), Player("b", (0.02, "one", 5.0, "two"))
    factory = real(first, second)
    stream = factory.stream_content("hello")
    assert next(stream).text == "one"
    stream.close()
    assert (first.under_way, second.under_way) == (0, 0)
    assert held_leases(factory) == {}
