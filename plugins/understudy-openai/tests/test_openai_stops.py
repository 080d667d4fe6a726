"""Stop sequences, which OpenAI's models that reason do not take: the answer is cut at them where it is read."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest

from understudy import (
    FinishReason,
    Message,
    Part,
    Request,
    StreamEvent,
    StreamInterrupted,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolCall,
    ToolCallDelta,
)
from understudy.errors import EmptyResponse
from understudy_openai import OpenAIProvider
from understudy_openai.models import Endpoint
from understudy_openai.stops import StopFilter, cut_parts, find_stop
from understudy_openai.streaming import StreamReader

if TYPE_CHECKING:
    from conftest import Ask

    from understudy_sandbox import Sandbox

CALL = ToolCall(id="call_1", name="weather")


@pytest.mark.parametrize(
    ("text", "stops", "found"),
    [
        ("one END two", ("END",), (4, "END")),
        ("one END two", ("two", "END"), (4, "END")),
        ("xabc", ("abc", "b"), (2, "b")),  # the one that is complete first
        ("xab", ("ab", "b"), (1, "ab")),
        ("END", ("END",), (0, "END")),
        ("one", ("END",), None),
        ("one", (), None),
    ],
)
def test_where_the_first_stop_text_is(text: str, stops: tuple[str, ...], found: Any) -> None:
    assert find_stop(text, stops) == found


def test_the_parts_of_an_answer_end_at_a_stop_text() -> None:
    thought, link = Thinking("END"), {"openai": {"x": 1}}
    parts: list[Part] = [thought, Text("one ", link), CALL, Text("EN", link), Text("D two"), CALL]
    assert cut_parts(parts, ("END",)) == ([thought, Text("one ", link), CALL], "END")
    assert cut_parts(parts, ("ND",)) == ([thought, Text("one ", link), CALL, Text("E", link)], "ND")
    assert cut_parts(parts, ("one",)) == ([thought], "one")
    assert cut_parts(parts, ("three",)) == (parts, None)


@pytest.mark.parametrize("stops", [("END",), ("END", "ND"), ("E", "END"), ("\n\n", " t"), ("xyz",), ()])
@pytest.mark.parametrize("text", ["one END two", "one EN two", "one E", "EEND", "END", "one\n\ntwo", ""])
def test_a_stream_shows_what_the_whole_answer_does_however_it_is_cut(text: str, stops: tuple[str, ...]) -> None:
    kept, _ = cut_parts([Text(text)], stops)
    expected = "".join(part.text for part in kept if isinstance(part, Text))
    for cuts in itertools.combinations(range(len(text) + 1), 3):
        pieces = [text[start:end] for start, end in itertools.pairwise((0, *cuts, len(text)))]
        shown = StopFilter(stops)
        events = [event for piece in pieces for event in shown.shown([TextDelta(piece)], ended=False)]
        events += shown.shown([], ended=True)
        assert "".join(event.text for event in events if isinstance(event, TextDelta)) == expected == shown.text


def test_nothing_is_held_back_that_cannot_be_the_beginning_of_a_stop_text() -> None:
    shown = StopFilter(("END",))
    assert shown.shown([TextDelta("one E")], ended=False) == [TextDelta("one ")]
    assert shown.shown([TextDelta("T")], ended=False) == [TextDelta("ET")]
    events: list[StreamEvent] = [ThinkingDelta("END"), ToolCallDelta(0, "call_1", "weather", "END")]
    assert shown.shown(events, ended=False) == events
    assert shown.shown([TextDelta("END"), *events], ended=False) == events[:1]  # a call after it was not to be made


def test_a_caller_holds_something_once_it_has_text_or_a_call() -> None:
    shown = StopFilter(("END",))
    shown.shown([TextDelta(" \n"), ThinkingDelta("Hm."), TextDelta("END")], ended=False)
    assert not shown.given
    for event in (TextDelta("x"), ToolCallDelta(0, "call_1", "weather", "")):
        shown = StopFilter(())
        shown.shown([event], ended=False)
        assert shown.given


def test_a_stream_that_breaks_off_tells_what_its_caller_holds() -> None:
    reader = StreamReader({}, Request(messages=(Message.user("x"),), stop=("END",)), Endpoint("groq"))
    reader.feed("", '{"choices": [{"index": 0, "delta": {"content": "one END two"}}]}')
    with pytest.raises(StreamInterrupted) as caught:
        reader.finish()
    assert caught.value.partial == "one "


@pytest.mark.parametrize("model", ["gpt-6-astra", "gpt-6-luna", "gpt-4.1"])
def test_an_answer_ends_before_the_stop_text_whoever_cuts_it(
    ask: Ask, api: str, model: str, sandbox: Sandbox, provider: OpenAIProvider
) -> None:
    request = Request(
        messages=(Message.user("Hello"),),
        model=model,
        stop=(" standing", "never"),
        max_tokens=1000,
        options={"openai": {"api": api}},
    )
    response = ask(provider, request)
    assert (response.content, response.finish_reason) == ("This is the Understudy sandbox", FinishReason.STOP)
    [sent] = sandbox.openai.requests
    stops_itself = (api, model) == ("chat", "gpt-4.1")
    assert sent.json.get("stop") == ([" standing", "never"] if stops_itself else None)
    assert response.metadata.get("cut_at_stop_text") == (None if stops_itself else " standing")
    assert not [warning for warning in response.warnings if warning.setting == "stop"]


def test_more_stop_texts_than_are_sent_are_applied_all_the_same(ask: Ask, provider: OpenAIProvider) -> None:
    request = Request(messages=(Message.user("Hello"),), model="gpt-4.1", stop=("j", "k", "q", "z", " in for"))
    assert ask(provider, request).content == "This is the Understudy sandbox standing"


def test_a_limit_after_the_stop_text_cuts_nothing(ask: Ask, provider: OpenAIProvider) -> None:
    request = Request(messages=(Message.user("Hello"),), model="gpt-6-luna", stop=(" the",), max_tokens=5)
    assert ask(provider, request).finish_reason is FinishReason.STOP


def test_an_answer_that_begins_with_a_stop_text_is_empty(ask: Ask, provider: OpenAIProvider) -> None:
    with pytest.raises(EmptyResponse) as caught:
        ask(provider, Request(messages=(Message.user("Hello"),), model="gpt-6-luna", stop=("This",)))
    assert caught.value.adaptation is None


def test_a_call_after_a_stop_text_is_left_out(ask: Ask, sandbox: Sandbox, provider: OpenAIProvider) -> None:
    function = {"name": "weather", "arguments": "{}"}
    message = {"content": "one END", "tool_calls": [{"id": "call_1", "type": "function", "function": function}]}
    sandbox.openai.reply({"id": "c1", "model": "m", "choices": [{"message": message, "finish_reason": "tool_calls"}]})
    options = {"openai": {"api": "chat"}}
    response = ask(provider, Request(messages=(Message.user("Hello"),), stop=("END",), options=options))
    assert (response.content, response.tool_calls, response.finish_reason) == ("one ", (), FinishReason.STOP)
