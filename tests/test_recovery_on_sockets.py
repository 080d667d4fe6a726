"""Streams that break, through the real SDKs over sockets: what another target does about it, and what the caller sees.

Both stand-ins are given the same words to say, so that a continuation can be told from a beginning.
"""

import pytest
from fault_matrix import AFTER_THE_FIRST_TOKEN
from staging import QUICK, SHORT, SILENT, casts, named, streams

from understudy import Continuation, Finish, Policy, Restart, StreamInterrupted, TextDelta, Tool, ToolCallDelta
from understudy.errors import ConnectionFailed, EmptyResponse
from understudy.testing import no_waiting
from understudy_sandbox import faults

PAUSES = SHORT, 10 * SHORT  # seconds: the next, where a healthy one was as long on a busy machine
SWITCHED = {*SILENT, "malformed_json"}  # behind a buffer the others are asked once more, soon
LINES = "To be, or not to be: that is the question, whether 'tis nobler in the mind to suffer: hélas, who knows."
OTHER = "All the world's a stage, and all the men and women merely players."


def recovering(recovery, **changes):
    return Policy.eager(stream_recovery=recovery, **changes)


def meet(stage, cast, how, recovery, row, reply):
    """Make a call whose primary breaks off; return its response, and the waits that were skipped."""
    for pause in PAUSES if row.name in SILENT else (None,):
        stage.sandbox.reset()
        stage.open(cast, recovering(recovery, idle_timeout=pause))
        stage.primary.always(row)
        stage.primary.reply(LINES, LINES)
        stage.fallback.reply(reply)
        with no_waiting() as waits:
            call = stage.call(how)
        if call.error is None:
            break
    assert call.error is None
    return call.response, waits


def texts(events):
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def takeovers(stage):
    """Return what the caller was told of, each with its place among the events."""
    return [(n, event) for n, event in enumerate(stage.events) if isinstance(event, Restart | Continuation)]


def check_record(stage, response, cast):
    assert stage.counts == [1, 1]
    assert isinstance(stage.events[-1], Finish)
    assert (response.success, response.provider_name) == (True, cast[1])
    first, second = response.attempts
    assert (first.target, first.outcome, second.target, second.outcome) == (cast[0], "failed", cast[1], "succeeded")
    assert isinstance(first.failure, StreamInterrupted)
    assert second.reason == f"after {cast[0]}: stream interrupted"
    assert second.wait == 0.0


@casts
@streams
@named(AFTER_THE_FIRST_TOKEN)
def test_restart(stage, cast, how, row):
    response, waits = meet(stage, cast, how, "restart", row, OTHER)
    check_record(stage, response, cast)
    assert waits == []
    ((place, event),) = takeovers(stage)
    assert isinstance(event, Restart)
    assert (event.target, event.next_target, event.failure) == (*cast, response.attempts[0].failure)
    assert event.failure.partial == texts(stage.events[:place]) != ""
    assert LINES.startswith(event.failure.partial)
    assert texts(stage.events[place:]) == response.content == OTHER


@casts
@streams
@named(AFTER_THE_FIRST_TOKEN)
def test_continue(stage, cast, how, row):
    assert stage.providers[cast[1]].capabilities.prefill
    response, waits = meet(stage, cast, how, "continue", row, LINES)
    check_record(stage, response, cast)
    assert waits == []
    ((place, event),) = takeovers(stage)
    assert isinstance(event, Continuation)
    assert (event.target, event.next_target, event.failure) == (*cast, response.attempts[0].failure)
    begun = texts(stage.events[:place])
    assert event.failure.partial == begun != ""
    assert texts(stage.events[place:]) == LINES.removeprefix(begun)
    assert stage.text == response.content == LINES


@casts
@streams
@named(AFTER_THE_FIRST_TOKEN)
def test_buffer(stage, cast, how, row):
    response, waits = meet(stage, cast, how, "buffer", row, OTHER)
    assert takeovers(stage) == []
    assert stage.text == response.content == OTHER
    again = row.name not in SWITCHED
    assert stage.counts == [1 + again, 1]
    assert [(a.target, a.outcome) for a in response.attempts] == [
        *[(cast[0], "failed")] * (1 + again),
        (cast[1], "succeeded"),
    ]
    assert len(waits) == again
    assert all(QUICK[0] <= wait <= QUICK[1] for wait in waits)


@casts
@streams
def test_behind_a_buffer_the_same_target_mends_its_own_break(stage, cast, how):
    stage.open(cast, recovering("buffer"))
    stage.primary.next(faults.cut(after=3))
    stage.primary.reply(LINES, LINES)
    with no_waiting():
        response = stage.ask(how)
    assert (response.provider_name, stage.counts) == (cast[0], [2, 0])
    assert takeovers(stage) == []
    assert stage.text == response.content == LINES
    broken, mended = response.attempts
    assert isinstance(broken.failure, ConnectionFailed)  # its caller holds nothing of it
    assert broken.wasted > 0 == mended.wasted  # it was written all the same
    assert mended.reason == "quick retry after connection failed"


@casts
@streams
def test_a_break_behind_the_buffer_is_told(stage, cast, how):
    stage.open(cast, recovering("buffer", buffer_tokens=3))
    stage.primary.reply(LINES)
    stage.primary.next(faults.cut(after=12))
    with pytest.raises(StreamInterrupted) as caught:
        stage.ask(how)
    assert caught.value.partial == stage.text != ""
    assert LINES.startswith(stage.text)
    assert stage.counts == [1, 0]


@casts
@streams
def test_wherever_it_breaks_the_rest_fits_on(stage, cast, how):
    for after in (1, 2, 3, 5, 8, 13, 17):
        stage.sandbox.reset()
        stage.open(cast, recovering("continue"))
        stage.primary.next(faults.cut(after=after))
        stage.primary.reply(LINES)
        stage.fallback.reply(LINES)
        response = stage.ask(how)
        assert stage.text == response.content == LINES, after
        assert (response.provider_name, stage.counts) == (cast[1], [1, 1]), after


@casts
@streams
def test_white_space_at_the_break_is_there_once(stage, cast, how):
    """Claude takes none at the end of what is begun, so what was given and what is sent differ there."""
    for blank in (" ", "\n", "\n\n", " \n\t"):
        whole = f"To be,{blank}or not to be"
        stage.sandbox.reset()
        stage.open(cast, recovering("continue"))
        stage.primary.next(faults.stream_end(after=99))
        stage.primary.reply(f"To be,{blank}")
        stage.fallback.reply(whole)
        response = stage.ask(how)
        ((place, _),) = takeovers(stage)
        assert texts(stage.events[:place]) == f"To be,{blank}"
        assert stage.text == response.content == whole


@streams
def test_where_only_the_end_is_missing_and_nobody_adds_to_it_the_caller_is_told(stage, how):
    stage.open(["gemini", "claude"], recovering("continue"))
    stage.primary.next(faults.stream_end(after=99))
    stage.primary.reply(LINES)
    stage.fallback.reply(LINES)
    with pytest.raises(StreamInterrupted) as caught:
        stage.ask(how)
    assert caught.value.partial == stage.text == LINES
    assert isinstance(caught.value.attempts[1].failure, EmptyResponse)


@streams
def test_two_breaks_in_a_row(stage, how):
    stage.open(["gemini", "claude", "ollama"], recovering("continue"))
    stage.sandbox.gemini.next(faults.cut(after=3))
    stage.sandbox.claude.next(faults.stream_error(after=3))
    for name in stage.cast:
        stage.sandbox[name].reply(LINES)
    response = stage.ask(how)
    assert stage.counts == [1, 1, 1]
    assert [(e.target, e.next_target) for _, e in takeovers(stage)] == [("gemini", "claude"), ("claude", "ollama")]
    assert stage.text == response.content == LINES


@streams
def test_a_target_that_does_not_go_on_is_passed_over(stage, how):
    stage.open(["gemini", "openai", "claude"], recovering("continue"))
    assert not stage.providers["openai"].capabilities.prefill
    stage.primary.next(faults.reset(after=3))
    stage.primary.reply(LINES)
    stage.sandbox.claude.reply(LINES)
    response = stage.ask(how)
    assert stage.counts == [1, 0, 1]
    assert response.attempts[1].reason == "skipped: unsupported request: does not go on with a begun answer"
    assert stage.text == response.content == LINES


@streams
def test_where_nobody_goes_on_the_caller_is_told(stage, how):
    stage.open(["gemini", "openai"], recovering("continue"))
    stage.primary.next(faults.reset(after=3))
    with pytest.raises(StreamInterrupted) as caught:
        stage.ask(how)
    assert caught.value.partial == stage.text != ""
    assert [a.outcome for a in caught.value.attempts] == ["failed", "skipped"]
    assert stage.counts == [1, 0]


@streams
@pytest.mark.parametrize("recovery", ["restart", "continue"])
def test_where_the_second_breaks_too_and_nobody_is_left(stage, how, recovery):
    stage.open(["gemini", "claude"], recovering(recovery))
    for stand_in in (stage.primary, stage.fallback):
        stand_in.next(faults.cut(after=3))
        stand_in.reply(LINES)
    with pytest.raises(StreamInterrupted) as caught:
        stage.ask(how)
    begun = stage.text if recovery == "continue" else texts(stage.events[takeovers(stage)[0][0] :])
    assert caught.value.partial == begun != ""
    assert caught.value.provider == "claude"
    assert stage.counts == [1, 1]


PARAMETERS = {"type": "object", "properties": {"place": {"type": "string"}}}
WEATHER = Tool(name="weather", description="Tells the weather.", parameters=PARAMETERS)


@casts
@streams
def test_a_tool_call_that_breaks_begins_anew_and_what_was_handed_out_is_void(stage, cast, how):
    stage.open(cast, recovering("restart"))
    stage.primary.always(faults.cut(after=1))
    response = stage.ask(how, "weather", tools=[WEATHER])
    (call,) = response.tool_calls
    assert (call.name, response.provider_name) == ("weather", cast[1])
    assert stage.counts == [1, 1]
    ((place, told),) = takeovers(stage)
    handed_out = [event for event in stage.events if isinstance(event, ToolCallDelta)]
    before = {event.id for event in stage.events[:place] if isinstance(event, ToolCallDelta)}
    assert set(told.voided) == before
    assert {event.id for event in handed_out} - before == {call.id}


@casts
@streams
def test_a_tool_call_that_breaks_behind_a_buffer_is_not_seen(stage, cast, how):
    stage.open(cast, recovering("buffer"))
    stage.primary.always(faults.cut(after=1))
    with no_waiting():
        response = stage.ask(how, "weather", tools=[WEATHER])
    (call,) = response.tool_calls
    assert (call.name, response.provider_name) == ("weather", cast[1])
    assert stage.counts == [2, 1]
    assert {event.id for event in stage.events if isinstance(event, ToolCallDelta)} == {call.id}
