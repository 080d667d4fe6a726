"""Chunks of a completion, put together without SDK and socket."""

from __future__ import annotations

import json
from typing import Any
from unittest.mock import ANY

import pytest

from understudy import (
    FinishReason,
    Message,
    Request,
    StreamInterrupted,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from understudy.errors import ContentBlocked, MalformedResponse, Overloaded, ServerError
from understudy.response import Heartbeat
from understudy_openai.models import Endpoint
from understudy_openai.streaming import StreamReader

REQUEST = Request(messages=(Message.user("Hello"),))
OPENAI, GROQ = Endpoint(is_openai=True), Endpoint("groq")
HEADERS = {"X-Request-Id": "req_1"}
DONE = "[DONE]"
HELLO = ({"role": "assistant", "content": ""}, {"content": "Hel"}, {"content": "lo"})


def _chunk(delta: Any, finish_reason: str | None = None, **fields: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return {"id": "c1", "object": "chat.completion.chunk", "model": "m", "choices": [choice], "usage": None, **fields}


def _chunks(*deltas: Any, finish_reason: str | None = "stop") -> list[Any]:
    counted = {"prompt_tokens": 3, "completion_tokens": 2}
    last = [_chunk({}, finish_reason)] if finish_reason else []
    return [*map(_chunk, deltas), *last, {"id": "c1", "model": "m", "choices": [], "usage": counted}, DONE]


def _reader(*chunks: Any, endpoint: Endpoint = OPENAI) -> tuple[StreamReader, list[Any]]:
    reader = StreamReader(HEADERS, REQUEST, endpoint)
    data = [chunk if isinstance(chunk, str) else json.dumps(chunk) for chunk in chunks]
    return reader, [piece for one in data for piece in reader.feed("message", one) if piece != Heartbeat()]


def test_a_stream_adds_up_to_the_completion() -> None:
    begun = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ""}}
    calls = [begun, *({"index": 0, "function": {"arguments": piece}} for piece in ('{"city":', ' "Bern"}'))]
    other = {"index": 1, "id": "call_2", "type": "function", "function": {"name": "news", "arguments": "{}"}}
    deltas = [*HELLO, *({"tool_calls": [call]} for call in (*calls, other))]
    reader, told = _reader(*_chunks(*deltas, finish_reason="tool_calls"))
    assert told == [
        TextDelta("Hel"),
        TextDelta("lo"),
        ToolCallDelta(0, "call_1", "weather", ""),
        ToolCallDelta(0, "call_1", "weather", '{"city":'),
        ToolCallDelta(0, "call_1", "weather", ' "Bern"}'),
        ToolCallDelta(1, "call_2", "news", "{}"),
    ]
    response = reader.finish().response
    assert response.parts == (
        Text("Hello"),
        ToolCall(id="call_1", name="weather", arguments={"city": "Bern"}),
        ToolCall(id="call_2", name="news"),
    )
    assert response.usage == Usage(input_tokens=3, output_tokens=2)
    assert (response.finish_reason, response.request_id) == (FinishReason.TOOL_CALLS, "req_1")
    assert response.metadata == {"id": "c1", "finish_reason": "tool_calls"}


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_reasoning_as_compatible_servers_show_it(name: str) -> None:
    reader, told = _reader(*_chunks({name: "H"}, {name: "m."}, *HELLO), endpoint=GROQ)
    assert told[:2] == [ThinkingDelta("H"), ThinkingDelta("m.")]
    assert reader.finish().response.parts == (Thinking("Hm.", {"groq": {name: "Hm."}}), Text("Hello"))


def test_reasoning_as_mistral_shows_it() -> None:
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}
    reader, told = _reader(*_chunks({"content": [thinking]}, {"content": [{"type": "text", "text": "Hi"}]}))
    assert told == [ThinkingDelta("Hm."), TextDelta("Hi")]
    assert reader.finish().response.parts == (Thinking("Hm."), Text("Hi"))


@pytest.mark.parametrize("index", [0, None])
def test_whole_calls_under_one_index_are_several(index: int | None) -> None:
    calls = [
        {"index": index, "id": f"call_{n}", "function": {"name": "weather", "arguments": {"n": n}}} for n in (1, 2)
    ]
    reader, told = _reader(*_chunks({"tool_calls": calls}, finish_reason="stop"), endpoint=GROQ)
    assert [(delta.index, delta.id, delta.arguments) for delta in told] == [
        (0, "call_1", '{"n": 1}'),
        (1, "call_2", '{"n": 2}'),
    ]
    assert [call.arguments for call in reader.finish().response.tool_calls] == [{"n": 1}, {"n": 2}]


def test_a_call_without_an_id_gets_one() -> None:
    reader, told = _reader(*_chunks({"tool_calls": [{"index": 0, "function": {"name": "weather"}}]}), endpoint=GROQ)
    [call] = reader.finish().response.tool_calls
    assert call == ToolCall(id=ANY, name="weather")
    assert told == [ToolCallDelta(0, call.id, "weather", "")]


def test_unknown_fields_and_other_choices_are_passed_over() -> None:
    other = {**_chunk({"content": "Other"}), "choices": [{"index": 1, "delta": {"content": "Other"}}]}
    odd = _chunk({"of_tomorrow": 1, "content": None}, obfuscation="x")
    reader, told = _reader(odd, {"of_tomorrow": 1}, other, *_chunks(*HELLO))
    assert told == [TextDelta("Hel"), TextDelta("lo")]
    assert reader.finish().response.content == "Hello"


WITHOUT_DONE = _chunks(*HELLO)[:-1]
WITHOUT_REASON = _chunks(*HELLO, finish_reason=None)


@pytest.mark.parametrize(
    ("chunks", "endpoint"),
    [
        (WITHOUT_DONE, OPENAI),
        (WITHOUT_REASON, OPENAI),
        (WITHOUT_REASON[:-1], OPENAI),
        (WITHOUT_REASON[:-1], GROQ),
        ([], GROQ),
    ],
)
def test_a_stream_without_its_end_marker_is_interrupted(chunks: list[Any], endpoint: Endpoint) -> None:
    reader, _ = _reader(*chunks, endpoint=endpoint)
    with pytest.raises(StreamInterrupted, match=r"without a finish_reason and \[DONE\]") as caught:
        reader.finish()
    assert (caught.value.partial, caught.value.request_id) == ("Hello" if chunks else "", "req_1")
    assert caught.value.provider == endpoint.name


def test_of_a_compatible_server_why_it_stopped_is_enough_and_done_alone_is_not() -> None:
    response = _reader(*WITHOUT_DONE, endpoint=GROQ)[0].finish().response
    assert (response.content, response.finish_reason) == ("Hello", FinishReason.STOP)
    with pytest.raises(StreamInterrupted, match="without a finish_reason"):  # it follows an error, too
        _reader(*WITHOUT_REASON, endpoint=GROQ)[0].finish()


def test_a_server_that_does_not_count_is_no_failure() -> None:
    chunks = [chunk for chunk in _chunks(*HELLO) if chunk == DONE or not chunk["usage"]]
    assert _reader(*chunks, endpoint=GROQ)[0].finish().response.usage is None


@pytest.mark.parametrize(
    ("chunk", "kind"),
    [
        ({"error": {"code": "server_is_overloaded", "message": "busy"}}, Overloaded),
        ({"error": {"code": 503, "message": "busy"}}, Overloaded),
        ({"error": "busy"}, ServerError),
        ({"object": "error", "message": "busy", "code": 503}, Overloaded),
        (_chunk({}, "error", error={"code": 502, "message": "busy"}), ServerError),
    ],
)
def test_an_error_chunk_is_its_typed_failure(chunk: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind, match="busy") as caught:
        _reader(*map(_chunk, HELLO), chunk)
    assert caught.value.request_id == "req_1"  # type: ignore[attr-defined]  # all of them are Failures


def test_an_event_named_error_is_one_whatever_it_holds() -> None:
    reader = StreamReader({}, REQUEST, GROQ)
    with pytest.raises(ServerError, match="odd"):
        reader.feed("error", '{"odd": 1}')


def test_a_refusal_in_pieces_is_no_answer() -> None:
    reader, told = _reader(*_chunks({"refusal": "I "}, {"refusal": "can't."}))
    assert told == []
    with pytest.raises(ContentBlocked, match=r"refused: I can't\."):
        reader.finish()


@pytest.mark.parametrize("chunk", ["text", "[]", "7", "{", {"choices": 7}, _chunk("text"), _chunk({"tool_calls": [7]})])
def test_chunks_of_another_shape_are_malformed(chunk: Any) -> None:
    with pytest.raises(MalformedResponse, match="expected an event"):
        _reader(chunk)
