"""Streams that break off after their first piece: raised, restarted, gone on with, or held back, in all ways to ask."""

import pytest
from timed import STREAMS, Player, Stage, answer, ask, held_leases, joined, record

from understudy import (
    Continuation,
    Limits,
    LLMFactory,
    Message,
    Policy,
    Restart,
    StreamInterrupted,
    Text,
    TextDelta,
    ThinkingDelta,
    Tool,
    ToolCall,
    ToolCallDelta,
)
from understudy.errors import ConnectionFailed, ContentBlocked, InvalidRequest, Overloaded, RateLimited, Timeout
from understudy.response import Heartbeat

CUT = Overloaded("cut")
KINDS = ["raise", "restart", "continue", "buffer"]
every_stream = pytest.mark.parametrize("how", STREAMS)
LIMITS = {name: Limits(concurrent=1) for name in "abc"}


def stage_of(recovery, *players, **changes):
    return Stage(*players, policy=Policy(stream_recovery=recovery, **changes), limits=LIMITS)


def kinds(events):
    return [type(event).__name__ for event in events]


# ---- each kind ----


@every_stream
def test_raise_gives_the_part_and_asks_nobody(how):
    stage = stage_of("raise", Player("a", ("half ", "an ", CUT)), Player("b"))
    stage.ask(how)
    assert stage.error.partial == stage.text == "half an "
    assert (stage.error.provider, stage.error.__cause__.message) == ("a", "cut")
    assert record(stage.error) == [("a", "failed")]
    assert stage.error.attempts[0].failure is stage.error
    assert stage.players[1].requests == []
    assert held_leases(stage.factory) == {}


@every_stream
@pytest.mark.parametrize("recovery", ["restart", "continue"])
def test_another_target_takes_over_and_the_caller_is_told(how, recovery):
    rest = " gone." if recovery == "continue" else "The show is gone."
    stage = stage_of(recovery, Player("a", ("The show ", "is", CUT)), Player("b", (rest,), prefill=True))
    response = stage.ask(how)
    kind = Continuation if recovery == "continue" else Restart
    told = stage.events[2]
    assert kinds(stage.events) == ["TextDelta", "TextDelta", kind.__name__, "TextDelta", "Finish"]
    assert (told.target, told.next_target, told.failure.partial) == ("a", "b", "The show is")
    assert stage.text == response.content == "The show is gone."
    assert (response.provider_name, record(response)) == ("b", [("a", "failed"), ("b", "succeeded")])
    assert isinstance(response.attempts[0].failure, StreamInterrupted)
    assert response.attempts[1].reason == "after a: stream interrupted"
    assert held_leases(stage.factory) == {}


@every_stream
def test_a_buffer_hides_a_break_within_it_and_none_behind(how):
    line = ("12345678", "90", CUT)
    hidden = stage_of("buffer", Player("a", line), Player("b", "fine"), buffer_tokens=3, max_retries=0)
    assert hidden.ask(how).content == hidden.text == "fine"
    assert kinds(hidden.events) == ["TextDelta", "Finish"]
    told = stage_of("buffer", Player("a", line), Player("b", "fine"), buffer_tokens=2, max_retries=0)
    assert told.ask(how) is None
    assert told.error.partial == told.text == "1234567890"


@every_stream
def test_within_a_buffer_the_same_target_is_tried_again(how):
    stage = stage_of("buffer", Player("a", ("half", CUT), ("half", CUT), "whole"), Player("b"))
    assert stage.ask(how).content == stage.text == "whole"
    assert stage.clock.waits == [5, 10]


# ---- who takes over ----


@every_stream
@pytest.mark.parametrize("recovery", ["restart", "continue"])
def test_who_broke_off_is_not_asked_again(how, recovery):
    stage = stage_of(recovery, Player("a", ("half", CUT), "whole", prefill=True))
    assert stage.ask(how) is None
    assert stage.error.partial == stage.text == "half"
    assert len(stage.players[0].requests) == 1


@every_stream
@pytest.mark.parametrize("recovery", ["restart", "continue"])
def test_where_nobody_takes_over_the_part_is_raised_with_the_whole_record(how, recovery):
    players = Player("a", ("half", CUT)), Player("b", RateLimited(), prefill=True), Player("c", CUT, prefill=True)
    stage = stage_of(recovery, *players, max_retries=1)
    assert stage.ask(how) is None
    assert (stage.error.provider, stage.error.partial) == ("a", "half")
    assert record(stage.error) == [("a", "failed"), ("b", "failed"), ("c", "failed"), ("c", "failed")]
    assert stage.text == "half"
    assert held_leases(stage.factory) == {}


@every_stream
@pytest.mark.parametrize("policy", [Policy(), Policy.eager()])
@pytest.mark.parametrize("recovery", ["restart", "continue"])
def test_a_target_that_fails_before_its_first_piece_is_retried_as_ever(how, policy, recovery):
    import dataclasses

    policy = dataclasses.replace(policy, stream_recovery=recovery, jitter="none")
    players = Player("a", ("One", CUT)), Player("b", CUT, (" two",), prefill=True)
    stage = Stage(*players, policy=policy)
    response = stage.ask(how)
    assert stage.clock.waits == [policy.retry_delay]
    assert stage.text == response.content == ("One two" if recovery == "continue" else " two")
    asked = [request.messages[-1].text for request in players[1].requests]
    assert asked == (["One", "One"] if recovery == "continue" else ["hello", "hello"])


@every_stream
def test_three_targets_may_write_one_answer(how):
    lines = ("One, ", "two", CUT), (",\n", "three", ConnectionFailed("reset")), (", four.",)
    stage = stage_of("continue", *(Player(name, line, prefill=True) for name, line in zip("abc", lines, strict=True)))
    response = stage.ask(how)
    assert stage.text == response.content == "One, two,\nthree, four."
    assert [player.requests[0].messages[-1].text for player in stage.players] == [
        "hello",
        "One, two",
        "One, two,\nthree",
    ]
    assert [(e.target, e.next_target) for e in stage.events if type(e) is Continuation] == [("a", "b"), ("b", "c")]
    assert response.parts == (Text(response.content),)


@every_stream
def test_who_does_not_go_on_with_a_begun_answer_is_passed_over(how):
    stage = stage_of("continue", Player("a", ("One", CUT)), Player("b"), Player("c", " two", prefill=True))
    response = stage.ask(how)
    assert record(response) == [("a", "failed"), ("b", "skipped"), ("c", "succeeded")]
    assert response.attempts[1].reason == "skipped: unsupported request: does not go on with a begun answer"
    assert response.content == "One two"


@every_stream
def test_json_and_tool_calls_are_not_gone_on_with(how):
    begun_call = ToolCallDelta(0, "1", "add", '{"a": ')
    for first, options in ((("{", CUT), {"output_schema": {"type": "object"}}), ((begun_call, CUT), {"tools": ADD})):
        able = {"prefill": True, "output_schema": True, "tools": True}
        stage = stage_of("continue", Player("a", first, **able), Player("b", **able))
        assert stage.ask(how, **options) is None
        assert "does not go on with a begun tool call or JSON" in stage.error.attempts[1].reason
        assert stage.players[1].requests == []


ADD = [Tool(name="add", description="Adds.", parameters={"type": "object"})]


@every_stream
def test_a_restart_takes_back_a_begun_tool_call(how):
    whole = answer("", parts=(ToolCall(id="2", name="add", arguments={}),))
    delta = ToolCallDelta(0, "2", "add", "{}")
    begun_call = ToolCallDelta(0, "1", "add", '{"a": ')
    players = Player("a", (begun_call, CUT), tools=True), Player("b", (delta, whole), tools=True)
    stage = stage_of("restart", *players)
    response = stage.ask(how, tools=ADD)
    assert kinds(stage.events) == ["ToolCallDelta", "Restart", "ToolCallDelta", "Finish"]
    assert [call.id for call in response.tool_calls] == ["2"]
    assert stage.events[1].failure.partial == ""


@every_stream
@pytest.mark.parametrize("recovery", ["restart", "continue"])
def test_after_thinking_alone_the_answer_begins_anew(how, recovery):
    stage = stage_of(recovery, Player("a", (ThinkingDelta("hm"), CUT)), Player("b", "fine"))
    response = stage.ask(how)
    assert kinds(stage.events) == ["ThinkingDelta", "Restart", "TextDelta", "Finish"]
    assert (stage.text, response.content) == ("fine", "fine")
    assert stage.players[1].requests[0].messages == stage.players[0].requests[0].messages


@every_stream
@pytest.mark.parametrize("recovery", ["restart", "continue"])
@pytest.mark.parametrize("failure", [ContentBlocked("no"), InvalidRequest("bad")])
def test_what_the_request_is_at_fault_for_is_asked_of_nobody_else(how, recovery, failure):
    """I5, in the middle of a stream."""
    stage = stage_of(recovery, Player("a", ("half", failure)), Player("b", prefill=True))
    assert stage.ask(how) is None
    assert type(stage.error.__cause__) is type(failure)
    assert stage.players[1].requests == []


@every_stream
def test_blocked_content_restarts_where_the_policy_says_so(how):
    policy = {"switch_on_content_blocked": True}
    stage = stage_of("restart", Player("a", ("half", ContentBlocked("no"))), Player("b", "fine"), **policy)
    assert stage.ask(how).content == stage.text == "fine"


# ---- what is recorded ----


@every_stream
def test_a_break_counts_against_its_target_and_a_quota_cools_it(how):
    policy = Policy.eager(stream_recovery="restart", breaker_jitter=0.0)
    stage = Stage(Player("a", ("half", CUT)), Player("b"), policy=policy)
    for _ in range(8):
        assert stage.state() == "closed"
        assert stage.ask(how).provider_name == "b"
    assert stage.state() == "open"
    stage = Stage(Player("a", ("half", RateLimited(retry_after=40))), Player("b"), policy=policy)
    for _ in range(3):  # one refusal says that one call came at a bad moment
        assert stage.state() == "closed"
        assert stage.ask(how).provider_name == "b"
    assert stage.state() == "cooling"
    assert stage.factory._admission.look(0).free_in == policy.longest_hint


@every_stream
def test_the_conversation_of_the_caller_is_as_it_was(how):
    messages = [Message.user("hello"), Message("assistant", (Text("Yes?"),)), Message.user("Go on.")]
    stage = stage_of("continue", Player("a", ("One", CUT)), Player("b", " two", prefill=True))
    stage.ask(how, messages)
    assert len(messages) == 3
    assert [len(player.requests[0].messages) for player in stage.players] == [3, 4]


@pytest.mark.parametrize("recovery", KINDS)
def test_every_kind_works_on_the_background_loop(recovery):
    """A sync stream that must end in time runs there."""
    policy = Policy(stream_recovery=recovery, deadline=20, max_retries=0)
    first = Player("a", ("One", 0.01, CUT), keeps_deadline=False)
    second = Player("b", (0.01, " two"), prefill=True, keeps_deadline=False)
    factory = LLMFactory(first, [second], settings={}, extensions=[], policy=policy)
    seen = Stage(Player("nobody"))
    response = ask(factory, "stream", into=seen)
    text = joined(seen.events)
    if recovery == "raise":
        assert (response, seen.error.partial, text) == (None, "One", "One")
        assert record(seen.error) == [("a", "failed")]
    else:
        assert text == response.content == {"restart": " two", "continue": "One two", "buffer": " two"}[recovery]
    assert first.under_way == second.under_way == 0


@every_stream
def test_leaving_while_another_has_taken_over_closes_its_stream(how):
    import asyncio

    stage = stage_of("restart", Player("a", ("half", CUT)), Player("b", ("one", "two")))
    if how == "stream":
        stream = stage.factory.stream_content("hello")
        assert kinds(next(stream) for _ in range(3)) == ["TextDelta", "Restart", "TextDelta"]
        stream.close()
    else:

        async def leave():
            stream = stage.factory.astream_content("hello")
            assert kinds([await anext(stream) for _ in range(3)]) == ["TextDelta", "Restart", "TextDelta"]
            await stream.aclose()

        asyncio.run(leave())
    assert stage.players[1].under_way == 0
    assert held_leases(stage.factory) == {}
    assert stage.factory._admission.look(1).failures == 0


@every_stream
def test_a_deadline_that_passes_in_the_middle_is_raised_and_is_no_evidence(how):
    policy = Policy.eager(stream_recovery="restart", deadline=30, breaker_failures=1, breaker_requests=1)
    stage = Stage(Player("a", ("piece ", 9.0) * 20), Player("b"), policy=policy)
    assert stage.ask(how) is None
    assert stage.clock.now <= 36  # a sync provider of one's own is not stopped between its pieces
    assert isinstance(stage.error.__cause__, Timeout)
    assert "the deadline passed" in str(stage.error)
    assert stage.players[1].requests == []
    assert stage.state() == "closed"
    assert stage.factory._admission.look(0).failures == 0


@every_stream
def test_a_stream_that_stalls_before_its_deadline_is_evidence(how):
    policy = Policy.eager(deadline=30, idle_timeout=10, breaker_failures=1, breaker_requests=1)
    stage = Stage(Player("a", ("piece ", 12.0) * 20), Player("b"), policy=policy)
    assert stage.ask(how) is None
    assert "no further piece within 10 s" in str(stage.error)
    assert stage.state() == "open"


@every_stream
def test_a_restart_names_the_tool_calls_that_were_handed_out(how):
    """Whoever runs tools before Finish must know which ran for nothing."""
    begun_calls = [ToolCallDelta(number, f"old {number}", "add", "{}") for number in (0, 1)]
    fresh, whole = ToolCallDelta(0, "new", "add", "{}"), answer("", parts=(ToolCall(id="new", name="add"),))
    players = Player("a", ("Let me see.", *begun_calls, CUT), tools=True), Player("b", (fresh, whole), tools=True)
    stage = stage_of("restart", *players)
    response = stage.ask(how, tools=ADD)
    (told,) = (event for event in stage.events if type(event) is Restart)
    assert told.voided == ("old 0", "old 1")
    handed_out = [event.id for event in stage.events if type(event) is ToolCallDelta]
    assert handed_out == ["old 0", "old 1", "new"]
    assert [call.id for call in response.tool_calls] == ["new"]


@every_stream
@pytest.mark.parametrize("recovery", ["restart", "buffer"])
def test_what_was_broken_off_may_have_been_paid_for(how, recovery):
    """The vendor did not say: what was read and what came of it are counted, whether or not the caller saw it."""
    stage = stage_of(recovery, Player("a", ("word " * 80, CUT)), Player("b", "fine"), max_retries=0)
    response = stage.ask(how, "word " * 40)
    assert [attempt.wasted for attempt in response.attempts] == [40 * 5 // 4 + 100, 0]
    assert response.wasted_tokens == 150


@every_stream
def test_heartbeats_are_never_handed_out(how):
    lines = (Heartbeat(), "One,", Heartbeat(), CUT), (Heartbeat(), " two.", Heartbeat())
    stage = stage_of("continue", *(Player(name, line, prefill=True) for name, line in zip("ab", lines, strict=True)))
    assert stage.ask(how).content == stage.text == "One, two."
    assert kinds(stage.events) == ["TextDelta", "Continuation", "TextDelta", "Finish"]


@every_stream
@pytest.mark.parametrize("recovery", ["restart", "continue"])
def test_a_provider_that_fails_when_closed_spoils_nothing(how, recovery, caplog):
    class Untidy(Player):
        def stream(self, request):
            try:
                yield from super().stream(request)
            except GeneratorExit:
                raise ConnectionFailed("while closing") from None

        async def astream(self, request):
            try:
                for event in super().stream(request):
                    yield event
            except GeneratorExit:
                raise ConnectionFailed("while closing") from None

    stage = stage_of(recovery, Untidy("a", "fine"))
    assert stage.ask(how).content == "fine"
    assert "a failed when its stream was closed" in caplog.text
    assert held_leases(stage.factory) == {}


def test_an_interruptions_words_name_its_cause():
    stage = stage_of("raise", Player("a", ("half", Overloaded())))
    stage.ask("stream")
    assert str(stage.error) == "a: stream interrupted: after 4 characters: overloaded"
    assert TextDelta("half") in stage.events
